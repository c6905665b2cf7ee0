"""The journal keeps that a line started, with what, that it stopped, why, and its account."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from toy_line import FirstPixel, Frames, frame, inspection, picture, seal, wait_until
from typer.testing import CliRunner

from edge.control import ask
from edge.line import STOPPED, Line
from edge.line_commands import run_line, status
from qc.cli import app
from qc.console import Command
from qc.errors import FaultError, UsageError
from qc.journal import Journal, JournalWriter
from qc.journal_schema import stamp
from qc.journal_verify import verify_journal

PACED = '[source]\nkind = "synthetic"\nrate_hz = 200\nsize_hw = [8, 8]\n'


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A line file; the toy predictor takes the place of LiteRT's."""
    monkeypatch.setattr("edge.line_commands.LiteRTPredictor", lambda bundle: FirstPixel())
    seal(tmp_path / "toy.tflite")
    path = tmp_path / "line.toml"
    path.write_text(f'bundle = "toy.tflite"\njournal = "line.journal"\n{PACED}count = 3\n')
    return path


def events(path: Path) -> list[tuple[str, dict[str, Any]]]:
    return [(e.kind, e.detail) for e in Journal(path).events() if e.kind in ("start", "stop")]


def holds(detail: dict[str, Any]) -> bool:
    parts = sum(detail[name] for name in ("ok", "ng", "review", "fault", "in_flight"))
    return bool(detail["captured"] == parts + sum(detail["dropped"].values()))


def test_a_start_says_with_what_and_a_stop_what_became_of_the_parts(file: Path) -> None:
    bundle = seal(file.parent / "toy.tflite")
    path = file.with_name("line.journal")
    run_line(Command(False, False), file)
    (start, began), (stop, ended) = events(path)
    assert (start, stop) == ("start", "stop")
    assert began == {
        "bundle_id": bundle.manifest.bundle_id,
        "runtime": "toy 1.0",
        "version": version("attention-qc"),
        "line_file": "line.toml",
        "line_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "before": "none",
        "before_at": None,
    }
    assert ended["reason"] == "the sources ended" and holds(ended)
    counts = Journal(path).counts()
    assert counts["captured"] == 3 and {k: ended[k] for k in counts if k != "dropped"} == {
        k: n for k, n in counts.items() if k != "dropped"
    }
    run_line(Command(False, False), file)
    again = events(path)[2][1]
    (first, _) = Journal(path).events("stop")
    assert again["before"] == "stopped" and again["before_at"] == stamp(first.at)


def test_a_signal_is_named(file: Path) -> None:
    file.write_text(file.read_text().replace("count = 3", "count = 2000"))
    path = file.with_name("line.journal")

    def end() -> None:
        wait_until(lambda: _runs(path), 20)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=end)
    thread.start()
    report = run_line(Command(False, False), file)
    thread.join(20)
    ended = events(path)[-1][1]
    assert ended["reason"] == "SIGTERM" and holds(ended)
    assert ended["captured"] == report["captured"] == Journal(path).counts()["captured"]


def test_what_broke_the_line_is_its_reason(tmp_path: Path) -> None:
    bundle, path = seal(tmp_path / "toy.tflite"), tmp_path / "j"

    def breaking() -> Any:
        yield frame(0, picture())
        yield frame(1, picture(255))
        raise ConnectionError("the cable is out")

    with JournalWriter(path, bundle.manifest, "toy 1.0") as journal:
        line = Line(bundle, FirstPixel(), Frames(breaking()), journal)
        with pytest.raises(FaultError, match="the cable is out"):
            line.run()
    ended = events(path)[-1][1]
    assert "the cable is out" in ended["reason"] and holds(ended)
    assert (ended["captured"], ended["ok"], ended["ng"]) == (2, 1, 1)


def test_what_broke_the_watching_is_its_reason_too(tmp_path: Path) -> None:
    bundle, path = seal(tmp_path / "toy.tflite"), tmp_path / "j"

    def tick() -> None:
        raise LookupError("nobody beats")

    endless = (frame(n, picture()) for n in itertools.count())
    journal = JournalWriter(path, bundle.manifest, "toy 1.0")
    line = Line(bundle, FirstPixel(0.01), Frames(endless), journal, on_tick=tick)
    with pytest.raises(LookupError, match="nobody beats"):
        line.run()
    assert events(path)[-1][1]["reason"] == "LookupError: nobody beats"


def test_dropped_frames_stand_in_the_stop_with_their_cause(tmp_path: Path) -> None:
    bundle, path = seal(tmp_path / "toy.tflite"), tmp_path / "j"
    endless = (frame(n, picture()) for n in itertools.count())
    journal = JournalWriter(path, bundle.manifest, "toy 1.0")
    line = Line(bundle, FirstPixel(0.05), Frames(endless), journal)
    threading.Timer(0.3, lambda: line.stop("enough", at_once=True)).start()
    report = line.run()
    ended = events(path)[-1][1]
    assert ended["reason"] == "enough" and holds(ended)
    assert ended["dropped"] == report.dropped and ended["dropped"][STOPPED] > 1


def endless_line(path: Path) -> None:
    """A line without an end, for a process of its own that is killed."""
    bundle = seal(path.with_name("toy.tflite"))
    frames = Frames((frame(n, picture(n % 256)) for n in itertools.count()), delay_s=0.001)
    with JournalWriter(path, bundle.manifest, "toy 1.0") as journal:
        Line(bundle, FirstPixel(), frames, journal).run()


def test_a_start_after_a_kill_says_so(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file.with_name("line.journal")
    line = subprocess.Popen([sys.executable, __file__, str(path)])
    try:
        wait_until(lambda: path.is_file() and _captured(path) > 20, 20)
    finally:
        line.kill()
        line.wait()
    before = Journal(path).events()[0]
    file.write_text(file.read_text().replace("count = 3", "count = 2000"))

    def look() -> None:
        wait_until(lambda: _runs(path), 20)
        status(Command(False, False), file)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=look)
    thread.start()
    run_line(Command(False, False), file)
    thread.join(20)
    assert [kind for kind, _ in events(path)] == ["start", "start", "stop"]
    began = events(path)[1][1]
    assert began["before"] == "did not stop" and began["pictures_lost"] == []
    assert began["before_at"] == stamp(before.at)
    assert "the line before did not stop" in capsys.readouterr().err
    assert verify_journal(path, images=True).ok


def test_a_start_after_a_power_cut_names_the_pictures_that_went(tmp_path: Path) -> None:
    """Rows that the disk had, and pictures that it had not; one was removed by the rules."""
    bundle, path = seal(tmp_path / "toy.tflite"), tmp_path / "j.db"
    with JournalWriter(path, bundle.manifest, "toy 1.0") as journal:
        journal.event("start", {})
        for name in ("whole", "gone", "empty", "old"):
            journal.put(inspection(name, bundle_id=bundle.manifest.bundle_id))
        journal.event("pictures removed", {"group": "ng", "seqs": [4], "after": 0})
    for file in tmp_path.rglob("*.png"):
        if file.stem in ("gone", "old"):
            file.unlink()
        if file.stem == "empty":
            file.write_bytes(b"")
    for lost in (["gone", "empty"], None):
        with JournalWriter(path, bundle.manifest, "toy 1.0") as journal:
            Line(bundle, FirstPixel(), Frames([frame(0, picture())]), journal).run()
        assert Journal(path).events("start")[-1].detail.get("pictures_lost") == lost


def _captured(path: Path) -> int:
    try:
        return Journal(path).counts()["captured"]
    except Exception:  # noqa: BLE001 - it is being made
        return 0


def _runs(path: Path) -> bool:
    try:
        return bool(ask(path, "status")["captured"] > 3)
    except UsageError:
        return False


def test_events_are_listed(file: Path) -> None:
    path = file.with_name("line.journal")
    run_line(Command(False, False), file)
    words = ["journal", "query", str(path), "--events"]
    told = json.loads(CliRunner().invoke(app, [*words, "--json", "--limit", "1"]).stdout)
    assert [e["kind"] for e in told["events"]] == ["start"] and told["next_after"] == 1
    assert told["events"][0]["detail"]["line_file"] == "line.toml"
    told = json.loads(CliRunner().invoke(app, [*words, "--json", "--after", "1"]).stdout)
    kinds = [e["kind"] for e in told["events"]]
    assert kinds == ["source", "stop"] and told["next_after"] is None
    shown = CliRunner().invoke(app, [*words, "--newest"]).stderr.splitlines()
    assert ' stop: {"captured": 3' in shown[0] and " start: " in shown[2] and shown[3] == "3 events"
    refused = CliRunner().invoke(app, [*words, "--lot", "L7"])
    assert refused.exit_code == 2 and "--after or --newest alone" in refused.stderr


if __name__ == "__main__":
    endless_line(Path(sys.argv[1]))
