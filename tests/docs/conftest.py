"""The prepared folder, made once; each document gets a copy of its own."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
from doc_home import prepare


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `doc_home` says; not to be written to."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("tensorflow is not installed")
    return prepare(tmp_path_factory.mktemp("prepared") / "home")


@pytest.fixture
def reader(prepared: Path, tmp_path: Path) -> Path:
    """The folder of one reader: a copy in which nothing has a path of the first one."""
    return Path(shutil.copytree(prepared, tmp_path / "home", symlinks=True))
