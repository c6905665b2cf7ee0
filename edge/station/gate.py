"""Who is let in: the one place where a request becomes a person, or is refused.

A request is refused unless its path is open or a person stands behind it, so a page that forgets
to ask for a right is still closed to strangers.
"""

from __future__ import annotations

import secrets
from typing import Protocol

from fastapi import Request

from edge.station.users import User

OPEN = ("/login", "/health")
"""What a stranger may ask for, besides what lies under /static/."""

SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""


class Gate(Protocol):
    """Says who is asking."""

    @property
    def login(self) -> bool:
        """Whether people log in here."""

    def identify(self, request: Request) -> User | None:
        """The person behind a request, None for a stranger.

        Sets `request.state.csrf`, the token that a form must carry, and `request.state.by_token`,
        whether a program asks with a token of its own, which no browser adds by itself.

        Raises:
            FaultError: it cannot be found out.
        """


class Alone:
    """One person on this machine, without login: for loopback only.

    Args:
        name: as it stands in each review.
    """

    login = False

    def __init__(self, name: str) -> None:
        self._user = User(name, "engineer")
        self._csrf = secrets.token_urlsafe(32)

    def identify(self, request: Request) -> User | None:
        """Always that person."""
        request.state.csrf, request.state.by_token = self._csrf, False
        return self._user


def is_open(path: str) -> bool:
    """Whether a stranger may ask for this path."""
    return path in OPEN or path.startswith("/static/")
