"""Types commands as a reader does: one after another in a folder; servers stay up meanwhile.

Each command is a shell of its own; folder and exported variables go on from one to the next. A
server (`qc review`, and `qc run` of a line without an end) is awaited until its page, or the line
itself, answers; it is stopped by SIGTERM where another of its kind is started, and at the end, and
must then end well.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from doc_blocks import Typed, named_in
from doc_parser import simple_commands

from qc.errors import QCError
from qc.linefile import SourceTable, read_line

ROOT = Path(__file__).parents[2]

_NOT_HANDED_ON = ("QC_", "TF_", "NO_ALBUMENTATIONS", "PYTEST")
_URL = re.compile(r"https?://[\w.-]+:\d+")
_PATIENCE_S = 600.0
_STOP_S = 60.0
_AGAIN_S = 3.0
_TAIL = 40


@dataclass
class _Server:
    verb: str
    typed: Typed
    process: subprocess.Popen[bytes]
    log: Path


class Shell:
    """A reader's terminals in one folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._state = home / ".state"
        self._state.mkdir()
        self._environment = environment(home)
        self._servers: list[_Server] = []
        self._count = 0

    def type(self, typed: Typed) -> str | None:
        """Run a command; what went wrong, or None."""
        verb, line = _serves(typed.text)
        if verb is not None:
            return self._serve(verb, line, typed)
        log = self._log()
        with log.open("wb") as out:
            try:
                code = subprocess.run(
                    self._bash(typed.text),
                    env=self._environment,
                    cwd=self.home,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    timeout=_PATIENCE_S,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                return _said(typed, f"did not end within {_PATIENCE_S:.0f} s", log)
        if code != 0:
            return _said(typed, f"exit code {code}", log)
        return self._shown(typed, log)

    def close(self) -> list[str]:
        """Stop every server; what went wrong."""
        found = [self._stop(server) for server in self._servers]
        self._servers = []
        return [why for why in found if why is not None]

    def _bash(self, text: str) -> list[str]:
        state, place = self._state / "exports", self._state / "place"
        before = f'[ -f {state} ] && . {state}; [ -f {place} ] && cd "$(cat {place})"\n'
        after = f"trap 'code=$?; export -p >{state}; pwd >{place}; exit $code' EXIT\n"
        return ["bash", "-o", "pipefail", "-c", before + after + text]

    def _log(self) -> Path:
        self._count += 1
        return self._state / f"{self._count:03d}.log"

    def _shown(self, typed: Typed, log: Path) -> str | None:
        """What a document shows of the output must name what is there."""
        said = log.read_text(errors="replace")
        for name in named_in(typed.output):
            if name not in said and not any(self.home.rglob(name)):
                return _said(typed, f"the output that is shown names {name}", log)
        return None

    def _serve(self, verb: str, line: Path | None, typed: Typed) -> str | None:
        for server in [s for s in self._servers if s.verb == verb]:
            self._servers.remove(server)
            why = self._stop(server)
            if why is not None:
                return why
        patience = time.monotonic() + _PATIENCE_S
        while True:
            log = self._log()
            why = self._start(verb, line, typed, log)
            # another test may have the port for a while
            taken = why is not None and "already in use" in log.read_text(errors="replace")
            if not taken or time.monotonic() > patience:
                return why
            time.sleep(_AGAIN_S)

    def _start(self, verb: str, line: Path | None, typed: Typed, log: Path) -> str | None:
        # the shell outlives the signal, so that its exit code is that of the server
        command = self._bash(f"trap : TERM\n{typed.text}\nexit $?")
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                env=self._environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server = _Server(verb, typed, process, log)
        self._servers.append(server)
        ends = line is not None and _ends(self._place() / line)
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            if process.poll() is not None:
                self._servers.remove(server)
                if process.returncode != 0:
                    return _said(typed, f"exit code {process.returncode}", log)
                return self._shown(typed, log)
            if not ends and self._answers(log, line):
                return self._shown(typed, log)
            time.sleep(0.3)
        return _said(typed, f"neither ended nor answered within {_PATIENCE_S:.0f} s", log)

    def _place(self) -> Path:
        place = self._state / "place"
        return Path(place.read_text().strip()) if place.exists() else self.home

    def _answers(self, log: Path, line: Path | None) -> bool:
        found = _URL.search(log.read_text(errors="replace"))
        if found is not None:
            return _page(found[0])
        if line is None:
            return False
        asked = subprocess.run(
            [sys.executable, "-m", "qc.cli", "line", "status", str(line)],
            env=self._environment,
            cwd=self._place(),
            capture_output=True,
            check=False,
        )
        return asked.returncode == 0

    def _stop(self, server: _Server) -> str | None:
        if server.process.poll() is None:
            os.killpg(server.process.pid, signal.SIGTERM)
        try:
            code = server.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(server.process.pid, signal.SIGKILL)
            return _said(server.typed, f"did not end {_STOP_S:.0f} s after SIGTERM", server.log)
        # uvicorn puts its house in order, and then ends by the signal that it was sent
        well = (0, 128 + signal.SIGTERM) if server.verb == "review" else (0,)
        return None if code in well else _said(server.typed, f"stopped with {code}", server.log)


def environment(home: Path) -> dict[str, str]:
    """The variables of the terminal: the folder's own `qc` and `python` come first."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_HANDED_ON)}
    return kept | {
        "HOME": str(home),
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "GIT_DIR": os.devnull,  # a bundle names the commit it was made by
        "BASH_ENV": "",
    }


def _serves(text: str) -> tuple[str | None, Path | None]:
    """The verb of a command that serves, and the line file of `qc run`."""
    for words in simple_commands(text):
        if words[0].rsplit("/", 1)[-1] == "qc" and words[1:2] in (["review"], ["run"]):
            files = [Path(w) for w in words[2:] if not w.startswith("-")]
            if "--help" not in words:
                return words[1], files[0] if words[1] == "run" and files else None
    return None, None


def _ends(line: Path) -> bool:
    """Whether a line comes to an end by itself; one that cannot be read does at once."""
    try:
        return all(_source_ends(s) for s in read_line(line).source)
    except QCError:
        return True


def _source_ends(source: SourceTable) -> bool:
    told = source.arguments
    return {
        "folder": not told.get("watch"),
        "video": not told.get("loop"),
        "synthetic": told.get("count") is not None,
    }.get(source.kind, False)


def _page(url: str) -> bool:
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, timeout=5, context=trust) as answer:
            return bool(answer.status < 400)
    except urllib.error.HTTPError as error:
        return error.code == 401  # the login of the station
    except (urllib.error.URLError, OSError):
        return False


def _said(typed: Typed, what: str, log: Path) -> str:
    tail = log.read_text(errors="replace").splitlines()[-_TAIL:]
    shown = "\n".join(f"    {line}" for line in tail) or "    (no output)"
    return f"{typed.where}: {what}\n  $ {typed.text}\n{shown}"


def shim(file: Path, *words: str) -> None:
    """A command of a folder that runs another one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    file.chmod(0o755)
