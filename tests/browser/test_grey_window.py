"""The grey window over a picture of 16 bit, by key and by dragging, in Debian's Chromium."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser.test_station_browser import make_manifest, plates
from browser.test_station_keys import browser as browser
from browser.test_station_keys import press, pytestmark, serving, until

from qc.journal import JournalWriter

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By

__all__ = ["pytestmark"]


def shown(browser: Chrome) -> str:
    return str(browser.find_element(By.ID, "base").get_attribute("src"))


def middle_grey(browser: Chrome) -> float:
    """Mean grey of the picture that is shown, 0 to 255."""
    script = """
        const image = document.getElementById("base");
        const canvas = document.createElement("canvas");
        canvas.width = image.naturalWidth;
        canvas.height = image.naturalHeight;
        const paint = canvas.getContext("2d");
        paint.drawImage(image, 0, 0);
        const data = paint.getImageData(0, 0, canvas.width, canvas.height).data;
        let sum = 0;
        for (let i = 0; i < data.length; i += 4) sum += data[i];
        return sum / (data.length / 4);
    """
    return float(browser.execute_script(script))


def test_a_window_makes_twelve_bit_visible_and_goes_back(browser: Chrome, tmp_path: Path) -> None:
    plate = next(p for p in plates() if p.image is not None and p.verdict == "NG")
    assert plate.image is not None
    deep = plate.image[..., 1].astype(np.uint16) * 8 + 1500  # of 65535: nearly black
    image = np.repeat(((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)[..., None], 3, 2)
    journal = tmp_path / "line-3.journal"
    with JournalWriter(journal, make_manifest(), "litert") as writer:
        writer.put(replace(plate, inspection_id="deep", part_id="deep", image=image, deep=deep))
    with serving(journal) as url:
        browser.get(f"{url}/part/deep")
        until(lambda: browser.find_elements(By.ID, "marks"))
        assert shown(browser).endswith("/image.png") and middle_grey(browser) < 20
        press(browser, "w")
        until(lambda: f"low={deep.min()}&high={deep.max()}" in shown(browser))
        until(lambda: middle_grey(browser) > 60)
        if folder := os.environ.get("QC_SCREENSHOTS"):
            browser.save_screenshot(str(Path(folder) / "grey-window.png"))
        first = shown(browser)
        view = browser.find_element(By.CSS_SELECTOR, ".view.whole")
        ActionChains(browser).drag_and_drop_by_offset(view, 60, -40).perform()
        until(lambda: shown(browser) != first and "grey.png" in shown(browser))
        words = browser.find_element(By.ID, "window-words").text
        assert words.startswith("Level ") and words.endswith("of 0 to 65535")
        press(browser, "r")
        until(lambda: shown(browser).endswith("/image.png"))
        assert "width 65536" in browser.find_element(By.ID, "window-words").text
