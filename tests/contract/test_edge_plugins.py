"""The contract of every source and sink: one file in its folder is enough to be held to it."""

from __future__ import annotations

import inspect
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unit.toy_line import FirstPixel, inspection, picture, seal

from edge.line import Line
from qc.bundle import Bundle
from qc.errors import QCError
from qc.imageio import write_png
from qc.journal import JournalWriter
from qc.plugins import names, resolve
from qc.types import Frame, Verdict

PARTS = 3

each_source = pytest.mark.parametrize("name", names("source"))
each_sink = pytest.mark.parametrize("name", names("sink"))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return seal(tmp_path / "toy.tflite")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """What a source that reads files is given: three pictures, the last one of a bad part."""
    (tmp_path / "parts").mkdir()
    for number in range(PARTS):
        red = 255 if number == PARTS - 1 else 0
        write_png(tmp_path / "parts" / f"part{number}.png", picture(red))
    return tmp_path / "parts"


def _source(name: str, path: Path) -> Any:
    """As the line makes it."""
    return resolve("source", name).Source(path, pattern="*")


def _sink(name: str, path: Path, bundle: Bundle) -> Any:
    return resolve("sink", name).Sink(path, bundle)


# sources


@each_source
def test_a_source_says_whether_it_is_live(name: str) -> None:
    kind = resolve("source", name).Source
    assert kind.is_live in (True, False)
    for method in ("__enter__", "__exit__", "__iter__"):
        assert callable(getattr(kind, method, None)), method


@each_source
def test_a_source_is_a_context_that_yields_frames(name: str, parts: Path) -> None:
    with _source(name, parts) as source:
        frames = list(source)
    assert len(frames) == PARTS and all(isinstance(f, Frame) for f in frames)
    assert len({f.frame_id for f in frames}) == PARTS, "a frame's id is its own"
    assert len({f.source_id for f in frames}) == 1 and frames[0].source_id
    for frame in frames:
        assert frame.image is not None and frame.fault is None
        assert frame.image.shape == (4, 4, 3) and frame.image.dtype == np.uint8
        assert frame.captured_at.tzinfo is UTC
    times = [f.monotonic_ns for f in frames]
    assert times == sorted(times)
    # red is the first channel: BGR does not leave the source
    assert frames[-1].image[0, 0].tolist() == [255, 0, 0]


@each_source
def test_a_source_closes_after_an_error(name: str, parts: Path) -> None:
    with pytest.raises(ZeroDivisionError), _source(name, parts):
        raise ZeroDivisionError
    with _source(name, parts) as again:
        assert next(iter(again)).image is not None


@each_source
def test_a_source_that_is_not_there_is_an_error_of_ours(name: str, tmp_path: Path) -> None:
    with (
        pytest.raises(QCError, match="missing") as caught,
        _source(name, tmp_path / "missing") as source,
    ):
        next(iter(source))
    assert caught.value.exit_code in (2, 3)


# sinks


@each_sink
def test_a_sink_takes_every_verdict_and_closes(name: str, tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "new" / "out"
    sink = _sink(name, path, bundle)
    for number, verdict in enumerate(Verdict):
        sink.write(inspection(f"{number}23456789", verdict))
    nothing = {"prediction": None, "defect_class": None, "defect_score": None, "image": None}
    sink.write(inspection("faultless", Verdict.FAULT, part_id=None, lot=None, **nothing))
    sink.close()
    sink.close()
    assert path.exists() and (path.is_file() or any(path.iterdir()))


@each_sink
def test_a_sink_goes_on_where_it_left_off(name: str, tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "out"

    def size() -> int:
        files = [path] if path.is_file() else list(path.iterdir())
        return sum(f.stat().st_size for f in files)

    sizes = []
    for number in range(2):
        sink = _sink(name, path, bundle)
        sink.write(inspection(f"{number}23456789", Verdict.NG))
        sink.close()
        sizes.append(size())
    assert sizes[1] > sizes[0] > 0, "what was told before is kept"


@each_sink
def test_a_sink_that_cannot_be_made_is_an_error_of_ours(
    name: str, tmp_path: Path, bundle: Bundle
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(QCError, match="file"):
        _sink(name, tmp_path / "file" / "out", bundle).write(inspection("a", Verdict.NG))


@each_sink
def test_a_sink_is_made_of_a_path_and_a_bundle(name: str) -> None:
    kind = resolve("sink", name).Sink
    assert list(inspect.signature(kind).parameters)[:2] == ["path", "bundle"]
    assert callable(kind.write) and callable(kind.close)


# together


@each_source
@pytest.mark.parametrize("sink", names("sink"))
def test_a_line_runs_with_it(
    name: str, sink: str, tmp_path: Path, parts: Path, bundle: Bundle
) -> None:
    told = _sink(sink, tmp_path / "out", bundle)
    with JournalWriter(tmp_path / "journal", bundle.manifest, "toy 1.0") as journal:
        line = Line(bundle, FirstPixel(), _source(name, parts), journal, sinks={"told": told})
        report = line.run()
    assert (report.captured, report.ok, report.ng) == (PARTS, PARTS - 1, 1)
    assert report.sink_errors == () and sum(report.dropped.values()) == 0
