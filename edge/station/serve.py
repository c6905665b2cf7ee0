"""`qc review`: run the station on this machine until it is stopped."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import uvicorn

from edge.occlusion import Occluder
from edge.station.app import create_app
from qc.errors import UsageError

_LOOPBACK = ("127.0.0.1", "localhost")


def serve(
    journal: Path,
    host: str,
    port: int,
    reviewer: str | None,
    verbose: bool,
    occluder: Occluder | None = None,
    research: bool = False,
) -> None:
    """Serve the station; returns when it is stopped with Ctrl-C or a signal.

    Args:
        journal: the journal file.
        host: address to bind; 127.0.0.1 = this machine only.
        port: TCP port; 0 = any free one.
        reviewer: the name the form starts with.
        verbose: log every request to stderr.
        occluder: draws occlusion maps on request, for parts that its bundle judged.
        research: not for diagnostic use: said everywhere, and no part is named but by its hash.

    Raises:
        DataError: there is no journal at that path.
        UsageError: the address is in use or not an address of this machine.
    """
    local = host in _LOOPBACK
    hosts = _LOOPBACK if local else ()
    app = create_app(journal, reviewer, hosts=hosts, occluder=occluder, research=research)
    with _bound(host, port) as listener:
        url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"
        reach = (
            "this machine only"
            if local
            else "everybody who can reach this address can read pictures and write reviews"
        )
        sys.stderr.write(f"Review station on {url} (no login in v1; {reach})\n")
        sys.stderr.flush()
        config = uvicorn.Config(
            app, log_level="info" if verbose else "warning", server_header=False, lifespan="off"
        )
        try:
            uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:
            return  # Ctrl-C is how a person stops it; uvicorn has already shut down


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket, so that a port in use is found before anything is announced."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            "the station cannot listen there",
            where=f"{host}:{port}",
            expected="a free port on an address of this machine (see --port and --host)",
            found=reason,
        ) from error
    return listener
