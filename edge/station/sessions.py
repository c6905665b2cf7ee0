"""Sessions of people and tokens of programs: long random numbers, of which only hashes are kept."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from edge.station.people import TOKEN_MARK, People, checked_name, fold
from edge.station.refusal import SaidDataError, SaidUsageError
from edge.station.users import Role, User
from qc.journal_schema import stamp

IDLE = timedelta(minutes=30)
"""A session ends that was not used for so long."""

LONGEST = timedelta(hours=12)
"""A session ends after so long in any case: a shift."""

TOKEN_ROLES: tuple[Role, ...] = ("operator", "reviewer", "auditor")
"""What a token may be: none manages people."""

_TOUCH = timedelta(minutes=1)
"""A session's last use is written down this often at most."""


@dataclass(frozen=True, slots=True)
class Token:
    """A program's token, without the token itself.

    Args:
        n: its number.
        label: what it is for.
        role: what it may do.
        made_by: who made it.
        made_at: UTC.
        revoked: no longer valid.
    """

    n: int
    label: str
    role: Role
    made_by: str
    made_at: datetime
    revoked: bool


def csrf_of(secret: str) -> str:
    """The token of the forms of a session: it says nothing of the session's own."""
    return hmac.new(secret.encode(), b"the forms of this session", "sha256").hexdigest()


class Sessions:
    """Who is logged in, and which programs have a token.

    Args:
        people: whom they belong to.
    """

    def __init__(self, people: People) -> None:
        self._people = people
        self._file = people.file
        self._now: Callable[[], datetime] = people.now

    def begin(self, name: str, address: str) -> str:
        """Begin a session; the secret that the browser shall send.

        Args:
            name: of a person who gave the right password.
            address: whence.
        """
        secret = secrets.token_urlsafe(32)
        now = stamp(self._now())
        with self._file.connection(write=True) as connection:
            old = stamp(self._now() - LONGEST)
            connection.execute("DELETE FROM sessions WHERE made_at < ?", [old])
            row = [_digest(secret), fold(name), now, now, address]
            connection.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?)", row)
        return secret

    def user(self, secret: str) -> User | None:
        """Whose session it is; None where it ended, or the person may no longer log in."""
        now, digest = self._now(), _digest(secret)
        with self._file.connection() as connection:
            found = connection.execute(
                "SELECT s.made_at, s.seen_at, p.name, p.role, p.language, p.disabled "
                "FROM sessions s JOIN people p ON p.folded = s.folded WHERE s.hash = ?",
                [digest],
            ).fetchone()
        if found is None or found["disabled"]:
            return None
        made_at = datetime.fromisoformat(found["made_at"])
        seen_at = datetime.fromisoformat(found["seen_at"])
        if now - made_at >= LONGEST or now - seen_at >= IDLE:
            self.end(secret)
            return None
        if now - seen_at >= _TOUCH:
            with self._file.connection(write=True) as connection:
                change = "UPDATE sessions SET seen_at = ? WHERE hash = ?"
                connection.execute(change, [stamp(now), digest])
        return User(found["name"], found["role"], found["language"])

    def end(self, secret: str) -> None:
        """End a session; one that is over changes nothing."""
        with self._file.connection(write=True) as connection:
            connection.execute("DELETE FROM sessions WHERE hash = ?", [_digest(secret)])

    def make_token(self, label: str, role: str, *, by: str) -> str:
        """Make a token for a program; given back once, and never to be seen again.

        Args:
            label: what it is for; its reviews stand under it.
            role: one of `TOKEN_ROLES`.
            by: who makes it.

        Raises:
            UsageError: the label or the role cannot be.
            DataError: a valid token has this label.
        """
        label = checked_name(label)
        if role not in TOKEN_ROLES:
            known = ", ".join(TOKEN_ROLES)
            raise SaidUsageError("tokens.bad_role", found=role[:20], known=known)
        secret = f"qc_{secrets.token_urlsafe(32)}"
        with self._file.connection(write=True) as connection:
            same = "SELECT 1 FROM tokens WHERE label = ? AND revoked_at IS NULL"
            if connection.execute(same, [label]).fetchone() is not None:
                raise SaidDataError("tokens.there", where=self._file.path, name=label)
            connection.execute(
                "INSERT INTO tokens (hash, label, role, made_by, made_at) VALUES (?, ?, ?, ?, ?)",
                [_digest(secret), label, role, by, stamp(self._now())],
            )
            self._people.tell("token made", {"label": label, "role": role, "by": by})
        return secret

    def tokens(self) -> list[Token]:
        """All tokens, the newest first."""
        with self._file.connection() as connection:
            found = connection.execute("SELECT * FROM tokens ORDER BY n DESC").fetchall()
        return [
            Token(
                row["n"],
                row["label"],
                row["role"],
                row["made_by"],
                datetime.fromisoformat(row["made_at"]),
                row["revoked_at"] is not None,
            )
            for row in found
        ]

    def revoke_token(self, n: int, *, by: str) -> None:
        """End a token.

        Raises:
            DataError: there is no valid token of this number.
        """
        with self._file.connection(write=True) as connection:
            query = "SELECT label FROM tokens WHERE n = ? AND revoked_at IS NULL"
            found = connection.execute(query, [n]).fetchone()
            if found is None:
                raise SaidDataError("tokens.unknown", where=self._file.path, found=n)
            change = "UPDATE tokens SET revoked_at = ? WHERE n = ?"
            connection.execute(change, [stamp(self._now()), n])
            self._people.tell("token revoked", {"label": found["label"], "by": by})

    def program(self, secret: str) -> User | None:
        """The program that sends this token; None where there is no such token."""
        with self._file.connection() as connection:
            query = "SELECT label, role FROM tokens WHERE hash = ? AND revoked_at IS NULL"
            found = connection.execute(query, [_digest(secret)]).fetchone()
        return None if found is None else User(f"{found['label']}{TOKEN_MARK}", found["role"])


def _digest(secret: str) -> bytes:
    """A number of 256 random bits needs no slow hash; none is found by its time either."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()
