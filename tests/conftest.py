"""Shared by all tests: those of a file, and all that start processes, stay together; without a GPU some are skipped."""

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

PROCESSES = ("test_ray", "test_cluster", "test_faults", "test_kills", "test_reaper", "test_claims_cli", "test_cli")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:  # of two workers, one has whatever starts Ray, so that never two of them do
        group = "processes" if item.path.stem in PROCESSES else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
