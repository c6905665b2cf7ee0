"""The contract of every source and trigger: one file in its folder is enough to be held to it."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from unit.toy_line import FirstPixel, picture, seal

from edge.line import Line
from qc.errors import QCError, RecipeError
from qc.imageio import write_png
from qc.journal import JournalWriter
from qc.linefile import read_line
from qc.plugins import names, resolve
from qc.tables import Table
from qc.types import Frame, utc_now

PARTS = 3
ROOT = Path(__file__).parents[2]

ELSEWHERE = {
    "http_upload": "tests/unit/test_sources_http_upload.py",
    "rtsp": "tests/e2e/test_rtsp.py",
}
"""Sources that need somebody who sends: their frames are tested there."""

NOT_THERE: dict[str, dict[str, Any]] = {
    "camera": {"device": "/dev/missing"},
    "http_upload": {"host": "192.0.2.1", "token_env": "PATH"},
    "rtsp": {"url": "rtsp://127.0.0.1:9/missing"},
}
"""Keys of a device that is not there; of a source that is not named here, a path."""

FROM_THE_TEST = {"camera": {"capture"}}
"""Arguments that are no keys of the line file."""

each_source = pytest.mark.parametrize("name", names("source"))
each_source_here = pytest.mark.parametrize(
    "name", [name for name in names("source") if name not in ELSEWHERE]
)
each_trigger = pytest.mark.parametrize("name", names("trigger"))


class Device:
    """A camera that gives grey pictures without end."""

    def __init__(self, device: int | str) -> None:
        self.isOpened = self.grab = lambda: True

    def retrieve(self) -> tuple[bool, Any]:
        time.sleep(0.005)
        return True, np.full((4, 4, 3), 90, np.uint8)

    def get(self, prop: int) -> float:
        return 0.0

    def release(self) -> None:
        """Nothing is held."""


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """By source: the keys with which it gives three frames at least; else the folder of parts."""
    parts = tmp_path / "parts"
    parts.mkdir()
    film = cv2.VideoWriter(
        str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (32, 32)
    )
    for number in range(PARTS):
        write_png(parts / f"part{number}.png", picture(255 if number == PARTS - 1 else 0))
        film.write(np.full((32, 32, 3), 60 * number, np.uint8))
    film.release()
    return {
        "camera": {"capture": Device},
        "synthetic": {"count": PARTS, "size_hw": (8, 8)},
        "video": {"path": tmp_path / "film.avi"},
        "": {"path": parts},
    }


def _source(name: str, keys: dict[str, dict[str, Any]]) -> Any:
    """As the line makes it."""
    return resolve("source", name).Source(**keys.get(name, keys[""]), source_id="east")


def _arguments(kind: type) -> dict[str, Any]:
    parameters = list(inspect.signature(kind).parameters.values())
    return {p.name: p.default for p in parameters}


@each_source
def test_its_keys_are_its_arguments_with_the_same_defaults(name: str) -> None:
    module = resolve("source", name)
    assert issubclass(module.Options, Table)
    arguments = _arguments(module.Source)
    assert arguments.pop("source_id") == name, "the name of a source is its kind until it has one"
    for argument in FROM_THE_TEST.get(name, set()):
        arguments.pop(argument)
    fields = module.Options.model_fields
    assert list(fields) == list(arguments)
    for key, field in fields.items():
        required = arguments[key] is inspect.Parameter.empty
        assert field.is_required() == required
        assert required or field.default == arguments[key], key


@each_trigger
def test_the_keys_of_a_trigger_are_its_arguments(name: str) -> None:
    module = resolve("trigger", name)
    fields = module.Options.model_fields
    assert issubclass(module.Options, Table) and callable(module.Trigger.fires)
    if fields:
        assert {k: f.default for k, f in fields.items()} == _arguments(module.Trigger)


@each_source
def test_a_line_file_may_name_it(name: str, tmp_path: Path) -> None:
    needed = "".join(
        f'{key} = "rtsp://camera/{key}"\n'
        for key, field in resolve("source", name).Options.model_fields.items()
        if field.is_required()
    )
    head = 'bundle = "b.tflite"\njournal = "j"\n[source]\n'
    file = tmp_path / "line.toml"
    file.write_text(f'{head}kind = "{name}"\n{needed}')
    assert read_line(file).source[0].source_id == name
    file.write_text(f'{head}kind = "{name}"\nnothing_of_the_kind = 1\n{needed}')
    with pytest.raises(RecipeError, match=r"source\.nothing_of_the_kind"):
        read_line(file)


@each_source
def test_a_source_says_what_it_is(name: str) -> None:
    kind = resolve("source", name).Source
    assert kind.is_live in (True, False)
    for method in ("__enter__", "__exit__", "__iter__"):
        assert callable(getattr(kind, method, None)), method
    if kind.is_live:
        assert callable(kind.stop), "a source without an end can be asked to end"


@each_source
def test_frames_that_come_from_elsewhere_are_tested_there(name: str) -> None:
    assert name not in ELSEWHERE or (ROOT / ELSEWHERE[name]).is_file()


@each_source_here
def test_a_source_is_a_context_that_yields_frames(
    name: str, keys: dict[str, dict[str, Any]]
) -> None:
    with _source(name, keys) as source:
        frames = list(islice(source, PARTS))
    assert len(frames) == PARTS and all(isinstance(f, Frame) for f in frames)
    assert len({f.frame_id for f in frames}) == PARTS, "a frame's id is its own"
    assert {f.source_id for f in frames} == {"east"}
    for frame in frames:
        assert frame.image is not None and frame.fault is None
        assert frame.image.ndim == 3 and frame.image.dtype == np.uint8
        assert frame.captured_at.tzinfo is UTC
        assert abs((utc_now() - frame.captured_at).total_seconds()) < 60
    times = [f.monotonic_ns for f in frames]
    assert times == sorted(times) and times[-1] <= time.monotonic_ns()


@each_source_here
def test_a_source_closes_after_an_error_and_another_takes_up(
    name: str, keys: dict[str, dict[str, Any]]
) -> None:
    with pytest.raises(ZeroDivisionError), _source(name, keys):
        raise ZeroDivisionError
    with _source(name, keys) as again:
        assert next(iter(again)).image is not None


@each_source_here
def test_no_frame_has_the_id_of_one_from_before_it_was_opened_again(
    name: str, keys: dict[str, dict[str, Any]]
) -> None:
    def first() -> Iterator[str]:
        with _source(name, keys) as source:
            if source.is_live:
                yield next(iter(source)).frame_id

    assert not set(first()) & set(first())


@each_source
def test_a_source_that_is_not_there_is_an_error_of_ours(name: str, tmp_path: Path) -> None:
    if name == "synthetic":
        pytest.skip("it needs nothing that could be missing")
    given = NOT_THERE.get(name, {"path": tmp_path / "missing"})
    with (
        pytest.raises(QCError) as caught,
        resolve("source", name).Source(**given, source_id="east") as source,
    ):
        next(iter(source))
    assert caught.value.exit_code in (2, 3)
    assert "missing" in str(caught.value) or "192.0.2.1" in str(caught.value)


@each_source_here
def test_a_line_runs_with_it(name: str, tmp_path: Path, keys: dict[str, dict[str, Any]]) -> None:
    bundle = seal(tmp_path / "toy.tflite")
    source = _source(name, keys)
    seen: list[str] = []
    with JournalWriter(tmp_path / "journal", bundle.manifest, "toy 1.0") as journal:
        line = Line(bundle, FirstPixel(), source, journal)
        tell = getattr(source, "answered", None)

        def answered(inspection: Any) -> None:
            seen.append(inspection.frame_id)
            if tell is not None:
                tell(inspection)
            if len(seen) >= PARTS and source.is_live:
                line.stop()

        source.answered = answered
        report = line.run()
    judged = report.ok + report.ng + report.review + report.fault
    assert report.captured == judged + sum(report.dropped.values())
    assert report.fault == 0 and judged >= PARTS
    assert source.is_live or report.captured == PARTS
