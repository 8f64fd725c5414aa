"""Every backbone of the shelf keeps the contract; each one's layers against NumPy in float64."""

import io
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate2d
from scipy.special import erf
from torch import nn

from objectives.images.backbones import convnext, mlp, resnet, vit
from spaces.components import Shelf, fields
from spaces.domains import Choice, Int

SHELF = Shelf("architecture", "objectives.images.backbones")
SHAPES = [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 16, 24), (3, 32, 32), (3, 64, 64)]

each_backbone = pytest.mark.parametrize("name", SHELF.names())


def default(name: str, shape: tuple[int, int, int], seed: int = 0) -> nn.Module:
    backbone = SHELF.load(name)
    torch.manual_seed(seed)
    return backbone.build(backbone.config(), shape)


def pictures(shape: tuple[int, int, int], count: int = 4) -> torch.Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(1))


@cache
def settings_of(name: str) -> st.SearchStrategy:
    def values(domain) -> st.SearchStrategy:
        match domain:
            case Choice(options):
                return st.sampled_from(options)
            case Int():
                return st.integers(domain.low, domain.high)
            case _:
                return st.floats(domain.low, domain.high)

    return st.builds(SHELF.load(name).config, **{f.name: values(f.domain) for f in fields(SHELF.load(name).config)})


@each_backbone
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pictures_of_any_size_become_features(name: str, shape: tuple[int, int, int]) -> None:
    net = default(name, shape)
    out = net(pictures(shape))
    assert out.shape == (4, net.features)
    assert torch.isfinite(out).all()
    assert out.std(0).max() > 1e-3  # different pictures, different features


@each_backbone
@given(data=st.data(), shape=st.sampled_from(SHAPES))
@settings(max_examples=20, deadline=None)
def test_every_combination_of_knobs_builds_or_says_why_not(name: str, data, shape: tuple[int, int, int]) -> None:
    config = data.draw(settings_of(name))
    with torch.device("meta"):  # shapes alone, so that the largest networks cost nothing
        try:
            net = SHELF.load(name).build(config, shape)
        except ValueError as error:
            assert str(error).startswith(f"{name}: ")  # noqa: PT017
            assert name in PATCHED
            assert any(side % config.patch for side in shape[1:])
            return
        assert net(torch.empty(2, *shape)).shape == (2, net.features)


@each_backbone
def test_the_defaults_are_small(name: str) -> None:
    assert 5e4 < sum(p.numel() for p in default(name, (3, 32, 32)).parameters()) < 5e5


@each_backbone
def test_one_seed_gives_one_set_of_weights(name: str) -> None:
    one, same, other = (default(name, (3, 8, 8), seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@each_backbone
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)], ids=str)
def test_gradients_reach_every_parameter(name: str, shape: tuple[int, int, int]) -> None:
    net = default(name, shape)
    out = net(pictures(shape, 8))
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 0, key


@each_backbone
def test_evaluation_looks_at_each_picture_alone(name: str) -> None:
    net, images = default(name, (3, 8, 8)).eval(), pictures((3, 8, 8), 5)
    torch.testing.assert_close(net(images)[2:3], net(images[2:3]), rtol=1e-4, atol=1e-5)


@each_backbone
def test_memory_format_and_precision_do_not_change_the_result(name: str) -> None:
    net, images = default(name, (3, 16, 16)).eval(), pictures((3, 16, 16))
    plain = net(images)
    net = net.to(memory_format=torch.channels_last)
    torch.testing.assert_close(net(images.contiguous(memory_format=torch.channels_last)), plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net.double()(images.double()).float(), plain, rtol=1e-4, atol=1e-5)


@each_backbone
def test_an_exported_network_takes_batches_of_any_size(name: str) -> None:
    net = default(name, (3, 16, 16)).eval()
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(net, (pictures((3, 16, 16), 3),), dynamic_shapes=({0: batch},))
    file = io.BytesIO()
    torch.export.save(program, file)
    loaded = torch.export.load(io.BytesIO(file.getvalue())).module()
    for count in (1, 3, 7):
        images = pictures((3, 16, 16), count)
        torch.testing.assert_close(loaded(images), net(images), rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@each_backbone
def test_a_gpu_agrees_with_the_cpu(name: str) -> None:
    net, images = default(name, (3, 32, 32)).eval(), pictures((3, 32, 32))
    expected = net(images)
    torch.testing.assert_close(net.cuda()(images.cuda()).cpu(), expected, rtol=1e-2, atol=1e-2)


# ── Layers against NumPy ──────────────────────────────────────────────────────────────────────────────────────────────


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def stir(net: nn.Module) -> nn.Module:
    """Random values everywhere, also where a network starts with zeros and ones."""
    generator = torch.Generator().manual_seed(5)
    for value in net.state_dict().values():
        if value.is_floating_point():
            value.copy_(0.2 + 0.5 * torch.rand(value.shape, generator=generator, dtype=value.dtype))
    return net.double().eval()


def convolve(x: np.ndarray, layer: nn.Conv2d) -> np.ndarray:
    """A convolution of one picture (C, H, W) whose padding keeps its size, every stride-th place of it."""
    weight, step = array(layer.weight), layer.stride[0]
    pad = [(side // 2, side // 2) for side in weight.shape[2:]]
    padded = np.pad(x, [(0, 0), *pad])
    if layer.groups > 1:
        out = np.stack([correlate2d(one, w[0], "valid") for one, w in zip(padded, weight, strict=True)])
    else:
        out = np.stack([sum(correlate2d(one, k, "valid") for one, k in zip(padded, w, strict=True)) for w in weight])
    out = out[:, ::step, ::step]
    return out if layer.bias is None else out + array(layer.bias)[:, None, None]


def batch_norm(x: np.ndarray, layer: nn.BatchNorm2d) -> np.ndarray:
    mean, var, gain, bias = (
        array(v).reshape(-1, *[1] * (x.ndim - 1))
        for v in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    return (x - mean) / np.sqrt(var + layer.eps) * gain + bias


def layer_norm(x: np.ndarray, layer: nn.LayerNorm) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + layer.eps) * array(layer.weight) + array(layer.bias)


def linear(x: np.ndarray, layer: nn.Linear) -> np.ndarray:
    return x @ array(layer.weight).T + array(layer.bias)


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + erf(x / np.sqrt(2))) / 2


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(3, 3, 1), (3, 5, 2)])
def test_resnet_block_is_its_equation(inputs: int, outputs: int, stride: int) -> None:
    block = stir(resnet.Block(inputs, outputs, stride, "batch"))
    images = pictures((inputs, 7, 6), 2).double()
    for image, out in zip(array(images), array(block(images)), strict=True):
        inner = np.maximum(batch_norm(convolve(image, block.first), block.norm), 0)
        inner = batch_norm(convolve(inner, block.second), block.last_norm)
        short = image
        if stride > 1:
            short = batch_norm(convolve(image, block.shortcut[0]), block.shortcut[1])
        np.testing.assert_allclose(out, np.maximum(inner + short, 0), rtol=1e-9)


def test_resnet_counts_as_many_parameters_as_resnet_20_with_projections() -> None:
    # ResNet-20 for CIFAR-10 is n = 3, 16 to 64 channels. Published with identity shortcuts and a classifier: 269,722;
    # projections add 16·32 + 32·64 weights and two batch norms.
    net = resnet.build(resnet.Config(width=16, depth=3, stages=3), (3, 32, 32))
    classifier = 64 * 10 + 10
    projections = 16 * 32 + 32 * 64 + 2 * 32 + 2 * 64
    assert sum(p.numel() for p in net.parameters()) == 269_722 - classifier + projections


def test_resnet_halves_its_maps_from_stage_to_stage() -> None:
    net = resnet.build(resnet.Config(width=8, depth=2, stages=4), (3, 32, 20))
    assert net.maps(pictures((3, 32, 20))).shape == (4, 64, 4, 3)


@pytest.mark.parametrize(("readout", "width"), [("last", 32), ("last_two", 48), ("all", 56)])
def test_resnet_reads_out_the_means_of_its_stages(readout: str, width: int) -> None:
    net = resnet.build(resnet.Config(width=8, depth=2, stages=3, readout=readout), (3, 8, 8)).eval()
    images = pictures((3, 8, 8))
    stages = [net.layers[: 1 + 2 * count](images).mean((2, 3)) for count in (1, 2, 3)]
    torch.testing.assert_close(net.readout(images), torch.cat(stages, 1)[:, -width:])
    torch.testing.assert_close(net(images), stages[-1])


def test_convnext_block_is_its_equation() -> None:
    block = stir(convnext.Block(4, (5, 3), 0.3))
    images = pictures((4, 6, 5), 2).double()
    for image, out in zip(array(images), array(block(images)), strict=True):
        inner = layer_norm(convolve(image, block.depthwise).transpose(1, 2, 0), block.norm)
        inner = array(block.scale) * linear(gelu(linear(inner, block.widen)), block.narrow)
        np.testing.assert_allclose(out, image + inner.transpose(2, 0, 1), rtol=1e-9)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 24)], ids=str)
def test_convnext_has_no_tap_that_never_meets_the_map(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    net = convnext.build(convnext.Config(stem=1, stages=4, scale=1.0, depth=1, width=8), shape)
    net(pictures(shape, 8)).square().sum().backward()
    kernels = [block.depthwise.weight for block in net.layers if isinstance(block, convnext.Block)]
    assert max(kernels[0].shape[2:]) == 7
    for kernel in kernels:
        assert (kernel.grad.abs().amax((0, 1)) > 0).all()


def test_convnext_refuses_an_image_below_one_patch() -> None:
    with pytest.raises(ValueError, match=r"convnext: an image of 3 × 8 pixels is smaller than stem 4"):
        convnext.build(convnext.Config(stem=4), (1, 3, 8))


def test_mlp_is_its_equation() -> None:
    net = stir(mlp.build(mlp.Config(width=32, depth=2), (2, 3, 4)))
    images = pictures((2, 3, 4)).double()
    x = array(images).reshape(4, -1)
    for layer, norm, _ in net.layers:
        x = np.maximum(batch_norm((x @ array(layer.weight).T).T, norm).T, 0)
    np.testing.assert_allclose(array(net(images)), x, rtol=1e-9)


def test_vit_layer_is_its_equation() -> None:
    layer = stir(vit.Layer(features=8, heads=2))
    tokens = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(3)).double()
    for z, out in zip(array(tokens), array(layer(tokens)), strict=True):
        query, key, value = np.split(linear(layer_norm(z, layer.attention_norm), layer.qkv), 3, axis=1)
        heads = []
        for one in (slice(0, 4), slice(4, 8)):
            weight = np.exp(query[:, one] @ key[:, one].T / np.sqrt(4))
            heads.append(weight / weight.sum(1, keepdims=True) @ value[:, one])
        z = z + linear(np.concatenate(heads, axis=1), layer.join)
        inner = gelu(linear(layer_norm(z, layer.mlp_norm), layer.mlp[0]))
        np.testing.assert_allclose(out, z + linear(inner, layer.mlp[2]), rtol=1e-9)


# ── What a backbone with maps or with layers offers ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [name for name in SHELF.names() if "maps" in SHELF.load(name).offers])
def test_the_mean_of_maps_is_what_methods_train_on(name: str) -> None:
    net, images = default(name, (3, 8, 16)).eval(), pictures((3, 8, 16))
    maps = net.maps(images)
    assert maps.shape[:2] == (4, net.features)
    torch.testing.assert_close(maps.mean((2, 3)), net(images))
    assert maps.shape[3] >= maps.shape[2]


@pytest.mark.parametrize("name", [name for name in SHELF.names() if "layers" in SHELF.load(name).offers])
def test_layers_one_after_the_other_are_the_network(name: str) -> None:
    net, images = default(name, (3, 8, 8)).eval(), pictures((3, 8, 8))
    out = images.flatten(1) if name == "mlp" else images
    for layer in net.layers:
        out = layer(out)
    torch.testing.assert_close(out.mean((2, 3)) if out.ndim == 4 else out, net(images))


@pytest.mark.parametrize(("name", "norm"), [("resnet", "group"), ("resnet", "none"), ("mlp", "none")])
def test_without_batch_norm_no_image_sees_another(name: str, norm: str) -> None:
    component = SHELF.load(name)
    net, images = component.build(component.config(norm=norm), (3, 8, 8)).train(), pictures((3, 8, 8))
    torch.testing.assert_close(net(images)[:1], net(images[:1]), rtol=1e-4, atol=1e-5)
    batched = component.build(component.config(), (3, 8, 8)).train()
    assert not torch.allclose(batched(images)[:2], batched(images[:2]), rtol=1e-3)


def test_a_perceptron_may_end_in_another_width() -> None:
    net = mlp.build(mlp.Config(width=64, depth=3, last=24), (1, 8, 8))
    assert [layer[0].weight.shape for layer in net.layers] == [(64, 64), (64, 64), (24, 64)]
    assert net.features == 24


# ── What a backbone with patches offers ───────────────────────────────────────────────────────────────────────────────

PATCHED = [name for name in SHELF.names() if "patches" in SHELF.load(name).offers]
each_patched = pytest.mark.parametrize("name", PATCHED)


def test_some_backbone_offers_patches() -> None:
    assert "vit" in PATCHED


@each_patched
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 24)], ids=str)
def test_forward_is_the_mean_of_blocks_after_embed(name: str, shape: tuple[int, int, int]) -> None:
    net, images = default(name, shape).eval(), pictures(shape)
    tokens = net.embed(images)
    assert tokens.shape == (4, net.grid[0] * net.grid[1], net.features)
    assert (net.grid[0] * net.patch, net.grid[1] * net.patch) == shape[1:]
    torch.testing.assert_close(net.blocks(tokens).mean(1), net(images))


@each_patched
def test_each_patch_becomes_one_token_row_by_row(name: str) -> None:
    net = default(name, (3, 16, 24))
    images = pictures((3, 16, 24), 1)
    for row in range(net.grid[0]):
        for column in range(net.grid[1]):
            changed = images.clone()
            changed[:, :, row * net.patch, (column + 1) * net.patch - 1] += 1
            moved = (net.embed(changed) - net.embed(images)).abs().amax((0, 2)) > 1e-6
            assert moved.nonzero().flatten().tolist() == [row * net.grid[1] + column]


@each_patched
def test_blocks_take_any_tokens_in_any_order(name: str) -> None:
    net = default(name, (3, 16, 16)).eval()
    tokens = net.embed(pictures((3, 16, 16)))
    order = torch.randperm(tokens.shape[1], generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(net.blocks(tokens[:, order]), net.blocks(tokens)[:, order], rtol=1e-4, atol=1e-5)
    assert net.blocks(tokens[:, :3]).shape == (4, 3, net.features)


@pytest.mark.parametrize("name", [name for name in SHELF.names() if "mirror" in SHELF.load(name).offers])
def test_a_mirror_is_new_layers_from_tokens_to_tokens(name: str) -> None:
    net = default(name, (3, 16, 16))
    tokens = net.embed(pictures((3, 16, 16)))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    back, other = net.mirror(), net.mirror()
    out = back(net.blocks(tokens))
    assert out.shape == tokens.shape
    assert not torch.allclose(out, other(net.blocks(tokens)))
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    kept = {p.data_ptr() for p in net.parameters()}
    assert not kept & {p.data_ptr() for p in back.parameters()}
    out.square().sum().backward()
    assert all(p.grad is not None for p in back.parameters())


def test_vit_positions_are_sines_and_cosines_of_row_and_column() -> None:
    table = array(vit.sine_positions((2, 3), 16))
    for row in range(2):
        for column in range(3):
            angles = [[at / 10_000 ** (k / 4) for k in range(4)] for at in (row, column)]
            expected = np.concatenate([part for a in angles for part in (np.sin(a), np.cos(a))])
            np.testing.assert_allclose(table[3 * row + column], expected, atol=1e-6)


def test_vit_positions_are_trained_only_if_learned() -> None:
    fixed = vit.build(vit.Config(positions="fixed"), (3, 8, 8))
    learned = vit.build(vit.Config(positions="learned"), (3, 8, 8))
    assert "positions" not in dict(fixed.named_parameters())
    assert "positions" in dict(learned.named_parameters())
    assert torch.equal(fixed.positions, learned.positions)


def test_vit_says_which_patch_does_not_fit() -> None:
    with pytest.raises(ValueError, match="vit: patch 16 does not divide an image of 8 × 8 pixels"):
        vit.build(vit.Config(patch=16), (1, 8, 8))
