"""An address to listen on, and an HTTP application served from it by a thread of its own.

The pages and the doors of a line, and the station, all begin here: a port in use is found before
anything is announced, and whatever goes wrong in such a thread stays in it.
"""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING

from qc.errors import UsageError

if TYPE_CHECKING:
    from starlette.applications import Starlette

LOOPBACK = ("127.0.0.1", "localhost", "::1")

STOP_S = 3.0
"""How long `stop` waits for the server; then it is left behind, as a daemon thread."""

BACKLOG = 128
"""Connections that may wait to be taken."""


def bound(
    host: str,
    port: int,
    what: str,
    expected: str = "a free port on an address of this machine",
    backlog: int = BACKLOG,
) -> socket.socket:
    """A listening socket.

    Args:
        host: address to bind.
        port: TCP port; 0: any free one.
        what: who cannot listen there, as an error says it.
        expected: as an error says it.
        backlog: connections that may wait to be taken.

    Raises:
        UsageError: the address is in use or not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # with its protocol named, asyncio sends without waiting for more (TCP_NODELAY): else each
    # answer of two pieces takes 40 ms longer, for the other side is late to confirm the first
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(backlog)
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(
            f"{what} cannot listen there",
            where=f"{host}:{port}",
            expected=expected,
            found=error.strerror if isinstance(error, OSError) else error,
        ) from error
    return listener


def address(listener: socket.socket, host: str, scheme: str = "http") -> str:
    """`scheme://host:port/` of a listening socket."""
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{listener.getsockname()[1]}/"


class ServingThread:
    """Serves an application from a listening socket, which it owns, until it is stopped.

    Args:
        app: the application.
        listener: from `bound`.
        name: of the thread.
        connections: open at one time at the most; what comes beyond is answered with 503.
    """

    def __init__(
        self, app: Starlette, listener: socket.socket, *, name: str, connections: int
    ) -> None:
        import uvicorn

        self._listener = listener
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            limit_concurrency=connections,
            timeout_graceful_shutdown=1,
        )
        self._server: uvicorn.Server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def start(self) -> None:
        """Begin to serve; the socket listens already, so no request is refused meanwhile."""
        self._thread.start()

    def stop(self) -> None:
        """End within `STOP_S` seconds, whoever is served; stopping again changes nothing."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(STOP_S)
        self._listener.close()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the line must not end by it
            logging.getLogger(__name__).error("%s ended: %r", self._thread.name, error)
