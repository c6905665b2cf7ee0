"""A line file becomes a line: sources, region, trigger, signals, socket, page."""

from __future__ import annotations

import os
import signal
import threading
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_line import FirstPixel, picture, seal, wait_until

from edge.control import ask
from edge.line_commands import rollback, run, run_line, status, swap
from qc.console import Command
from qc.errors import DataError, UsageError
from qc.imageio import write_png
from qc.journal import Journal


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle and two folders of parts; the toy predictor takes the place of LiteRT's."""
    monkeypatch.setattr("edge.line_commands.LiteRTPredictor", lambda bundle: FirstPixel())
    seal(tmp_path / "toy.tflite")
    for side, reds in (("left", (0, 255)), ("right", (0, 0, 128))):
        (tmp_path / side).mkdir()
        for n, red in enumerate(reds):
            wide = np.hstack([picture(0), picture(red)])  # the part is in the right half
            write_png(tmp_path / side / f"{side}{n}.png", wide)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    file = folder / "line.toml"
    file.write_text('bundle = "toy.tflite"\njournal = "j/line.journal"\n' + text)
    return file


HALF = "region = [[4, 0], [8, 0], [8, 4], [4, 4]]"


def test_a_line_of_several_sources_with_a_region(folder: Path) -> None:
    file = written(
        folder,
        f"""
        [actions]
        review = "pass"
        [[source]]
        kind = "folder"
        id = "left"
        path = "left"
        {HALF}
        [[source]]
        kind = "folder"
        path = "right"
        {HALF}
        [[sinks]]
        kind = "csv_file"
        path = "out.csv"
        """,
    )
    report = run_line(Command(False, False), file)
    assert (report["captured"], report["ok"], report["ng"], report["review"]) == (5, 3, 1, 1)
    assert report["dropped"] == {} and report["sink_errors"] == []
    rows = Journal(folder / "j" / "line.journal").rows()
    assert sorted((r.source_id, r.part_id) for r in rows) == [
        ("folder", "right0"),
        ("folder", "right1"),
        ("folder", "right2"),
        ("left", "left0"),
        ("left", "left1"),
    ]
    assert len((folder / "out.csv").read_text().splitlines()) == 6


def test_a_folder_that_is_not_there_is_found_before_anything_starts(folder: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        run_line(Command(False, False), written(folder, '[source]\nkind = "folder"\npath = "x"\n'))
    assert not (folder / "j").exists()


PACED = '[source]\nkind = "synthetic"\nrate_hz = 200\nsize_hw = [8, 8]\n'


class Meanwhile(threading.Thread):
    """Does something beside a line that runs in this thread, and then stops it by a signal."""

    def __init__(self, task: Any, journal: Path) -> None:
        super().__init__()
        self.task, self.journal = task, journal
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            wait_until(self._runs)
            self.task()
        except BaseException as error:  # noqa: BLE001 - raised by `ended`
            self.error = error
        os.kill(os.getpid(), signal.SIGTERM)

    def _runs(self) -> bool:
        try:
            return bool(ask(self.journal, "status")["captured"] > 3)
        except UsageError:
            return False

    def ended(self) -> None:
        self.join(5)
        if self.error is not None:
            raise self.error


def test_a_signal_stops_the_line_and_the_account_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(folder, PACED)
    before = signal.getsignal(signal.SIGTERM)
    beside = Meanwhile(lambda: None, folder / "j" / "line.journal")
    run(Command(True, False), file)
    beside.ended()
    told = capsys.readouterr()
    assert '"dropped": {}' in told.out and "captured " in told.err
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_running_line_is_told_by_commands(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = seal(folder / "other.tflite", data_licence="another")
    file = written(folder, PACED)
    say = Command(False, False)

    def talk() -> None:
        status(say, file)
        swap(say, file, other.path)
        rollback(say, file)

    beside = Meanwhile(talk, folder / "j" / "line.journal")
    report = run_line(say, file)
    beside.ended()
    told = capsys.readouterr().err
    assert "running, bundle" in told and "source synthetic running" in told
    assert f"bundle {other.manifest.bundle_id} judges now, in place of" in told
    assert "write this one there to keep it" in told
    assert report["captured"] == sum(report[k] for k in ("ok", "ng", "review", "fault"))
    kinds = [e.kind for e in Journal(folder / "j" / "line.journal").events()]
    assert kinds[:3] == ["start", "swap", "rollback"] and kinds[-1] == "stop"
    with pytest.raises(UsageError, match="no line writes this journal"):
        status(say, file)


def test_a_line_serves_its_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("uvicorn")
    file = written(folder, PACED + "[health]\nport = 0\n")
    found: list[str] = []

    def look() -> None:
        url = capsys.readouterr().err.split("the page of the line: ")[1].split()[0]
        with urllib.request.urlopen(url + "health", timeout=5) as answer:
            found.append(answer.read().decode())

    beside = Meanwhile(look, folder / "j" / "line.journal")
    run_line(Command(False, False), file)
    beside.ended()
    assert '"captured"' in found[0]
