from __future__ import annotations

import pytest
import torch

from objectives.parts.precision import full_precision


@full_precision
def gram(x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    """A product that autocast would round."""
    return scale * x @ x.T


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_is_widened(dtype: torch.dtype) -> None:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert gram(x).dtype == torch.float32
    assert torch.equal(gram(x), x.float() @ x.float().T)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_rest_stays(dtype: torch.dtype) -> None:
    x = torch.randn(4, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
    assert torch.equal(gram(x, scale=2.0), 2.0 * x @ x.T)


def test_autocast_is_suspended_and_comes_back() -> None:
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    exact = x @ x.T
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x.T).dtype == torch.bfloat16  # what it is about
        assert torch.equal(gram(x), exact)
        assert (x @ x.T).dtype == torch.bfloat16


def test_gradients_return_in_the_inputs_type() -> None:
    x = torch.randn(4, 3, dtype=torch.bfloat16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    gram(x).sum().backward()
    assert x.grad.dtype == torch.bfloat16


def test_the_function_keeps_its_name() -> None:
    assert gram.__name__ == "gram"
    assert "autocast" in gram.__doc__
