"""How long `qc data audit` takes for 10,000 images of 300 x 300, and how much memory.

    python tests/bench/audit.py

Surfaces with grain are drawn and written as JPEG, a hundred of them twice in another light. The
audit runs as a user runs it. One JSON on stdout; exit 1 above 120 s or 1 GB, or where a pair that
was drawn is not found.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

IMAGES, TWICE, SIDE = 10_000, 100, 300
MOST_S, MOST_GB = 120.0, 1.0


def draw(root: Path) -> None:
    """Write the images as two class folders."""
    rng = np.random.default_rng(0)
    layers = [
        cv2.GaussianBlur(rng.normal(0, 1, (900, 900)), (0, 0), sigma) * sigma
        for sigma in (1.5, 3, 6, 12)
    ]
    for kind in ("good", "scratch"):
        (root / kind).mkdir()
    for number in range(IMAGES - TWICE):
        grey = np.zeros((SIDE, SIDE))
        for layer in layers:
            y, x = rng.integers(0, 900 - SIDE, 2)
            grey += rng.choice([-1, 1]) * layer[y : y + SIDE, x : x + SIDE][:: rng.choice([-1, 1])]
        grey = 120 + 30 * grey / grey.std() + rng.normal(0, 3, grey.shape)
        folder = root / ("scratch" if number % 2 else "good")
        write(folder / f"{number:05}.jpg", grey)
        if number < TWICE:
            write(folder / f"{number:05}-again.jpg", grey * 0.6 + 5)


def write(path: Path, grey: np.ndarray) -> None:
    """Write a colour JPEG."""
    image = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 90]):
        raise OSError(f"cannot write {path}")


def main() -> int:
    """Draw, audit, report."""
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder))
        begin = time.monotonic()
        ran = subprocess.run(
            [sys.executable, "-m", "qc.cli", "data", "audit", folder, "--json"],
            stdout=subprocess.PIPE,
            check=True,
        )
        seconds = time.monotonic() - begin
    gigabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
    near = json.loads(ran.stdout)["near_duplicates"]
    pairs = {
        tuple(sorted(Path(name).stem.removesuffix("-again") for name in chain)) for chain in near
    }
    found = sum((f"{n:05}", f"{n:05}") in pairs for n in range(TWICE))
    row = {
        "images": IMAGES,
        "seconds": round(seconds, 1),
        "gigabytes": round(gigabytes, 2),
        "pairs_found": found,
        "pairs_drawn": TWICE,
        "other_chains": len(near) - found,
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(row, indent=1))
    return int(seconds > MOST_S or gigabytes > MOST_GB or found < TWICE)


if __name__ == "__main__":
    sys.exit(main())
