"""The line's own page while it runs: live pictures, counters, `/health` and `/metrics`.

It only reads: what it shows is `status()` and `latest()` of the line. It has a thread of its own,
draws a picture only while somebody watches, and whatever goes wrong in it stays in it.
"""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING, Protocol, Self

from edge.status import LineStatus
from qc.bundle import Bundle
from qc.errors import FaultError, UsageError
from qc.types import Inspection

if TYPE_CHECKING:
    import uvicorn

STOP_S = 3.0
"""How long `stop` waits for the server; then it is left behind, as a daemon thread."""

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
            import uvicorn

            from edge.live.app import create_app
        except ModuleNotFoundError as error:
            raise FaultError(
                "the page of the line needs the 'live' extra: pip install 'attention-qc[live]'",
                where="[health] of the line file",
                expected=error.name,
                found="not installed",
            ) from error
        self._socket = _bound(host, port)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}/"
        self._ending = threading.Event()
        local = host in ("127.0.0.1", "localhost", "::1")
        config = uvicorn.Config(
            create_app(line, self._ending, local_only=local),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=1,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._server: uvicorn.Server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="live", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to serve; the socket listens already, so no request is refused meanwhile."""
        self._thread.start()

    def stop(self) -> None:
        """End within `STOP_S` seconds, whoever watches; stopping again changes nothing."""
        self._ending.set()
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(STOP_S)
        self._socket.close()

    @property
    def is_alive(self) -> bool:
        """Whether the thread that serves runs."""
        return self._thread.is_alive()

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the line must not end by its page
            logging.getLogger(__name__).error("the page of the line ended: %r", error)


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket, so that a port in use is found before the line starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(MAX_CONNECTIONS)
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(
            "the page of the line cannot listen there",
            where=f"{host}:{port}",
            expected="a free port on an address of this machine (host and port of [health])",
            found=error.strerror if isinstance(error, OSError) else error,
        ) from error
    return listener
