"""What an examination finds: checks for a person, facts for a program."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["ok", "note", "warning", "wrong"]
"""A note is no fault; a warning lets a line run, not as well as it might; wrong is to be mended."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Args:
        check: what, in a word or two.
        state: how it is.
        found: what is there, in words.
        expected: what would have been right; "" where it is.
        fix: what to do about it, a command where there is one; "" where nothing is to be done.
    """

    check: str
    state: State
    found: str
    expected: str = ""
    fix: str = ""


@dataclass(slots=True)
class Examination:
    """Everything that was looked at, in order.

    Args:
        checks: for a person.
        facts: for a program, by name.
    """

    checks: list[Check] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(
        self, check: str, state: State, found: str, *, expected: str = "", fix: str = ""
    ) -> None:
        """Note one thing; where it is ok, nothing else is expected and nothing is to be done."""
        if state == "ok":
            expected = fix = ""
        self.checks.append(Check(check, state, found, expected, fix))

    def of(self, *states: State) -> list[Check]:
        """The checks that ended so."""
        return [check for check in self.checks if check.state in states]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.of("wrong")

    def as_json(self) -> dict[str, Any]:
        """The `--json` form."""
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks], **self.facts}
