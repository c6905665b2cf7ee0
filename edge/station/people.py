"""The people who may log in: names, roles, and passwords as argon2 hashes.

Passwords are hashed with argon2id as RFC 9106 advises for servers with little memory. A name that
does not exist costs the same hash, so that neither the answer nor its time tells who exists.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from edge.station.peoplefile import PeopleFile, people_file
from edge.station.refusal import SaidDataError, SaidUsageError
from edge.station.users import Role
from qc.errors import UsageError, nearest
from qc.journal import Journal
from qc.journal_schema import stamp
from qc.types import utc_now

MAX_NAME = 100
MIN_PASSWORD, MAX_PASSWORD = 10, 1000
LANGUAGES = ("en", "fr")
TOKEN_MARK = " (token)"
"""Ends the name under which a program's reviews stand, and no person's."""

_AT_ONCE = threading.Semaphore(2)
"""Hashes that are reckoned at a time: each takes 64 MiB."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may log in.

    Args:
        name: as it stands in each review.
        role: what the person may do.
        language: "en" or "fr"; None: what the browser asks for.
        disabled: may not log in any more; stays known, for reviews bear the name.
        made_at: UTC.
    """

    name: str
    role: Role
    language: Literal["en", "fr"] | None
    disabled: bool
    made_at: datetime


class People:
    """The people of one journal's station; every change of them is an event of the journal.

    Args:
        journal: whose station it is; the file of the people lies beside it.
        make: make that file where it is missing.
        hasher: of passwords.
        now: the clock.

    Raises:
        DataError: there is no journal, or no sound file of people.
        FaultError: it cannot be opened.
    """

    def __init__(
        self,
        journal: Path,
        *,
        make: bool = False,
        hasher: PasswordHasher | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.journal = Journal(journal)
        self.file = PeopleFile(people_file(journal), make=make)
        self.now = now
        self._hasher = hasher or PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._nobody = self._hasher.hash("nobody has this password")

    def list(self) -> list[Person]:
        """Everybody, by name."""
        with self.file.connection() as connection:
            found = connection.execute("SELECT * FROM people ORDER BY folded").fetchall()
        return [_person(row) for row in found]

    def get(self, name: str) -> Person:
        """One person.

        Raises:
            DataError: nobody has this name.
        """
        with self.file.connection() as connection:
            query = "SELECT * FROM people WHERE folded = ?"
            found = connection.execute(query, [fold(name)]).fetchone()
        if found is None:
            near = nearest(name, [person.name for person in self.list()])
            key = "people.nobody_near" if near else "people.nobody"
            raise SaidDataError(key, where=self.file.path, name=name, near=near)
        return _person(found)

    def add(
        self, name: str, role: str, password: str, *, language: str | None = None, by: str
    ) -> Person:
        """Add a person.

        Args:
            name: letters and single spaces; two names that differ in case alone are one.
            role: operator, reviewer, engineer or auditor.
            password: of `MIN_PASSWORD` characters or more.
            language: "en" or "fr"; None: what the browser asks for.
            by: who adds.

        Raises:
            UsageError: the name, role, language or password cannot be.
            DataError: somebody has this name.
        """
        name = checked_name(name)
        role = _role(role)
        if language is not None and language not in LANGUAGES:
            raise UsageError(
                f"there is no language '{language[:MAX_NAME]}'",
                expected=f"one of {', '.join(LANGUAGES)}",
            )
        digest = self._hash(password)
        row = [fold(name), name, digest, role, language, stamp(self.now())]
        with self.file.connection(write=True) as connection:
            known = "SELECT name FROM people WHERE folded = ?"
            if connection.execute(known, row[:1]).fetchone() is not None:
                raise SaidDataError("people.there", where=self.file.path, name=name)
            connection.execute("INSERT INTO people VALUES (?, ?, ?, ?, ?, 0, ?)", row)
            self.tell("person added", {"name": name, "role": role, "by": by})
        return self.get(name)

    def disable(self, name: str, *, disabled: bool = True, by: str) -> None:
        """End what a person may do, at once, or allow it again.

        Raises:
            DataError: nobody has this name.
        """
        person = self.get(name)
        with self.file.connection(write=True) as connection:
            change = "UPDATE people SET disabled = ? WHERE folded = ?"
            connection.execute(change, [int(disabled), fold(name)])
            connection.execute("DELETE FROM sessions WHERE folded = ?", [fold(name)])
            kind = "person disabled" if disabled else "person enabled"
            self.tell(kind, {"name": person.name, "by": by})

    def change_role(self, name: str, role: str, *, by: str) -> None:
        """Give a person another role; it holds at once.

        Raises:
            UsageError: there is no such role.
            DataError: nobody has this name.
        """
        person, role = self.get(name), _role(role)
        with self.file.connection(write=True) as connection:
            change = "UPDATE people SET role = ? WHERE folded = ?"
            connection.execute(change, [role, fold(name)])
            detail = {"name": person.name, "from": person.role, "to": role, "by": by}
            self.tell("role changed", detail)

    def change_password(self, name: str, password: str, *, by: str) -> None:
        """Give a person another password; sessions end, and a lock-out of the name with them.

        Raises:
            UsageError: the password cannot be.
            DataError: nobody has this name.
        """
        person, digest = self.get(name), self._hash(password)
        with self.file.connection(write=True) as connection:
            change = "UPDATE people SET hash = ? WHERE folded = ?"
            connection.execute(change, [digest, fold(name)])
            connection.execute("DELETE FROM sessions WHERE folded = ?", [fold(name)])
            connection.execute("DELETE FROM failures WHERE who = ?", [f"name {fold(name)}"])
            self.tell("password changed", {"name": person.name, "by": by})

    def check(self, name: str, password: str) -> Person | None:
        """Whom a name and a password belong to; None for a wrong pair, or a disabled person.

        It takes as long where nobody has the name.
        """
        with self.file.connection() as connection:
            query = "SELECT * FROM people WHERE folded = ?"
            found = connection.execute(query, [fold(name)]).fetchone()
        digest = self._nobody if found is None else str(found["hash"])
        try:
            with _AT_ONCE:
                self._hasher.verify(digest, _as_typed(password)[:MAX_PASSWORD])
        except (VerificationError, InvalidHashError):
            return None
        return None if found is None or found["disabled"] else _person(found)

    def tell(self, kind: str, detail: Mapping[str, Any]) -> None:
        """Journal what happened; where it cannot be journaled, it does not happen.

        Raises:
            FaultError: the journal cannot be written.
        """
        self.journal.add_event(kind, detail)

    def _hash(self, password: str) -> str:
        password = _as_typed(password)
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise SaidUsageError(
                "people.bad_password",
                least=MIN_PASSWORD,
                most=MAX_PASSWORD,
                found=len(password),
            )
        with _AT_ONCE:
            return self._hasher.hash(password)


def fold(name: str) -> str:
    """A name as it is looked up: case and kinds of letters do not tell two people apart."""
    return unicodedata.normalize("NFKC", " ".join(name.split())).casefold()


def checked_name(name: str) -> str:
    """A name as it is kept.

    Raises:
        UsageError: it is empty, too long, or holds what no name holds.
    """
    name = unicodedata.normalize("NFC", " ".join(name.split()))
    if not name or len(name) > MAX_NAME or not name.isprintable() or name.endswith(TOKEN_MARK):
        shown = repr(name[: MAX_NAME + 1])
        raise SaidUsageError("people.bad_name", most=MAX_NAME, mark=TOKEN_MARK, found=shown)
    return name


def _as_typed(password: str) -> str:
    """The same characters, however a keyboard composes them."""
    return unicodedata.normalize("NFC", password.encode("utf-8", "replace").decode("utf-8"))


def _role(found: str) -> Any:
    known = get_args(Role)
    if found in known:
        return found
    near = nearest(found, known)
    key = "people.no_role_near" if near else "people.no_role"
    raise SaidUsageError(key, found=found[:MAX_NAME], near=near, known=", ".join(known))


def _person(found: Any) -> Person:
    return Person(
        found["name"],
        found["role"],
        found["language"],
        bool(found["disabled"]),
        datetime.fromisoformat(found["made_at"]),
    )
