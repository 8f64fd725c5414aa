from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from objectives.parts.clustered_memory import ClusteredMemory


@pytest.fixture
def g() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def memory(clusters: int = 4, length: int = 40, width: int = 3, momentum: float = 0.0) -> ClusteredMemory:
    return ClusteredMemory(clusters, length, width, epsilon=0.05, iterations=20, momentum=momentum)


def blobs(kinds: Tensor, g: torch.Generator) -> Tensor:
    """Rows `(n, 3)` about four corners of a tetrahedron, of any length."""
    corners = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    return (corners[kinds] + 0.2 * torch.randn(len(kinds), 3, generator=g)) * (
        1 + torch.rand(len(kinds), 1, generator=g)
    )


def full(g: torch.Generator, momentum: float = 0.0) -> tuple[ClusteredMemory, Tensor]:
    """A sorted memory of images 0 to 39, newest last image first, and the kind of each of its rows."""
    kinds = torch.arange(40) % 4
    found = memory(momentum=momentum)
    found.push(blobs(kinds, g), torch.arange(40))
    found.sort(g)
    return found, kinds


def test_it_has_no_clusters_before_it_is_sorted(g) -> None:
    found = memory()
    found.push(blobs(torch.arange(16) % 4, g), torch.arange(16))
    assert not found.sorted
    assert not found.queue.full
    assert (found.labels == -1).all()


def test_sorting_finds_the_blobs_and_new_rows_join_them(g) -> None:
    found, kinds = full(g)
    assert found.sorted
    names = found.labels[:4]
    assert names.unique().numel() == 4
    assert torch.equal(found.labels, names[kinds])
    new = torch.arange(8) % 4
    found.push(blobs(new, g), torch.arange(100, 108))
    assert torch.equal(found.labels, names[torch.cat([new, kinds[:32]])])
    assert found.queue.index[:8].tolist() == list(range(100, 108))
    torch.testing.assert_close(found.queue.rows.norm(dim=1), torch.ones(40))


@pytest.mark.parametrize("momentum", [0.0, 0.75])
def test_momentum_multiplies_the_old_prototype(momentum: float, g) -> None:
    found, _ = full(g, momentum)
    before = found.prototypes.clone()
    found.push(blobs(torch.arange(8) % 4, g), torch.arange(8))
    for cluster in range(4):
        mean = found.queue.rows[found.labels == cluster].mean(dim=0)
        torch.testing.assert_close(found.prototypes[cluster], momentum * before[cluster] + (1 - momentum) * mean)


def test_an_empty_cluster_keeps_its_prototype(g) -> None:
    found, _ = full(g)
    found.labels[found.labels == 2] = 1
    before = found.prototypes.clone()
    found.assign = lambda rows: torch.ones(len(rows), dtype=torch.long)  # type: ignore[method-assign]
    found.push(blobs(torch.arange(4), g), torch.arange(4))
    assert torch.equal(found.prototypes[2], before[2])


def test_neighbours_are_the_papers(g) -> None:
    found, _ = full(g)
    found.labels[found.labels == found.labels[3]] = found.labels[0]  # one large cluster, two, and an empty one
    rows, index = torch.randn(30, 3, generator=g), torch.randint(40, (30,), generator=g)
    near = found.nearest(rows, index, 3)
    memory_rows, labels, images = found.queue.rows.numpy(), found.labels.numpy(), found.queue.index.numpy()
    prototypes = found.prototypes.numpy()
    prototypes = prototypes / np.linalg.norm(prototypes, axis=1, keepdims=True)
    alone = 0
    for row, own, places in zip(rows.numpy(), index.numpy(), near.numpy(), strict=True):
        members = np.flatnonzero((labels == (prototypes @ row).argmax()) & (images != own))
        if len(members) <= 3:
            alone, members = alone + 1, np.flatnonzero(images != own)
        expected = members[np.argsort(-(memory_rows[members] @ row))][:3]
        assert places.tolist() == expected.tolist()
    assert 0 < alone < 30  # both ways were taken


def test_other_rows_of_an_image_are_no_neighbours(g) -> None:
    found = memory(length=40)
    found.push(blobs(torch.arange(40) % 4, g), torch.arange(20).repeat(2))
    found.sort(g)
    near = found.nearest(found.queue.rows, found.queue.index, 4)
    assert (found.queue.index[near] != found.queue.index.unsqueeze(1)).all()


def test_rows_go_to_what_is_near_in_equal_shares(g) -> None:
    found, _ = full(g)
    rows = torch.nn.functional.normalize(torch.randn(80, 3, generator=g), dim=1)
    labels = found.assign(rows)
    assert torch.bincount(labels, minlength=4).min() >= 14
    distance = torch.cdist(rows, found.prototypes)
    assert distance[torch.arange(80), labels].mean() < distance.mean() - 0.3


def test_it_takes_no_gradient_and_no_half_precision(g) -> None:
    found, _ = full(g)
    with torch.autocast("cpu", torch.bfloat16):
        rows = blobs(torch.arange(4), g).requires_grad_()
        found.push(rows.bfloat16(), torch.arange(4))
        near = found.nearest(rows.bfloat16(), torch.arange(4), 2)
    assert near.shape == (4, 2)
    assert found.queue.rows.dtype == found.prototypes.dtype == torch.float32
    assert not found.queue.rows.requires_grad
