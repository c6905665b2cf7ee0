"""What all tests share: a quiet runtime on few threads, repeatable numbers, and drawn parts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# read by the native libraries when they are loaded, so they are set before anything is imported
for _name, _value in {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OMP_NUM_THREADS": "2",
    "TF_NUM_INTRAOP_THREADS": "2",
    "TF_NUM_INTEROP_THREADS": "2",
}.items():
    os.environ.setdefault(_name, _value)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests (`make test`), each file stays in one of them.

    The end-to-end tests stay together: they share one trained model.
    """
    for item in items:
        whole = item.path.parent.name == "e2e"
        item.add_marker(pytest.mark.xdist_group("e2e" if whole else item.path.stem))


@pytest.fixture(scope="session")
def repeatable() -> None:
    """TensorFlow as the commands wake it: the same seed gives the same numbers."""
    from training.backend import wake

    wake(quiet=True)


@pytest.fixture(scope="session")
def drawn_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five lots of ten parts at 48 pixels, four of each ten with a defect; not to be written to."""
    from training.datasets.drawn import draw_dataset

    return draw_dataset(
        tmp_path_factory.mktemp("drawn") / "parts",
        seed=5,
        lots=5,
        parts_per_lot=10,
        size_hw=(48, 48),
    )
