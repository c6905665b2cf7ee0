"""Another bundle takes over between two parts; the way back; and who may ask for it."""

from __future__ import annotations

import json
import socket
import stat
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from test_line_faults import Running
from toy_line import FirstPixel, Frames, accounted, facts, frame, picture, seal
from toy_sources import Bench, Camera, shot, waits

from edge.control import Control, ask, control_file
from edge.feed import Feed
from edge.line import Line
from qc.bundle import Bundle
from qc.errors import BundleError, FaultError, QCError, UsageError
from qc.journal import Journal, JournalWriter
from qc.types import Frame


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return seal(tmp_path / "toy.tflite")


@pytest.fixture
def other(tmp_path: Path) -> Bundle:
    """Another bundle: the good part has another name, so the scores of a row tell who judged."""
    classes = facts()["classes"]
    return seal(tmp_path / "other.tflite", classes=[{**classes[0], "name": "fine"}, *classes[1:]])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "line.journal"


class Paced:
    """A line that gets a part every few milliseconds until it is stopped."""

    def __init__(self, bundle: Bundle, path: Path, **more: object) -> None:
        self.path = path
        self.journal = JournalWriter(path, bundle.manifest, "toy 1.0", durability="normal")
        self.bench = Bench([self._next])
        more = {"make_predictor": lambda _: FirstPixel()} | more
        feed = Feed(self.bench.make(), self.bench.make)
        self.line = Line(bundle, FirstPixel(), [feed], self.journal, **more)  # type: ignore[arg-type]
        self.running = Running(self.line)
        self.running.until(lambda s: s.captured > 5)

    def _next(self, camera: Camera) -> Frame:
        camera.script.append(self._next)
        time.sleep(0.005)
        return shot()(camera)

    def __enter__(self) -> Paced:
        return self

    def __exit__(self, *error: object) -> None:
        report = self.running.stop(self.bench)
        assert accounted(report, self.path), "no part was lost"
        assert report.dropped == {} and report.captured == report.ok

    def more(self) -> None:
        """Wait for more parts."""
        captured = self.line.status().captured
        self.running.until(lambda s: s.captured > captured + 5)


def test_a_bundle_takes_over_without_a_gap_and_goes_back(
    bundle: Bundle, other: Bundle, path: Path
) -> None:
    """At 200 parts a second: no part lost, no part late by more than 500 ms, the way back too."""
    first, second = bundle.manifest.bundle_id, other.manifest.bundle_id
    with Paced(bundle, path) as paced:
        assert paced.line.swap(other.path) == second == paced.line.status().bundle_id
        paced.more()
        start = time.monotonic()
        assert paced.line.rollback() == first == paced.line.bundle.manifest.bundle_id
        assert time.monotonic() - start < 5
        paced.more()
        with pytest.raises(UsageError, match="no bundle to go back to"):
            paced.line.rollback()
    rows = Journal(path).rows(limit=100_000, newest_first=False)
    ids = [row.bundle_id for row in rows]
    changes = [i for i in range(1, len(ids)) if ids[i] != ids[i - 1]]
    assert [ids[0], *(ids[i] for i in changes)] == [first, second, first]
    assert {next(iter(r.scores or {})) for r in rows if r.bundle_id == second} == {"fine"}
    assert {next(iter(r.scores or {})) for r in rows if r.bundle_id == first} == {"good"}
    gaps = [(b.captured_at - a.captured_at).total_seconds() for a, b in pairwise(rows)]
    assert max(gaps) < 0.5 and max(r.timings_ms["total"] for r in rows) < 500
    changes = ("swap", "rollback")
    events = [(e.kind, e.detail) for e in Journal(path).events() if e.kind in changes]
    assert events == [
        ("swap", {"from": first, "to": second}),
        ("rollback", {"from": second, "to": first}),
    ]
    assert Journal(path).manifest(second).class_names[0] == "fine"


def test_the_gap_of_a_swap_is_short(bundle: Bundle, other: Bundle, path: Path) -> None:
    """Capture to verdict of every part, the histogram says: none took 500 ms."""
    with Paced(bundle, path) as paced:
        for _ in range(3):
            paced.line.swap(other.path)
            paced.line.rollback()
        status = paced.line.status()
    assert sum(status.latency_counts[8:]) == 0 and sum(status.latency_counts) > 5


def test_an_idle_line_takes_over_too(bundle: Bundle, other: Bundle, path: Path) -> None:
    bench = Bench([waits])
    journal = JournalWriter(path, bundle.manifest, "toy 1.0")
    line = Line(
        bundle, FirstPixel(), [Feed(bench.make(), bench.make)], journal,
        make_predictor=lambda _: FirstPixel(),
    )  # fmt: skip
    running = Running(line)
    assert bench.idle.wait(5)
    start = time.monotonic()
    line.swap(other.path)
    assert time.monotonic() - start < 1
    running.stop(bench)
    with pytest.raises(UsageError, match="does not run"):
        line.swap(other.path)


def test_a_bundle_that_is_refused_leaves_the_old_one_at_work(
    bundle: Bundle, other: Bundle, path: Path, tmp_path: Path
) -> None:
    class Wrong(FirstPixel):
        def __init__(self, _: Bundle) -> None:
            super().__init__(shift=0.02)

    broken = tmp_path / "broken.tflite"
    data = bytearray(other.path.read_bytes())
    data[20] ^= 1
    broken.write_bytes(data)
    with Paced(bundle, path, make_predictor=Wrong) as paced:
        with pytest.raises(BundleError, match="does not replay"):
            paced.line.swap(other.path)
        with pytest.raises(BundleError):
            paced.line.swap(broken)
        with pytest.raises(QCError, match=r"gone\.tflite"):
            paced.line.swap(tmp_path / "gone.tflite")
        paced.more()
        assert paced.line.status().bundle_id == bundle.manifest.bundle_id
    refused = [e.detail for e in Journal(path).events() if e.kind == "swap refused"]
    assert [Path(d["bundle"]).name for d in refused] == ["other.tflite", "broken.tflite",
                                                         "gone.tflite"]  # fmt: skip
    assert all(d["why"] for d in refused)
    assert {r.bundle_id for r in Journal(path).rows(limit=9999)} == {bundle.manifest.bundle_id}


def test_where_keys_are_trusted_a_bundle_must_be_signed(
    bundle: Bundle, other: Bundle, path: Path, tmp_path: Path
) -> None:
    signature = pytest.importorskip("qc.signature")
    pair = signature.new_key(tmp_path / "line")
    with Paced(bundle, path, trusted_keys=[pair.public]) as paced:
        with pytest.raises(BundleError, match="signed"):
            paced.line.swap(other.path)
        signature.sign_bundle(other.path, pair.private)
        assert paced.line.swap(other.path) == other.manifest.bundle_id


def test_the_predictor_of_a_new_bundle_is_made_beside_the_running_one(
    bundle: Bundle, other: Bundle, path: Path
) -> None:
    """While a slow replay goes on, the old one judges."""
    go_on, made = threading.Event(), threading.Event()

    def make(_: Bundle) -> FirstPixel:
        made.set()
        assert go_on.wait(10)
        return FirstPixel()

    with Paced(bundle, path, make_predictor=make) as paced:
        asking = threading.Thread(target=paced.line.swap, args=(other.path,))
        asking.start()
        assert made.wait(5)
        paced.more()
        assert paced.line.status().bundle_id == bundle.manifest.bundle_id
        go_on.set()
        asking.join(5)
        assert paced.line.status().bundle_id == other.manifest.bundle_id


# the socket


def test_a_line_is_told_by_its_socket(bundle: Bundle, other: Bundle, path: Path) -> None:
    with Paced(bundle, path) as paced, Control(paced.line, path):
        assert stat.S_IMODE(control_file(path).stat().st_mode) == 0o600
        first, second = bundle.manifest.bundle_id, other.manifest.bundle_id
        status = ask(path, "status")
        assert status["bundle_id"] == first and status["captured"] > 5
        assert status["sources"][0]["state"] == "running"
        assert ask(path, "swap", other.path) == {"bundle_id": second, "before": first}
        assert ask(path, "rollback") == {"bundle_id": first, "before": second}
        with pytest.raises(UsageError, match="no bundle to go back to"):
            ask(path, "rollback")
        with pytest.raises(BundleError, match="nowhere"):
            ask(path, "swap", Path("nowhere.tflite"))
    assert not control_file(path).exists()
    with pytest.raises(UsageError, match="no line writes this journal"):
        ask(path, "status")


@pytest.fixture
def quiet(bundle: Bundle, tmp_path: Path) -> Iterator[Path]:
    """The journal of a line that does nothing, at a path that no socket takes as it is."""
    path = tmp_path / ("long" * 20) / ("name" * 20) / "j"
    journal = JournalWriter(path, bundle.manifest, "toy 1.0")
    with Control(Line(bundle, FirstPixel(), Frames([]), journal), path):
        yield path
    journal.close()


@pytest.mark.parametrize(
    "said",
    [b"", b"\n", b"{", b"[]\n", b'{"do": "stop"}\n', b'{"do": "swap"}\n', b'{"do": {}}\n',
     b'{"do": "swap", "bundle": 3}\n', b"x" * 200_000 + b"\n", b"\xff\xfe\n"],
)  # fmt: skip
def test_what_is_not_understood_is_answered_with_an_error(
    quiet: Path, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(quiet.parent)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect("j.control")
        try:
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass  # it has heard enough
        answer = json.loads(connection.makefile("rb").readline())
    assert list(answer) == ["error"] and answer["error"]["kind"] == "usage"
    assert ask(quiet, "status")["captured"] == 0


def test_a_socket_of_a_line_that_was_killed_is_taken_over(bundle: Bundle, path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(control_file(path)))
    left.close()
    with pytest.raises(UsageError, match="no line"):
        ask(path, "status")
    journal = JournalWriter(path, bundle.manifest, "toy 1.0")
    line = Line(bundle, FirstPixel(), Frames([frame(1, picture())]), journal)
    with Control(line, path):
        assert ask(path, "status")["state"] == "running"
    journal.close()


def test_where_no_socket_can_be_it_is_said(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "line.journal"
    control_file(path).mkdir()
    journal = JournalWriter(path, bundle.manifest, "toy 1.0")
    with pytest.raises(FaultError, match="cannot listen"):
        Control(Line(bundle, FirstPixel(), Frames([]), journal), path)
    journal.close()
