"""Tells systemd how the line does, and beats for its watchdog; nothing where systemd does not ask.

The protocol is a datagram of words to the socket that `$NOTIFY_SOCKET` names (sd_notify(3)); a
library would bring no more than these lines.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"
BEAT = "WATCHDOG=1"


def notify(state: str) -> bool:
    """Tell the service manager; never raises and never waits.

    Args:
        state: `READY`, `STOPPING`, `BEAT` or another line of sd_notify(3), such as "STATUS=...".

    Returns:
        Whether it was sent; False where nobody asked to be told.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as telling:
            telling.setblocking(False)
            telling.sendto(state.encode(), address)
    except OSError:
        return False
    return True


def watchdog_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """Seconds after which the service manager restarts a process that does not beat.

    None where it does not watch this process.
    """
    period, process = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not period.isdecimal() or int(period) == 0 or process not in ("", str(os.getpid())):
        return None
    return int(period) / 1e6


class Heartbeat:
    """Beats at most twice a watchdog period, however often the main loop passes by.

    Call `beat` from the loop that must live, and from no other thread: a beat of a timer would say
    nothing of the loop. The loop must pass by even while no part comes.

    Attributes:
        every_s: the longest time between two calls that is safe; None: nobody watches.
    """

    def __init__(self) -> None:
        period = watchdog_s()
        self.every_s = None if period is None else period / 2
        self._next = 0.0

    def beat(self) -> None:
        """The loop is alive."""
        now = time.monotonic()
        if self.every_s is not None and now >= self._next:
            self._next = now + self.every_s / 2
            notify(BEAT)
