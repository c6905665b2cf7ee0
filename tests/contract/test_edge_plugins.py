"""The contract of every sink: one file in its folder is enough to be held to it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from unit.toy_line import FirstPixel, inspection, picture, seal

from edge.line import Line
from edge.message import Message
from edge.sources.folder import Source
from qc.bundle import Bundle
from qc.errors import QCError
from qc.imageio import write_png
from qc.journal import Journal, JournalWriter
from qc.plugins import names, resolve
from qc.tables import Table
from qc.types import Verdict

PARTS = 3

each_sink = pytest.mark.parametrize("name", names("sink"))

FILE_SINKS = [n for n in names("sink") if "path" in resolve("sink", n).Options.model_fields]
"""Those that write to a path; others need a server, which their own tests start."""

each_file_sink = pytest.mark.parametrize("name", FILE_SINKS)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return seal(tmp_path / "toy.tflite")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Three pictures, the last one of a bad part."""
    (tmp_path / "parts").mkdir()
    for number in range(PARTS):
        red = 255 if number == PARTS - 1 else 0
        write_png(tmp_path / "parts" / f"part{number}.png", picture(red))
    return tmp_path / "parts"


def _sink(name: str, path: Path, bundle: Bundle) -> Any:
    return resolve("sink", name).Sink(path=path, bundle=bundle)


def _messages(path: Path, bundle: Bundle, number: int) -> list[Message]:
    """One of each verdict, with its picture kept but for the OK part, and a fault without any."""
    bundle_id = bundle.manifest.bundle_id
    nothing = {"prediction": None, "defect_class": None, "defect_score": None, "image": None}
    with JournalWriter(path, bundle.manifest, "toy 1.0") as journal:
        for verdict in Verdict:
            journal.put(inspection(f"{number}{verdict}23456789", verdict, bundle_id=bundle_id))
        faultless = {"part_id": None, "lot": None, "bundle_id": bundle_id, **nothing}
        journal.put(inspection(f"{number}faultless", Verdict.FAULT, **faultless))
    read = Journal(path)
    return [Message(row, "hold", read) for row in read.rows(newest_first=False)]


@each_sink
def test_a_sink_is_made_of_its_options_and_a_bundle(name: str) -> None:
    module = resolve("sink", name)
    assert issubclass(module.Options, Table) and module.Options.__doc__
    taken = inspect.signature(module.Sink).parameters
    assert {*taken} == {*module.Options.model_fields, "bundle"}
    for key, field in module.Options.model_fields.items():
        default = inspect.Parameter.empty if field.is_required() else field.default
        assert taken[key].default == default, f"{key} has one default"
        assert key in module.Sink.__doc__, f"{key} is described"


@each_sink
def test_a_sink_has_the_methods_that_the_outbox_calls(name: str) -> None:
    kind = resolve("sink", name).Sink
    methods = {"write": ["message"], "close": []}
    optional = {
        "open": ["line", "fault_action"],
        "fail_safe": ["action", "why"],
        "resume": [],
    }
    for method, taken in (
        methods | {m: t for m, t in optional.items() if hasattr(kind, m)}
    ).items():
        assert [*inspect.signature(getattr(kind, method)).parameters][1:] == taken, method


@each_file_sink
def test_a_sink_takes_every_verdict_and_closes(name: str, tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "new" / "out"
    sink = _sink(name, path, bundle)
    for message in _messages(tmp_path / "journal", bundle, 0):
        sink.write(message)
    sink.close()
    sink.close()
    assert path.exists() and (path.is_file() or any(path.iterdir()))


@each_file_sink
def test_a_sink_goes_on_where_it_left_off(name: str, tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "out"

    def size() -> int:
        files = [path] if path.is_file() else list(path.iterdir())
        return sum(f.stat().st_size for f in files)

    sizes = []
    for number in range(2):
        sink = _sink(name, path, bundle)
        for message in _messages(tmp_path / f"journal{number}", bundle, number):
            sink.write(message)
        sink.close()
        sizes.append(size())
    assert sizes[1] > sizes[0] > 0, "what was told before is kept"


@each_file_sink
def test_a_sink_that_cannot_be_made_is_an_error_of_ours(
    name: str, tmp_path: Path, bundle: Bundle
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(QCError, match="file"):
        _sink(name, tmp_path / "file" / "out", bundle)


@each_file_sink
def test_a_line_runs_with_it(name: str, tmp_path: Path, parts: Path, bundle: Bundle) -> None:
    told = _sink(name, tmp_path / "out", bundle)
    with JournalWriter(tmp_path / "journal", bundle.manifest, "toy 1.0") as journal:
        line = Line(bundle, FirstPixel(), Source(parts), journal, sinks={"told": told})
        report = line.run()
    assert (report.captured, report.ok, report.ng) == (PARTS, PARTS - 1, 1)
    assert report.sink_errors == () and sum(report.dropped.values()) == 0
