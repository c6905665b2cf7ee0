"""A station that people log in to, with a clock to set and quick hashes, for its tests."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from starlette.testclient import TestClient
from unit.station_journal import SAME

from edge.station.app import create_app
from edge.station.people import People

PASSWORD = "correct horse battery"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ROLES = {"Olga": "operator", "Rita": "reviewer", "Emil": "engineer", "Anna": "auditor"}


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = datetime(2025, 3, 4, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **time: float) -> None:
        self.now += timedelta(**time)


def make_people(journal: Path, clock: Clock) -> People:
    """One person of each role, all with the same password."""
    people = People(journal, make=True, hasher=QUICK, now=clock)
    for name, role in ROLES.items():
        people.add(name, role, PASSWORD, by="test")
    return people


class Browser(TestClient):
    """A browser of one person; its forms carry what the page gave."""

    def csrf(self, path: str) -> str:
        found = re.search(r'name="csrf" value="([^"]*)"', self.get(path).text)
        assert found, path
        return found.group(1)

    def submit(self, path: str, page: str | None = None, **fields: Any) -> Any:
        """Post a form of `page` to `path`."""
        fields = {"csrf": self.csrf(page or path)} | fields
        return self.post(path, data=fields, headers=SAME)

    def log_in(self, name: str, password: str = PASSWORD, **more: str) -> Any:
        return self.submit("/login", name=name, password=password, **more)


def browser(people: People, *, tls: bool = False, **options: Any) -> Browser:
    app = create_app(people.journal.path, people=people, **options)
    base = "https://testserver" if tls else "http://testserver"
    return Browser(app, base_url=base, follow_redirects=False)
