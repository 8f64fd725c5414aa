from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.parts.memories import Bank, Queue


@settings(max_examples=40, deadline=None)
@given(length=st.integers(0, 9), sizes=st.lists(st.integers(1, 12), max_size=6))
def test_a_queue_is_a_list_that_is_cut_off(length: int, sizes: list[int]) -> None:
    queue, expected, shown = Queue(length, 2), [], 0
    for size in sizes:
        rows = [(float(shown + i), -float(shown + i)) for i in range(size)]
        queue.push(torch.tensor(rows), torch.arange(shown, shown + size))
        shown += size
        expected = [*rows, *expected][:length]
    count = len(expected)
    assert queue.rows[:count].tolist() == [list(row) for row in expected]
    assert queue.index[:count].tolist() == [int(row[0]) for row in expected]
    assert queue.index[count:].tolist() == [-1] * (length - count)
    assert not queue.rows[count:].any()
    assert int(queue.count) == count
    assert queue.full == (count == length > 0)


def test_a_queue_without_images_and_without_gradient() -> None:
    queue = Queue(4, 3)
    rows = torch.randn(2, 3, requires_grad=True)
    queue.push(rows.bfloat16())
    assert not queue.rows.requires_grad
    assert queue.rows.dtype == torch.float32
    assert queue.index.tolist() == [-1] * 4


def test_memories_are_part_of_the_state() -> None:
    g = torch.Generator().manual_seed(0)
    queue, other = Queue(4, 3), Queue(4, 3)
    queue.push(torch.randn(5, 3, generator=g), torch.arange(5))
    other.load_state_dict(queue.state_dict())
    assert other.full
    assert torch.equal(other.rows, queue.rows)
    bank, copy = Bank(6, 3), Bank(6, 3)
    bank.write(torch.tensor([1, 4]), torch.randn(2, 3, generator=g))
    bank.labels[4] = 7
    copy.load_state_dict(bank.state_dict())
    assert copy.labels.tolist() == [-1, -1, -1, -1, 7, -1]
    assert copy.visited.tolist() == [False, True, False, False, True, False]
    assert torch.equal(copy.features, bank.features)
    assert not list(queue.parameters()) + list(bank.parameters())


@pytest.mark.parametrize("momentum", [0.3, 0.5, 1.0])
def test_a_bank_moves_towards_what_is_written(momentum: float) -> None:
    rng = np.random.default_rng(0)
    bank, expected = Bank(5, 3).double(), np.zeros((5, 3))
    for _ in range(4):
        index, rows = rng.permutation(5)[:3], rng.normal(size=(3, 3))
        bank.write(torch.from_numpy(index), torch.from_numpy(rows).requires_grad_(), momentum)
        for i, row in zip(index, rows, strict=True):
            new = (1 - momentum) * expected[i] + momentum * row / np.linalg.norm(row)
            expected[i] = new / np.linalg.norm(new)
    np.testing.assert_allclose(bank.features, expected, atol=1e-12)
    assert bank.visited.tolist() == np.any(expected != 0, axis=1).tolist()
    assert not bank.features.requires_grad


def test_the_first_visit_replaces_and_zero_momentum_keeps_afterwards() -> None:
    bank = Bank(2, 2)
    bank.write(torch.tensor([0]), torch.tensor([[3.0, 4.0]]), 0.1)
    torch.testing.assert_close(bank.features[0], torch.tensor([0.6, 0.8]))
    bank.write(torch.tensor([0]), torch.tensor([[1.0, 0.0]]), 0.0)
    torch.testing.assert_close(bank.features[0], torch.tensor([0.6, 0.8]))


def test_of_an_image_that_comes_twice_the_last_row_counts() -> None:
    bank, index = Bank(40, 4), torch.arange(20).repeat(3)[torch.randperm(60)]
    rows = torch.nn.functional.normalize(torch.randn(60, 4), dim=1)
    bank.write(index, rows)
    for image in range(20):
        last = (index == image).nonzero().max()
        torch.testing.assert_close(bank.features[image], rows[last])
    assert bank.visited.sum() == 20
