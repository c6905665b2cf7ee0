"""A bundle, a predictor and frames small enough to work out by hand, for the tests of the line.

The first pixel decides: red / 256 is the defect score; green above 0 says dent, else scratch; blue
1 breaks the runtime and blue 2 gives a score that is not a number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from edge.account import LineReport
from edge.message import Message
from qc.bundle import Bundle, Golden, open_bundle, write_bundle
from qc.journal import Journal
from qc.manifest import SEALED_PARTS, Manifest
from qc.types import Frame, Image, Inspection, Prediction, Verdict, utc_now

MODEL = b"\x1c\x00\x00\x00TFL3" + bytes(64)


def facts() -> dict[str, Any]:
    """Scratch is OK below 0.25 and NG from 0.75; the heat goes from 0 to 4."""
    tensor = {"dtype": "uint8", "scale": 1.0, "zero_point": 0}
    return {
        "name": "toy",
        "task": "multiclass",
        "classes": [
            {"name": "good", "severity": "good"},
            {"name": "scratch", "severity": "major"},
            {"name": "dent", "severity": "minor"},
        ],
        "preprocess": {"size_hw": (4, 4)},
        "input": tensor | {"name": "image", "shape": (1, 4, 4, 3)},
        "score": tensor | {"name": "score", "shape": (1, 3)},
        "attention": tensor | {"name": "attention", "shape": (1, 2, 2, 3)},
        "decision": {
            "ok_below": {"scratch": 0.25, "dent": 0.25},
            "ng_above": {"scratch": 0.75, "dent": 0.75},
            "max_escape": 0.01,
            "max_overkill": 0.05,
        },
        "overlay": {"lo": 0.0, "hi": 4.0},
        "target": "cpu",
        "provenance": {
            "recipe_hash": "r",
            "split_hash": "s",
            "calibration_hash": "c",
            "dataset": "toy",
            "seed": 0,
            "commit": "none",
            "versions": {},
        },
        "data_licence": "none",
    }


def unsealed(**changes: Any) -> Manifest:
    """The manifest of `facts`, changed, without a bundle that it was sealed in."""
    sealed = {"bundle_id": "b", "model_bytes": 1, "sha256": dict.fromkeys(SEALED_PARTS, "0")}
    return Manifest.model_validate(facts() | sealed | changes)


class FirstPixel:
    """The toy predictor; `delay_s` makes it slow and `shift` makes it wrong."""

    runtime = "toy 1.0"

    def __init__(self, delay_s: float = 0.0, shift: float = 0.0) -> None:
        self.delay_s, self.shift = delay_s, shift

    def predict(self, image: Image) -> Prediction:
        time.sleep(self.delay_s)
        red, green, blue = (int(v) for v in image[0, 0])
        if blue == 1:
            raise RuntimeError("invoke went wrong")
        defect = float("nan") if blue == 2 else red / 256 + self.shift
        score = [1 - defect, 0.0, defect] if green else [1 - defect, defect, 0.0]
        attention = np.zeros((2, 2, 3), np.float32)
        attention[..., 1] = [[0, 1], [2, 4]]
        attention[..., 2] = [[4, 0], [0, 0]]
        return Prediction(np.array(score, np.float32), attention, 2_000_000)


def picture(red: int = 0, green: int = 0, blue: int = 0) -> Image:
    """A grey 4 x 4 picture with the first pixel set."""
    image = np.full((4, 4, 3), 90, np.uint8)
    image[0, 0] = (red, green, blue)
    return image


def seal(path: Path, **changes: Any) -> Bundle:
    """Write and open the toy bundle."""
    images = np.stack([picture(0), picture(128), picture(255), picture(200, 9)])
    passes = [FirstPixel().predict(image) for image in images]
    model = changes.pop("model", MODEL)
    said = facts() | changes
    maps = np.stack([p.attention for p in passes if p.attention is not None])
    golden = Golden(
        images,
        np.stack([p.score for p in passes]),
        maps if said["attention"] else None,
        ("OK", "REVIEW", "NG", "NG"),
    )
    write_bundle(path, model=model, golden=golden, report={}, facts=said)
    return open_bundle(path)


def toy_manifest(folder: Path) -> Manifest:
    return seal(folder / "toy.tflite").manifest


def frame(number: int, image: Image | None) -> Frame:
    return Frame(
        image=image,
        frame_id=f"f{number:04d}",
        source_id="toy",
        captured_at=utc_now(),
        monotonic_ns=time.monotonic_ns(),
        part_id=f"p{number}",
        lot="lot1",
        fault=None if image is not None else "the cable is out",
    )


def inspection(name: str, verdict: Verdict = Verdict.NG, **changes: Any) -> Inspection:
    values: dict[str, Any] = {
        "inspection_id": name,
        "frame_id": f"f-{name}",
        "source_id": "toy",
        "captured_at": utc_now(),
        "verdict": verdict,
        "reason": "because",
        "bundle_id": "b",
        "defect_class": "scratch",
        "defect_score": 0.875,
        "prediction": FirstPixel().predict(picture(224)),
        "image": picture(224),
    }
    return Inspection(**(values | changes))


@dataclass
class Frames:
    """A source over frames in memory; `ended` tells that it was closed."""

    frames: Iterable[Frame]
    is_live: bool = False
    delay_s: float = 0.0
    ended: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.ended = True

    def __iter__(self) -> Iterator[Frame]:
        for item in self.frames:
            time.sleep(self.delay_s)
            yield item


class Told:
    """A sink that remembers what it was told; slow or broken where asked."""

    def __init__(self, delay_s: float = 0.0, broken: str = "") -> None:
        self.delay_s, self.broken = delay_s, broken
        self.seen: list[Message] = []
        self.alarms: list[str] = []
        self.closed = False

    def write(self, message: Message) -> None:
        time.sleep(self.delay_s)
        if self.broken:
            raise ConnectionError(self.broken)
        self.seen.append(message)

    def fail_safe(self, action: str, why: str) -> None:
        self.alarms.append(f"{action}: {why}")

    def close(self) -> None:
        self.closed = True


def accounted(report: LineReport, path: Path) -> bool:
    """The invariant, by the report and by the journal, and that both say the same."""
    counts = Journal(path).counts()
    known = {k: v for k, v in report.as_json().items() if k in counts} | {
        "dropped": sum(report.dropped.values())
    }
    parts = report.ok + report.ng + report.review + report.fault + sum(report.dropped.values())
    return report.captured == parts and known == counts


def wait_until(true: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Fail where something does not come true in time."""
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "did not come true in time"
        time.sleep(0.005)
