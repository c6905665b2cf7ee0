"""Slows down who guesses passwords: by the name that is tried, and by the address it comes from.

A try is counted before the password is looked at, so that many at once are no way round. From
`FREE` wrong ones on each further one doubles the wait. Names that nobody has are counted alike.

Limit, said plainly: who tries a name often enough keeps its owner out for up to `LONGEST`. A new
password given on the terminal ends that at once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from edge.station.people import fold
from edge.station.peoplefile import PeopleFile
from qc.journal_schema import stamp

FREE = {"name": 5, "address": 50}
"""From the wrong try of this number on, each further one waits; many share one address."""

FIRST_S = 15.0
LONGEST = timedelta(minutes=15)
FORGOTTEN = {"name": timedelta(hours=12), "address": timedelta(hours=1)}
"""After so long without a wrong try a name or an address begins anew."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A try that is not looked at yet.

    Args:
        until: when the next is.
    """

    until: datetime


@dataclass(frozen=True, slots=True)
class Allowed:
    """A try that is looked at, and already counted as a wrong one.

    Args:
        locks: what its failure locks, "name" or "address" or both; journaled once for each.
    """

    locks: tuple[str, ...]


class Throttle:
    """Counts wrong tries in the file of the people, so that a restart forgets none.

    Args:
        file: of the people.
        now: the clock.
    """

    def __init__(self, file: PeopleFile, now: Callable[[], datetime]) -> None:
        self._file = file
        self._now = now

    def try_(self, name: str, address: str) -> Waiting | Allowed:
        """Count a try, or say that it comes too early.

        Raises:
            FaultError: it cannot be counted; then it may not be looked at.
        """
        now = self._now()
        locks = []
        with self._file.connection(write=True) as connection:
            for kind, after in FORGOTTEN.items():
                old = [f"{kind} %", stamp(now - after)]
                connection.execute("DELETE FROM failures WHERE who LIKE ? AND last_at < ?", old)
            counted = []
            for kind, who in _keys(name, address).items():
                query = "SELECT n, until FROM failures WHERE who = ?"
                n, until = connection.execute(query, [who]).fetchone() or (0, stamp(now))
                if (moment := datetime.fromisoformat(until)) > now:
                    return Waiting(moment)
                wait = _wait(n + 1 - FREE[kind])
                if wait:
                    locks.append(kind)
                counted.append([who, n + 1, stamp(now), stamp(now + wait)])
            connection.executemany("INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)", counted)
        return Allowed(tuple(locks))

    def succeeded(self, name: str, address: str) -> None:
        """The try was right: the name begins anew, and the address is given its try back."""
        keys = _keys(name, address)
        with self._file.connection(write=True) as connection:
            connection.execute("DELETE FROM failures WHERE who = ?", [keys["name"]])
            connection.execute(
                "UPDATE failures SET n = n - 1, until = last_at WHERE who = ?", [keys["address"]]
            )


def _wait(over: int) -> timedelta:
    if over < 0:
        return timedelta()
    return min(timedelta(seconds=FIRST_S * 2 ** min(over, 20)), LONGEST)


def _keys(name: str, address: str) -> dict[str, str]:
    """One IPv6 subscriber has a whole network of addresses: it counts as one."""
    try:
        number = ipaddress.ip_address(address)
        if number.version == 6:
            address = str(ipaddress.ip_network((number, 64), strict=False))
    except ValueError:
        pass  # no address of a network: counted under what it calls itself
    return {"name": f"name {fold(name)}", "address": f"address {address}"}
