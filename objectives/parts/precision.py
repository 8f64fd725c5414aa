"""Numerics in one place: losses are computed in full precision, whatever the networks ran in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])

_HALF = (torch.float16, torch.bfloat16)


def full_precision(function: F) -> F:
    """`function` outside autocast, its half-precision tensors widened to float32; float64 stays float64.

    Widening alone is not enough: inside autocast a product of two float32 matrices is rounded to half again.
    Tensors are taken from positional arguments, of which one at least must be a tensor.
    """

    @wraps(function)
    def widened(*args: Any, **kwargs: Any) -> Any:
        device = next(a.device.type for a in args if isinstance(a, Tensor))
        with torch.autocast(device, enabled=False):
            return function(*(_widen(a) for a in args), **kwargs)

    return cast(F, widened)


def _widen(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in _HALF else value
