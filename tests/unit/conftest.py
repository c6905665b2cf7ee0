"""The station with people who log in: one journal for a file of tests, a copy for each test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from station_people import Clock

    from edge.station.people import People


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of four parts with its people; not to be written to."""
    from station_journal import write_four
    from station_people import Clock, make_people

    path = write_four(tmp_path_factory.mktemp("written"))
    make_people(path, Clock())
    return path


@pytest.fixture
def clock() -> Clock:
    """The time that the people are told."""
    from station_people import Clock

    return Clock()


@pytest.fixture
def people(written: Path, tmp_path: Path, clock: Clock) -> People:
    """The people of a copy of the journal."""
    from station_journal import copy_of
    from station_people import QUICK

    from edge.station.people import People

    return People(copy_of(written, tmp_path), hasher=QUICK, now=clock)
