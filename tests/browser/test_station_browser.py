"""The station in a real browser: Debian's Chromium loads it, runs its script and paints it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
import uvicorn
from unit.toy_line import unsealed

from edge.station.app import create_app
from qc.imageio import read_image
from qc.journal import JournalWriter
from qc.manifest import Manifest
from qc.types import Inspection, Prediction, Verdict

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

CLASSES = ("good", "scratch", "dent", "stain")
START = datetime(2025, 3, 4, 8, 12, 0, tzinfo=UTC)
HOT_YX = (0.35, 0.6)
"""Where the drawn scratch crosses, as a share of height and width."""


def make_manifest() -> Manifest:
    severities = ("good", "major", "major", "minor")
    changes = {
        "bundle_id": "7c1e9a40b52f6d83",
        "name": "brushed-plates",
        "classes": [
            {"name": name, "severity": severity}
            for name, severity in zip(CLASSES, severities, strict=True)
        ],
        "decision": {
            "ok_below": {"scratch": 0.18, "dent": 0.24, "stain": 0.31},
            "ng_above": {"scratch": 0.62, "dent": 0.71, "stain": 0.8},
            "max_escape": 0.01,
            "max_overkill": 0.05,
        },
        "overlay": {"lo": -1.5, "hi": 6.25},
    }
    return unsealed(**changes)


def draw_plate(seed: int, defect: str) -> np.ndarray:
    """A brushed metal plate `(720, 960, 3)` with a defect on it."""
    rng = np.random.default_rng(seed)
    height, width = 720, 960
    grain = cv2.GaussianBlur(rng.normal(0, 26, (height, width)), (0, 0), sigmaX=28, sigmaY=0.7)
    fine = rng.normal(0, 3, (height, width))
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    light = 150 + 38 * np.exp(-(((x - 380) / 520) ** 2)) - 14 * y / height
    plate = light + 3.2 * grain + fine
    cy, cx = HOT_YX[0] * height, HOT_YX[1] * width
    mask = np.zeros((height, width), np.uint8)
    if defect == "scratch":
        along = np.linspace(-150, 140, 24)
        wobble = rng.normal(0, 2.5, along.size).cumsum() * 0.6
        shape = np.column_stack([cx + along, cy - 0.66 * along + wobble - wobble[12]])
        cv2.polylines(mask, [shape.astype(np.int32)], False, 255, 2, cv2.LINE_AA)
        plate += 70 * np.roll(mask, 2, axis=0) / 255.0 - 90 * (mask / 255.0)
    elif defect == "dent":
        inside = np.hypot((x - cx) / 46, (y - cy) / 38)
        plate += np.where(inside < 1.6, 60 * (x - cx + y - cy) / 80 * np.exp(-(inside**2)), 0)
    elif defect == "stain":
        spot = np.exp(-(np.hypot((x - cx) / 70, (y - cy) / 50) ** 4))
        plate -= 34 * spot * (1 + 0.2 * grain / 26)
    plate[(x < 24) | (x > width - 24) | (y < 24) | (y > height - 24)] *= 0.28
    for hole_y, hole_x in (
        (96, 96),
        (96, width - 96),
        (height - 96, 96),
        (height - 96, width - 96),
    ):
        away = np.hypot(x - hole_x, y - hole_y)
        plate = np.where(away < 30, 34 + fine, np.where(away < 34, 225, plate))
    tint = np.array([1.0, 1.0, 1.03])
    return np.clip(plate[..., None] * tint, 0, 255).astype(np.uint8)


def look(kind: str) -> np.ndarray:
    """Class evidence `(14, 14, 4)`: high along the drawn scratch, or round another defect."""
    y, x = (np.mgrid[0:14, 0:14] + 0.5) / 14
    down, right = y - HOT_YX[0], x - HOT_YX[1]
    if kind == "scratch":
        near = np.exp(-(((down + 0.62 * right) / 0.07) ** 2) - (right / 0.17) ** 2)
    else:
        near = np.exp(-((down / 0.1) ** 2) - (right / 0.09) ** 2)
    maps = np.random.default_rng(3).normal(-1.4, 0.25, (14, 14, 4))
    maps[..., CLASSES.index(kind)] += (5.0 if kind == "stain" else 7.5) * near
    return maps.astype(np.float32)


def plates() -> list[Inspection]:
    """Four flagged parts and one good one, as a line might have seen them."""
    seen = [
        ("OK", "good", 0.04, "defect score 0.040 < 0.180", [0.96, 0.02, 0.01, 0.01]),
        ("REVIEW", "stain", 0.47, "stain: defect score 0.470 in [0.310, 0.800)",
         [0.53, 0.03, 0.05, 0.39]),
        ("FAULT", None, None, "the camera gave no frame within 500 ms", None),
        ("NG", "dent", 0.93, "dent: defect score 0.930 >= 0.710", [0.07, 0.05, 0.86, 0.02]),
        ("NG", "scratch", 0.88, "scratch: defect score 0.880 >= 0.620", [0.12, 0.83, 0.04, 0.01]),
    ]  # fmt: skip
    result = []
    for number, (verdict, kind, score, reason, scores) in enumerate(seen, start=1):
        prediction = None
        if scores is not None:
            prediction = Prediction(np.array(scores, np.float32), look(str(kind)), 6_400_000)
        result.append(
            Inspection(
                inspection_id=f"20250304-{number:06d}",
                frame_id=f"{4180 + number}",
                source_id="cam-top",
                captured_at=START + timedelta(seconds=7 * number),
                verdict=Verdict(verdict),
                reason=reason,
                bundle_id="7c1e9a40b52f6d83",
                part_id=f"PL-{20418 + number}",
                lot="2025-W10-B",
                defect_class=None if kind in (None, "good") else kind,
                defect_score=score,
                prediction=prediction,
                timings_ms={"infer": 6.4, "total": 9.8} if scores else {"total": 500.2},
                image=draw_plate(number, kind) if kind else None,
            )
        )
    return result


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("station") / "line-2.journal"
    with JournalWriter(path, make_manifest(), "litert") as writer:
        for inspection in plates():
            writer.put(inspection)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(create_app(path, "A. Berger"), log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.started, "the station did not start within 10 s"
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


def chromium(folder: Path, *options: str) -> str:
    """Run the browser once in an empty profile and give back its standard output."""
    assert CHROMIUM is not None
    quiet = "--disable-gpu --disable-quic --no-first-run --disable-background-networking"
    command = [CHROMIUM, "--headless=new", "--no-sandbox", *quiet.split()]
    command += ["--disable-component-update", "--disable-sync", "--hide-scrollbars"]
    command += [f"--user-data-dir={folder / 'profile'}", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def shot(folder: Path, address: str, size: str = "1280,800") -> np.ndarray:
    file = folder / "shot.png"
    chromium(folder, f"--screenshot={file}", f"--window-size={size}", address)
    return read_image(file)


def test_queue_is_painted(url: str, tmp_path: Path) -> None:
    image = shot(tmp_path, f"{url}/")
    assert image.shape == (800, 1280, 3)
    assert image.std() > 20  # an empty page has one colour
    red = (image == np.array([0xB3, 0x20, 0x1A])).all(axis=2)
    assert red.sum() > 500  # the chips of the two NG parts


def test_script_runs_and_policy_lets_everything_load(url: str, tmp_path: Path) -> None:
    dom = chromium(tmp_path, "--dump-dom", f"{url}/part/20250304-000005")
    assert 'style="opacity: 0.5;"' in dom  # only the script sets it
    assert ">50 %</output>" in dom
    assert "PL-20423" in dom and "Overrule" in dom
    assert "as A. Berger" in dom
