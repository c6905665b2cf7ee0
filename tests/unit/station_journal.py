"""A real journal of four parts and a client of the station over it, for the station's tests."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
from starlette.testclient import TestClient
from unit.toy_line import unsealed

from qc.journal import JournalWriter
from qc.manifest import Manifest
from qc.types import Inspection, Prediction, Verdict

START = datetime(2025, 3, 4, 9, 30, 0, tzinfo=UTC)
SAME = {"origin": "http://testserver"}


def make_manifest(lo: float = 0.0, hi: float = 4.0) -> Manifest:
    changes = {
        "bundle_id": "abcdef0123456789",
        "name": "plates",
        "decision": {
            "ok_below": {"scratch": 0.2, "dent": 0.3},
            "ng_above": {"scratch": 0.7, "dent": 1.01},
            "max_escape": 0.01,
            "max_overkill": 0.05,
        },
        "overlay": {"lo": lo, "hi": hi},
    }
    return unsealed(**changes)


def evidence() -> np.ndarray:
    """Scratch evidence 0, 2, 4, 8 on a scale of 0 to 4: levels 0, 128, 255, 255."""
    maps = np.zeros((2, 2, 3), np.float32)
    maps[..., 1] = [[0, 2], [4, 8]]
    return maps


def picture() -> np.ndarray:
    image = np.full((6, 8, 3), 90, np.uint8)
    image[:, 4:] = (200, 100, 50)
    return image


def inspection(number: int, verdict: Verdict, **change: object) -> Inspection:
    facts: dict[str, object] = {
        "inspection_id": f"i-{number}",
        "frame_id": f"f-{number}",
        "source_id": "cam0",
        "captured_at": START + timedelta(seconds=number),
        "verdict": verdict,
        "reason": "scratch: defect score 0.830 >= 0.700",
        "bundle_id": "abcdef0123456789",
        "part_id": f"P-{number}",
        "lot": "L7",
        "defect_class": "scratch",
        "defect_score": 0.83,
        "prediction": Prediction(np.array([0.17, 0.8, 0.03], np.float32), evidence(), 1),
        "timings_ms": {"infer": 3.25},
        "image": picture(),
    }
    if verdict is Verdict.FAULT:
        facts |= {"prediction": None, "defect_class": None, "defect_score": None}
        facts |= {"reason": "the camera gave no frame", "image": None}
    return Inspection(**(facts | change))  # type: ignore[arg-type]


def fill(path: Path, inspections: list[Inspection], drops: int = 0) -> Path:
    with JournalWriter(path, make_manifest(), "litert") as writer:
        for entry in inspections:
            writer.put(entry)
        for number in range(drops):
            writer.drop("cam0", f"d-{number}", "queue full")
    return path


def write_four(folder: Path) -> Path:
    """i-1 OK, i-2 NG, i-3 REVIEW, i-4 FAULT, and one dropped frame."""
    verdicts = [Verdict.OK, Verdict.NG, Verdict.REVIEW, Verdict.FAULT]
    entries = [inspection(n, verdict) for n, verdict in enumerate(verdicts, start=1)]
    return fill(folder / "line.journal", entries, drops=1)


def copy_of(journal: Path, folder: Path) -> Path:
    """A journal with its pictures to spoil; copying spares the waits for the disk."""
    return Path(shutil.copytree(journal.parent, folder / "copy")) / journal.name


def token(client: TestClient, inspection_id: str = "i-2") -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', client.get(f"/part/{inspection_id}").text)
    assert found
    return found.group(1)


def post(client: TestClient, inspection_id: str = "i-2", **change: str | None):  # type: ignore[no-untyped-def]
    fields = {"decision": "NG", "defect_class": "scratch", "note": ""}
    fields |= {"csrf": token(client)} | change
    data = {name: value for name, value in fields.items() if value is not None}
    return client.post(f"/part/{inspection_id}", data=data, headers=SAME)


def decode(data: bytes) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return found
