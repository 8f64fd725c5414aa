"""What the tests of parts share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


def _same_in_half(function: Callable[..., Tensor], *tensors: Tensor) -> None:
    narrow = [t.bfloat16() for t in tensors]
    plain = function(*(t.float() for t in narrow))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(function(*narrow), plain, rtol=1e-6, atol=1e-7)


@pytest.fixture
def same_in_half() -> Callable[..., None]:
    """`same_in_half(function, *tensors)`: asserts that autocast and bfloat16 inputs do not coarsen the arithmetic."""
    return _same_in_half
