"""Shared by all tests: GPU tests are skipped where there is no GPU, and the same examples are drawn in every run."""

import os

import pytest
from hypothesis import settings

settings.register_profile("seeded", derandomize=True)
settings.load_profile("seeded")
if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
