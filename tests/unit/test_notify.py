"""The words to systemd arrive at its socket, and the heart beats only where it is listened to."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.notify import BEAT, READY, Heartbeat, notify, watchdog_s


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@qc-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        listener.settimeout(1)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listener


def test_word_arrives(manager: socket.socket) -> None:
    assert notify(READY)
    assert manager.recv(100) == b"READY=1"


def test_nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify(READY)
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at-all")
    assert not notify(READY)


def test_beats_as_often_as_needed_and_no_more(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    clock = [100.0]
    monkeypatch.setattr("edge.notify.time.monotonic", lambda: clock[0])
    heart = Heartbeat()
    assert heart.every_s == 0.2
    for moment in (100.0, 100.05, 100.15, 100.2):  # due: at once, and 0.1 s after the last
        clock[0] = moment
        heart.beat()
    manager.setblocking(False)
    assert manager.recv(100) == manager.recv(100) == BEAT.encode()
    with pytest.raises(BlockingIOError):
        manager.recv(100)


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("20000000", "", 20.0),
        ("20000000", "1", None),  # meant for another process
        ("", "", None),
        ("0", "", None),
        ("soon", "", None),
    ],
)
def test_watchdog_period(usec: str, pid: str, seconds: float | None) -> None:
    assert watchdog_s({"WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}) == seconds
