"""`qc review`: run the station on this machine until it is stopped."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from edge.comparing import Comparer
from edge.listening import LOOPBACK, address, bound
from edge.occlusion import Occluder
from edge.station.app import create_app
from edge.station.tls import fingerprint, own_certificate
from qc.console import load
from qc.errors import DataError, UsageError
from qc.journal import Journal

if TYPE_CHECKING:  # it needs urllib3, which is another extra
    from edge.station.webhook import Webhook

_EXPECTED = "a free port on an address of this machine (see --port and --host)"


def serve(
    journal: Path,
    host: str,
    port: int,
    reviewer: str | None,
    verbose: bool,
    occluder: Occluder | None = None,
    *,
    certificate: tuple[Path | None, Path | None] = (None, None),
    second: float = 0.0,
    research: bool = False,
    comparer: Comparer | None = None,
    webhook: Webhook | None = None,
) -> None:
    """Serve the station; returns when it is stopped with Ctrl-C or a signal.

    Args:
        journal: the journal file.
        host: address to bind; 127.0.0.1 = this machine only. Beyond it the station speaks TLS.
        port: TCP port; 0 = any free one.
        reviewer: one person alone on this machine, without login; None: people log in.
        verbose: log every request to stderr.
        occluder: draws occlusion maps on request, for parts that its bundle judged.
        certificate: files of a certificate and its key; both or neither.
        second: share of the reviewed parts that another person looks at blind.
        research: not for diagnostic use: said everywhere, and no part is named but by its hash.
        comparer: judges pictures with two bundles, for the page that compares them.
        webhook: is told of each decision.

    Raises:
        DataError: there is no journal at that path, or what belongs to it is not sound.
        UsageError: the address is in use or not an address of this machine, nobody may log in, or
            `reviewer` beyond this machine.
    """
    local = host in LOOPBACK
    if reviewer is not None and not local:
        raise UsageError(
            "one person alone, without login, is for this machine only",
            where=f"--host {host}",
            expected="people who log in (see qc people), or --host 127.0.0.1",
            found="--reviewer",
        )
    cert, key = certificate
    if (cert is None) != (key is None):
        raise UsageError("a certificate and its key belong together", expected="--cert and --key")
    for file in filter(None, certificate):
        if not file.is_file():
            raise DataError("there is no such file", where=file, expected="a file in PEM form")
    people = None
    if reviewer is None:
        people = load("station", "edge.station.people_commands:people_of")(journal)
    app = create_app(
        journal,
        reviewer,
        people=people,
        hosts=LOOPBACK if reviewer is not None else (),
        occluder=occluder,
        second=second,
        research=research,
        comparer=comparer,
        webhook=webhook,
    )
    with bound(host, port, "the station", _EXPECTED) as listener:
        if cert is None and not local:
            cert, key = own_certificate(journal, host)
        secure = "https" if cert else "http"
        config = uvicorn.Config(
            app,
            log_level="info" if verbose else "warning",
            server_header=False,
            lifespan="off",
            ssl_certfile=cert,
            ssl_keyfile=key,
        )
        try:
            config.load()
        except (OSError, ValueError) as error:
            raise DataError(
                "the certificate and the key do not belong together", where=cert, found=error
            ) from error
        who = "people log in" if people else f"{reviewer} alone on this machine, without login"
        sys.stderr.write(f"Review station on {address(listener, host, secure)} ({who})\n")
        if cert is not None:
            sys.stderr.write(f"Certificate {cert}, SHA-256 {fingerprint(cert)}\n")
        sys.stderr.flush()
        if webhook is not None:
            webhook.start()
        try:
            with Journal(journal).held_open():
                uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:
            return  # Ctrl-C is how a person stops it; uvicorn has already shut down
        finally:
            if webhook is not None:
                webhook.stop()
