"""From a decision by key until the next picture is painted, in Debian's Chromium.

    python tests/bench/next_picture.py [--parts 60] [--pause 0.8]

A reviewer decides on one flagged part after the other by keyboard, with a pause for looking: that
is when the station fetches what comes next. Timed in the page, from the key until the second frame
after the next part's picture and map are decoded: so the decision's way to the disk is in it, and
one or two frames of the browser. Exit 1 where the slowest in twenty takes longer than 100 ms.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import cv2
import numpy as np
from browser.test_station_browser import make_manifest, plates
from browser.test_station_keys import SWAPPED, decide, new_browser, until
from selenium.webdriver.common.by import By
from station_beside_line import served

from qc.journal import JournalWriter

MOST_MS = 100.0
SIZES_WH = ((480, 360), (1280, 1024))


def journal(path: Path, parts: int, size_wh: tuple[int, int]) -> Path:
    """Flagged plates that wait for a decision."""
    flagged = [p for p in plates() if p.image is not None and p.verdict != "OK"]
    with JournalWriter(path, make_manifest(), "litert") as writer:
        for number in range(parts):
            plate = flagged[number % len(flagged)]
            assert plate.image is not None
            name = f"p-{number:04d}"
            image = cv2.resize(plate.image, size_wh, interpolation=cv2.INTER_AREA)
            writer.put(replace(plate, inspection_id=name, part_id=name, image=image))
    return path


def reviewed(path: Path, parts: int, pause_s: float) -> list[float]:
    """Milliseconds of each decision."""
    browser = new_browser()
    try:
        with served(path) as port:
            browser.get(f"http://127.0.0.1:{port}")
            browser.find_element(By.CSS_SELECTOR, ".button.strong").click()
            until(lambda: browser.find_elements(By.ID, "marks"))
            for number in range(parts):
                time.sleep(pause_s)
                decide(browser, "123"[number % 3])
            time.sleep(pause_s)
            return [float(ms) for ms in browser.execute_script(SWAPPED)]
    finally:
        browser.quit()


def main() -> int:
    """Measure each size of picture; 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=int, default=60)
    parser.add_argument("--pause", type=float, default=0.8, help="seconds between two decisions")
    told = parser.parse_args()
    missed = False
    for size_wh in SIZES_WH:
        with tempfile.TemporaryDirectory() as folder:
            path = journal(Path(folder) / "line.journal", told.parts + 2, size_wh)
            took = reviewed(path, told.parts, told.pause)
        p50, p95 = np.percentile(took, [50, 95])
        missed |= p95 > MOST_MS
        print(
            f"{size_wh[0]}x{size_wh[1]}: p50 {p50:.0f} ms, p95 {p95:.0f} ms (<= {MOST_MS:g}), "
            f"most {max(took):.0f} ms, {len(took)} decisions, load {os.getloadavg()[0]:.1f}"
        )
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
