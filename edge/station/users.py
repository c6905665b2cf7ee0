"""Who is asking: the person behind a request, and what that person may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fastapi import Request

from edge.station.refusal import Refused

Role = Literal["operator", "reviewer", "engineer", "auditor"]

Right = Literal["look", "review", "export", "manage"]

RIGHTS: dict[Role, frozenset[Right]] = {
    "operator": frozenset({"look"}),
    "reviewer": frozenset({"look", "review"}),
    "engineer": frozenset({"look", "review", "export", "manage"}),
    "auditor": frozenset({"look", "export"}),
}
"""look: parts, charts and the trail; review: decide; export: data sets and tables; manage: people,
tokens and settings. An auditor sees everything and changes nothing."""


@dataclass(frozen=True, slots=True)
class User:
    """A person who is logged in, or the one that a station without login serves.

    Args:
        name: as it stands in each review.
        role: what the person may do.
        language: "en" or "fr"; None: what the browser asks for.
    """

    name: str
    role: Role
    language: Literal["en", "fr"] | None = None

    def may(self, right: Right) -> bool:
        """Whether the role has this right."""
        return right in RIGHTS[self.role]


def user_of(request: Request) -> User:
    """The person behind a request, put there by the login; refuses (401) where there is none."""
    user = getattr(request.state, "user", None)
    if not isinstance(user, User):
        raise Refused(401, "refused.login")
    return user


def require(right: Right) -> Callable[[Request], User]:
    """A dependency of a route: the person, or a refusal (403) where the role lacks this right."""

    def check(request: Request) -> User:
        user = user_of(request)
        if not user.may(right):
            raise Refused(403, "refused.role", role=user.role)
        return user

    return check
