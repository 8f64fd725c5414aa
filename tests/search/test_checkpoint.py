"""A state is packed and comes back the same, to the bit; what is not whole is refused."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from search.checkpoint import DEEPEST, Damaged, pack, unpack

ROOT = Path(__file__).parents[2]
REAL = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
COMPLEX = [torch.complex64, torch.complex128]
SIGNED = [torch.int8, torch.int16, torch.int32, torch.int64]
WHOLE = [torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, *SIGNED]
DTYPES = [*WHOLE, *REAL, *COMPLEX]


def bits(tensor: Tensor) -> bytes:
    """The numbers of a tensor, in the order of its dimensions."""
    return tensor.detach().clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8).numpy().tobytes()


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, Tensor):
        assert (found.dtype, found.shape, found.device.type) == (expected.dtype, expected.shape, "cpu")
        assert bits(found) == bits(expected)
    elif isinstance(expected, dict):
        assert [(type(key), key) for key in found] == [(type(key), key) for key in expected]
        assert getattr(found, "_metadata", None) == getattr(expected, "_metadata", None)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, float):
        assert struct.pack("d", found) == struct.pack("d", expected) or (math.isnan(found) and math.isnan(expected))
    else:
        assert found == expected


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Of every type, up to four dimensions, some of them empty; in any order in memory, some with gaps."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    count = math.prod(shape)
    size = torch.empty(0, dtype=dtype).element_size() * count
    content = bytearray(draw(st.binary(min_size=size, max_size=size)))
    if dtype == torch.bool:
        content = bytearray(value & 1 for value in content)
    flat = torch.frombuffer(content, dtype=dtype) if count else torch.empty(0, dtype=dtype)
    tensor = flat.reshape(shape).permute(draw(st.permutations(range(len(shape)))))
    if shape and draw(st.booleans()):
        tensor = tensor[..., :: draw(st.integers(1, 2))]
    return tensor


TEXT = st.text(st.characters(), max_size=4) | st.sampled_from(["$", "a.b", "__metadata__", "", "\ud800", "0"])
PLAIN = st.none() | st.booleans() | st.integers() | st.integers(-(2**200), 2**200) | st.floats() | TEXT


def around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    items, keys = st.lists(inner, max_size=3), TEXT | st.integers() | st.just(2**64)
    return (
        items
        | items.map(tuple)
        | st.dictionaries(keys, inner, max_size=3)
        | st.dictionaries(TEXT, inner, max_size=3).map(OrderedDict)
    )


@settings(deadline=None, max_examples=400)
@given(st.dictionaries(TEXT | st.integers(), st.recursive(PLAIN | tensors(), around, max_leaves=8), max_size=4))
def test_what_is_packed_comes_back_the_same(state: dict[Any, Any]) -> None:
    content = pack(state)
    found = unpack(content)
    assert_same(found, state)
    assert pack(state) == content
    assert_same(unpack(pack(found)), state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64, torch.bool], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (4, 3, 1, 1), (2, 1, 3, 3), (1, 3, 2, 2), (0, 3, 2, 2)], ids=str)
def test_channels_last_stays(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    last = numbers.clone(memory_format=torch.channels_last)
    found = unpack(pack({"first": numbers, "last": last, "turned": last.permute(1, 0, 3, 2)}))
    assert found["first"].stride() == numbers.stride()
    assert found["last"].stride() == last.stride()
    assert found["last"].is_contiguous(memory_format=torch.channels_last)
    assert found["turned"].stride() == last.permute(1, 0, 3, 2).stride()
    assert_same(found, {"first": numbers, "last": last, "turned": last.permute(1, 0, 3, 2)})


def test_names_that_meet_are_kept_apart() -> None:
    one, two = torch.tensor(1), torch.tensor(2)
    state = {"a.b": one, "a": {"b": two}, 0: one, "0": two, "__metadata__": one, "0'": [two], "n": 2**20_000}
    assert_same(unpack(pack(state)), state)


def test_what_shares_memory_is_kept_apart() -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    state = {"a": tensor, "b": tensor, "part": tensor[1], "turned": tensor.T, "wide": tensor[:1].expand(4, 3)}
    found = unpack(pack(state))
    assert_same(found, state)
    found["a"].zero_()
    assert_same({"a": tensor, **{name: found[name] for name in ("b", "part", "turned", "wide")}}, state)


def test_views_that_wait_for_a_sign_come_back_with_it() -> None:
    numbers = torch.tensor([[1 + 2j, 3 - 4j]])
    found = unpack(pack({"conj": numbers.conj(), "imag": numbers.conj().imag, "both": numbers.mH}))
    assert found["conj"].tolist() == [[1 - 2j, 3 + 4j]]
    assert found["imag"].tolist() == [[-2, 4]]
    assert found["both"].tolist() == [[1 - 2j], [3 + 4j]]


def test_the_file_is_readable_without_pretune(tmp_path: Path) -> None:
    weight = torch.randn(4, 3, 2, 2)
    state = {
        "epoch": 3,
        "method": {"weight": weight.to(memory_format=torch.channels_last), "0.bias": torch.tensor(2.0)},
        "optimizer": {"state": {0: {"step": torch.tensor(7)}}, "param_groups": [{"betas": (0.9, 0.99), "params": [0]}]},
    }
    path = tmp_path / "state.safetensors"
    path.write_bytes(pack(state))
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == {"method.weight", "method.0.bias", "optimizer.state.0.step"}
        assert torch.equal(file.get_tensor("method.weight"), weight.permute(0, 2, 3, 1))
        number, checksum, text = file.metadata()["pretune"].split(" ", 2)
    assert (number, len(checksum)) == ("1", 8)
    assert json.loads(text)["epoch"] == 3


def network() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.Flatten())
    body.to(memory_format=torch.channels_last)
    return body, torch.optim.AdamW(body.parameters(), lr=1e-2)


def trained(body: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        body(torch.randn(4, 3, 6, 6).contiguous(memory_format=torch.channels_last)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_training_that_is_taken_up_equals_unbroken_training() -> None:
    body, optimizer = network()
    trained(body, optimizer, 3)
    content = pack({"body": body.state_dict(), "optimizer": optimizer.state_dict(), "torch": torch.get_rng_state()})
    trained(body, optimizer, 3)
    state = unpack(content)
    again, optimizer_too = network()
    again.load_state_dict(state["body"])
    optimizer_too.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["torch"])
    trained(again, optimizer_too, 3)
    assert pack({"body": again.state_dict(), "optimizer": optimizer_too.state_dict()}) == pack(
        {"body": body.state_dict(), "optimizer": optimizer.state_dict()}
    )


def test_the_versions_of_modules_are_kept() -> None:
    state = nn.Sequential(nn.BatchNorm1d(2)).state_dict()
    assert unpack(pack({"body": state}))["body"]._metadata["0"] == {"version": 2}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": {"b": [0, np.zeros(3)]}}, "a.b.1: a state cannot hold numpy.ndarray"),
        ({"lr": np.float64(1)}, "lr: a state cannot hold numpy.float64"),
        ({"a": {1, 2}}, "a: a state cannot hold set"),
        ({"a": b"x"}, "a: a state cannot hold bytes"),
        ({"a": torch.Size([1])}, "a: a state cannot hold torch.Size"),
        ({"a": nn.Parameter(torch.zeros(1))}, "a: a state cannot hold torch.nn.parameter.Parameter"),
        ({"a": {True: 1}}, "a: a state cannot hold a key that is bool"),
        ({"a": {1.0: 1}}, "a: a state cannot hold a key that is float"),
        ({None: 1}, "the state: a state cannot hold a key that is NoneType"),
        ({"a": torch.zeros(2).to_sparse()}, "a: a state cannot hold torch.sparse_coo on cpu, torch.Tensor"),
        ({"a": torch.zeros(2, device="meta")}, "a: a state cannot hold torch.strided on meta, torch.Tensor"),
        ({"a": torch.zeros(2).to(torch.float8_e4m3fn)}, "a: a state cannot hold torch.float8_e4m3fn, torch.Tensor"),
        ([1], "the state: a state cannot hold list"),
    ],
)
def test_what_cannot_be_kept_is_named_with_its_place(state: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        pack(state)
    assert str(caught.value) == message


def nested(levels: int) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for _ in range(levels):
        state = {"a": state}
    return state


def test_a_state_is_not_endless() -> None:
    assert_same(unpack(pack(nested(DEEPEST))), nested(DEEPEST))
    endless: dict[str, Any] = {}
    endless["a"] = [endless]
    for state in (nested(DEEPEST + 1), nested(5000), endless):
        with pytest.raises(ValueError, match=f"nested more than {DEEPEST} levels deep"):
            pack(state)


SMALL = {
    "epoch": 3,
    "lr": 1e-3,
    "pair": (True, None),
    "w": torch.arange(8.0).reshape(2, 1, 2, 2).to(memory_format=torch.channels_last),
    5: torch.tensor(7),
}


def test_a_file_cut_off_anywhere_is_refused() -> None:
    content = pack(SMALL)
    assert_same(unpack(content), SMALL)
    for size in range(len(content)):
        with pytest.raises(Damaged):
            unpack(content[:size])
    for more in (b"\0", b"x" * 100, content):
        with pytest.raises(Damaged):
            unpack(content + more)


def test_a_byte_that_is_wrong_anywhere_is_seen() -> None:
    content = pack(SMALL)
    harmless = 0
    for place in range(len(content)):
        for flip in (0x01, 0x03, 0x0F, 0x20, 0x80, 0xFF):
            wrong = bytearray(content)
            wrong[place] ^= flip
            try:
                found = unpack(bytes(wrong))
            except Damaged:
                continue
            assert_same(found, SMALL)
            harmless += 1
    assert harmless < 20  # the space that fills the header, as another kind of space


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda body: len(body).to_bytes(8, "little") + body))
def test_garbage_is_refused(content: bytes) -> None:
    with pytest.raises(Damaged):
        unpack(content)


def forged(text: str, held: dict[str, Tensor] | None = None, number: str = "1") -> bytes:
    """A file with a right checksum, whatever it says."""
    crc = zlib.crc32(text.encode())
    for name, tensor in sorted((held or {}).items()):
        crc = zlib.crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(tensor.numpy().tobytes(), crc)
    return save(held or {}, {"pretune": f"{number} {crc:08x} {text}"})


def placed(**more: Any) -> str:
    return json.dumps({"a": {"$": "tensor", "name": "a", **more}})


def test_what_is_forged_well_is_read() -> None:
    assert_same(unpack(forged(placed(), {"a": torch.ones(2)})), {"a": torch.ones(2)})
    turned = unpack(forged(placed(shape=[2, 3], strides=[1, 2]), {"a": torch.arange(6.0)}))["a"]
    assert turned.tolist() == [[0, 2, 4], [1, 3, 5]]


TWICE = json.dumps({key: {"$": "tensor", "name": "a"} for key in "ab"})
PAIRS = {"a": {"$": "dict", "of": [[["unhashable"], 1]]}}


@pytest.mark.parametrize(
    "content",
    [
        save({"a": torch.ones(2)}),
        save({"a": torch.ones(2)}, {"format": "pt"}),
        save({}, {"pretune": ""}),
        save({}, {"pretune": "1 00000000 {}"}),
        forged("{}", number="2"),
        forged("{}", number="01"),
        forged("{}", {"a": torch.ones(2)}),
        forged("[]"),
        forged("3"),
        forged("{"),
        forged("[" * 100_000),
        forged('{"a":' * 3000 + "1" + "}" * 3000),
        forged('{"a":' + "[" * 900 + "]" * 900 + "}"),
        forged('{"a":' + "9" * 5000 + "}"),
        forged(json.dumps({"a": {"$": "eval", "of": "1"}})),
        forged(json.dumps({"a": {"$": ["tensor"]}})),
        forged(json.dumps({"a": {"$": "tuple"}})),
        forged(json.dumps({"a": {"$": "tuple", "of": 3}})),
        forged(json.dumps({"a": {"$": "float", "of": "x"}})),
        forged(json.dumps({"a": {"$": "float", "of": []}})),
        forged(json.dumps({"a": {"$": "int", "of": "0xg"}})),
        forged(json.dumps(PAIRS)),
        forged(json.dumps({"a": {"$": "dict", "of": [[1, 2, 3]]}})),
        forged(json.dumps({"a": {"$": "ordered", "of": 3, "about": None}})),
        forged(placed()),
        forged(TWICE, {"a": torch.ones(2)}),
        forged(json.dumps({"a": {"$": "tensor"}}), {"a": torch.ones(2)}),
        forged(placed(complex=True), {"a": torch.ones(3)}),
        forged(placed(complex=True), {"a": torch.ones(2, dtype=torch.int64)}),
        forged(placed(shape=[2, 2], strides=[4, 1]), {"a": torch.ones(4)}),
        forged(placed(shape=[10**12], strides=[0]), {"a": torch.ones(1)}),
        forged(placed(shape=[-2, -2], strides=[1, -2]), {"a": torch.ones(4)}),
        forged(placed(shape=[4], strides=[1, 1]), {"a": torch.ones(4)}),
        forged(placed(shape=[2, 2], strides=[1, 1]), {"a": torch.ones(4)}),
        forged(placed(shape=[3], strides=[1]), {"a": torch.ones(4)}),
        forged(placed(shape=["4"], strides=["1"]), {"a": torch.ones(4)}),
        forged(placed(shape=[2, 2], strides=[1, 2.0]), {"a": torch.ones(4)}),
        forged(placed(strides=[1]), {"a": torch.ones(4)}),
    ],
)  # fmt: skip
def test_what_is_forged_badly_is_refused(content: bytes) -> None:
    with pytest.raises(Damaged):
        unpack(content)


def test_commands_that_read_no_state_start_without_torch() -> None:
    script = "import sys, search.checkpoint, search.store; print({'torch', 'safetensors', 'fsspec'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.gpu
def test_tensors_of_a_gpu_come_back_on_the_cpu() -> None:
    numbers = torch.randn(2, 3, 4, 5)
    state = {"a": numbers.cuda().to(memory_format=torch.channels_last), "b": numbers.cuda().bfloat16().T}
    found = unpack(pack(state))
    assert_same(found, {"a": numbers, "b": numbers.bfloat16().T})
    assert {name: tensor.stride() for name, tensor in found.items()} == {n: t.stride() for n, t in state.items()}
