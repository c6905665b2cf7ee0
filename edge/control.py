"""How another process talks to a running line: a socket beside the journal, one JSON line each way.

Only the user who runs the line can open it (mode 0600). What comes in is JSON of at most 64 kB, and
can do no more than the requests that stand here.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from edge.status import LineStatus
from qc.errors import (
    BundleError,
    DataError,
    FaultError,
    GateError,
    QCError,
    RecipeError,
    UsageError,
)

MAX_BYTES = 65536
ASKED_S = 5.0
"""How long a client may take to say what it wants."""

ANSWER_S = 120.0
"""How long a client waits for the answer: a swap replays a whole bundle."""

_MAX_PATH = 100
"""Bytes of a socket's path that every system takes."""

Request = Literal["status", "swap", "rollback"]


class Controlled(Protocol):
    """A line, as far as it is told what to do; every method may be called from any thread."""

    def status(self) -> LineStatus:
        """The account at this moment."""
        ...

    def swap(self, path: Path) -> str:
        """Take over another bundle."""
        ...

    def rollback(self) -> str:
        """Go back to the bundle before."""
        ...


def control_file(journal: Path) -> Path:
    """Where the socket of the line that writes this journal is."""
    return journal.with_name(journal.name + ".control")


class _Handler(socketserver.StreamRequestHandler):
    timeout = ASKED_S
    server: _Server

    def handle(self) -> None:
        try:
            answer = {"ok": _do(self.server.line, self.rfile.readline(MAX_BYTES))}
        except QCError as error:
            answer = dict(error.as_json())
        except OSError:
            return  # the client went away or said nothing
        except Exception as error:  # noqa: BLE001 - the client is told, and the line goes on
            answer = dict(FaultError(f"{type(error).__name__}: {error}").as_json())
        with suppress(OSError):
            self.connection.settimeout(ASKED_S)
            self.wfile.write(json.dumps(answer, default=str).encode() + b"\n")


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path: Path, line: Controlled) -> None:
        self.line = line
        with _short(path) as address:
            super().__init__(address, _Handler)

    def server_bind(self) -> None:
        os.fchmod(self.socket.fileno(), 0o600)  # before there is a name to open it by
        super().server_bind()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off is nobody's concern."""


class Control:
    """Answers requests for a line from threads of its own; a context manager.

    Args:
        line: what is asked.
        journal: whose line it is; only the writer of a journal may make this.

    Raises:
        FaultError: there cannot be a socket beside this journal.
    """

    def __init__(self, line: Controlled, journal: Path) -> None:
        self.path = control_file(journal)
        if not hasattr(socket, "AF_UNIX"):
            raise FaultError("this system has no local sockets", where=self.path)
        try:
            self.path.unlink(missing_ok=True)  # of a line that was killed
            self._server = _Server(self.path, line)
        except OSError as error:
            raise FaultError("the line cannot listen", where=self.path, found=error) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="control", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def ask(journal: Path, request: Request, bundle: Path | None = None) -> dict[str, Any]:
    """Ask the line that writes a journal.

    Args:
        journal: of the line.
        request: "status", "swap" or "rollback".
        bundle: that is to be taken over.

    Raises:
        UsageError: no line writes this journal.
        FaultError: it does not answer.
        QCError: what the line refuses.
    """
    path = control_file(journal)
    asked = {"do": request} | ({} if bundle is None else {"bundle": str(bundle.absolute())})
    try:
        with _short(path) as address, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(address)
            connection.sendall(json.dumps(asked).encode() + b"\n")
            with connection.makefile("rb") as answers:
                answer = json.loads(answers.readline())
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise UsageError(
            "no line writes this journal", where=journal, expected="`qc run` at work", found="none"
        ) from error
    except (OSError, ValueError) as error:
        raise FaultError("the line does not answer", where=path, found=error) from error
    if "ok" not in answer:
        raise _as_error(answer.get("error", {}))
    found: dict[str, Any] = answer["ok"]
    return found


def _do(line: Controlled, asked: bytes) -> dict[str, Any]:
    try:
        request = json.loads(asked)
        what = request["do"]
        bundle = Path(request["bundle"]) if what == "swap" else None
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError("the request is not understood", expected="JSON", found=error) from error
    if what == "status":
        return asdict(line.status())
    before = line.status().bundle_id
    if bundle is not None:
        return {"bundle_id": line.swap(bundle), "before": before}
    if what == "rollback":
        return {"bundle_id": line.rollback(), "before": before}
    raise UsageError("unknown request", expected="status, swap or rollback", found=what)


def _as_error(told: dict[str, str]) -> QCError:
    kinds = (UsageError, RecipeError, DataError, BundleError, GateError, FaultError)
    kind = {k.kind: k for k in kinds}.get(told.get("kind", ""), FaultError)
    return kind(told.get("message", "the line gave no reason"), where=told.get("where"))


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """The path as a socket takes it: a long one goes by a descriptor of its folder (Linux)."""
    if len(os.fsencode(path)) <= _MAX_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
