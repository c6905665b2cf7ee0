"""The line's own page while it runs: live pictures, counters, `/health` and `/metrics`.

It only reads: what it shows is `status()` and `latest()` of the line. It has a thread of its own,
draws a picture only while somebody watches, and whatever goes wrong in it stays in it.
"""

from __future__ import annotations

import logging
import threading
from typing import Protocol, Self

from edge.listening import LOOPBACK, ServingThread, address, bound
from edge.status import LineStatus
from qc.bundle import Bundle
from qc.errors import FaultError
from qc.types import Inspection

MAX_CONNECTIONS = 64


class Watched(Protocol):
    """A line, as far as it is looked at; every member may be used from any thread."""

    @property
    def bundle(self) -> Bundle:
        """The bundle that judges now."""
        ...

    def status(self) -> LineStatus:
        """The account of the line at this moment."""
        ...

    def latest(self, source_id: str) -> Inspection | None:
        """The last inspection of a source, with its image; None before the first."""
        ...


class LiveServer:
    """Serves the page of one line from a thread of its own; a context manager.

    Args:
        line: what is shown; only read.
        host: address to bind; beyond loopback only on a network you trust: there is no login.
        port: TCP port; 0: any free one.

    Attributes:
        url: where the page is.

    Raises:
        FaultError: the extra `live` is not installed.
        UsageError: the address is in use or not an address of this machine.
    """

    def __init__(self, line: Watched, host: str = "127.0.0.1", port: int = 8400) -> None:
        try:
            import uvicorn  # noqa: F401 - what is missing is told before an address is taken

            from edge.live.app import create_app
        except ModuleNotFoundError as error:
            raise FaultError(
                "the page of the line needs the 'live' extra: pip install 'attention-qc[live]'",
                where="[health] of the line file",
                expected=error.name,
                found="not installed",
            ) from error
        self._socket = bound(
            host,
            port,
            "the page of the line",
            "a free port on an address of this machine (host and port of [health])",
            MAX_CONNECTIONS,
        )
        self.url = address(self._socket, host)
        self._ending = threading.Event()
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        app = create_app(line, self._ending, local_only=host in LOOPBACK)
        self._thread = ServingThread(app, self._socket, name="live", connections=MAX_CONNECTIONS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to serve; the socket listens already, so no request is refused meanwhile."""
        self._thread.start()

    def stop(self) -> None:
        """End within `edge.listening.STOP_S` seconds, whoever watches; again: nothing changes."""
        self._ending.set()
        self._thread.stop()

    @property
    def is_alive(self) -> bool:
        """Whether the thread that serves runs."""
        return self._thread.is_alive
