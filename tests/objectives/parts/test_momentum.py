from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from objectives.parts.momentum import Teacher, momentum_at


@pytest.mark.parametrize("base", [0.0, 0.9, 0.996])
@pytest.mark.parametrize("step", [0, 1, 37, 99, 100])
def test_the_schedule_is_the_papers(base: float, step: int) -> None:
    expected = 1 - (1 - base) * (math.cos(math.pi * step / 100) + 1) / 2
    assert momentum_at(torch.tensor(step), 100, base).item() == pytest.approx(expected, abs=1e-6)


def test_the_schedule_ends_at_one_and_stays() -> None:
    assert momentum_at(torch.tensor(100), 100, 0.5).item() == 1
    assert momentum_at(torch.tensor(250), 100, 0.5).item() == 1
    assert momentum_at(torch.tensor(0), 100, 0.5).item() == 0.5


def test_the_teacher_is_the_moving_average_of_its_student() -> None:
    student = nn.Linear(3, 2).double()
    teacher, expected = Teacher(student, base=0.8, steps=6), student.weight.detach().clone()
    for step in range(6):
        with torch.no_grad():
            student.weight += torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        teacher.follow(student)
        m = 1 - 0.2 * (math.cos(math.pi * step / 6) + 1) / 2
        expected = m * expected + (1 - m) * student.weight.detach()
    torch.testing.assert_close(teacher.network.weight, expected, rtol=1e-6, atol=1e-6)
    assert teacher.step.item() == 6


def test_the_teacher_is_apart_from_its_student_and_takes_no_gradient() -> None:
    student = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    teacher = Teacher(student, base=0.9, steps=10)
    before = [p.clone() for p in student.parameters()]
    out = teacher(torch.randn(4, 3, requires_grad=True))
    assert not out.requires_grad
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad for p in student.parameters())
    teacher.follow(student)
    assert all(torch.equal(p, was) for p, was in zip(student.parameters(), before, strict=True))


def test_the_teacher_uses_the_statistics_of_its_own_batch_and_leaves_the_students() -> None:
    student = nn.BatchNorm1d(2)
    teacher = Teacher(student, base=0.9, steps=10)
    out = teacher(5 + 3 * torch.randn(50, 2, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(out.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    assert torch.equal(student.running_mean, torch.zeros(2))


def test_the_place_in_the_schedule_is_part_of_the_state() -> None:
    student = nn.Linear(2, 2)
    teacher = Teacher(student, base=0.5, steps=10)
    teacher.follow(student)
    other = Teacher(student, base=0.5, steps=10)
    other.load_state_dict(teacher.state_dict())
    assert other.step.item() == 1
