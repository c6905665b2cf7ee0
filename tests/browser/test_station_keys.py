"""The station by keyboard and pointer in Debian's Chromium: decide, undo, brush, export."""

from __future__ import annotations

import io
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import cv2
import numpy as np
import pytest
import uvicorn
from browser.test_station_browser import CHROMIUM, HOT_YX, make_manifest, plates

from edge.station.app import create_app
from qc.imageio import read_mask
from qc.journal import Journal, JournalWriter
from training.datasets import load_samples

selenium = pytest.importorskip("selenium", reason="selenium is not installed")
from selenium import webdriver  # noqa: E402
from selenium.webdriver import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402

DRIVER = Path("/usr/bin/chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or not DRIVER.exists(), reason="chromium and its driver are not installed"
)
SWAPPED = "return performance.getEntriesByName('decision-to-picture').map(e => e.duration)"


def serious(browser: webdriver.Chrome) -> list[tuple[str, Any]]:
    """What axe finds on the page that keeps people from reading it; skips where axe is missing."""
    check = pytest.importorskip("axe_selenium_python").Axe(browser)
    check.inject()
    found = check.run()["violations"]
    return [(v["id"], v["nodes"]) for v in found if v["impact"] in ("serious", "critical")]


@contextmanager
def serving(path: Path, reviewer: str | None = "A. Berger", **how: Any) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = create_app(path, reviewer, **how)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


def until(holds: Callable[[], object], seconds: float = 20) -> object:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")


def new_browser() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for told in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1440,900"):
        options.add_argument(told)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    driver = new_browser()
    yield driver
    driver.quit()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Fourteen parts of half the size: four flagged plates, three times and a half."""
    journal = tmp_path / "line-2.journal"
    flagged = [p for p in plates() if p.image is not None and p.verdict != "OK"]
    with JournalWriter(journal, make_manifest(), "litert") as writer:
        for number in range(12):
            plate = flagged[number % 3]
            assert plate.image is not None
            image = cv2.resize(plate.image, (480, 360), interpolation=cv2.INTER_AREA)
            name = f"p-{number:02d}"
            writer.put(replace(plate, inspection_id=name, part_id=name, image=image))
    return journal


def press(browser: webdriver.Chrome, keys: str) -> None:
    ActionChains(browser).send_keys(keys).perform()


def decide(browser: webdriver.Chrome, keys: str) -> str:
    """Press keys that lead to another part; the inspection that was decided."""
    before = browser.current_url.split("?")[0]
    press(browser, keys)
    until(lambda: browser.current_url.split("?")[0] != before)
    return before.rpartition("/")[2]


def test_ten_parts_by_keyboard_alone_then_overrule_undo_and_restart(
    browser: webdriver.Chrome, path: Path
) -> None:
    journal = Journal(path)
    with serving(path) as url:
        browser.get(url)
        browser.find_element(By.CSS_SELECTOR, ".button.strong").click()
        until(lambda: "/part/" in browser.current_url)
        until(lambda: browser.find_elements(By.ID, "marks"))
        done = [decide(browser, "123"[n % 3]) for n in range(10)]
        assert len(set(done)) == 10
        assert {journal.reviews(i)[0].decision.value for i in done} == {"NG"}
        here = browser.current_url.rpartition("/")[2]
        assert journal.get(here).verdict.value == "NG"
        press(browser, "o")  # an overruling asks for its reason first
        assert until(lambda: browser.find_elements(By.CSS_SELECTOR, "#reasons.asked"))
        assert journal.reviews(here) == []
        assert decide(browser, "2") == here
        assert journal.reviews(here)[0].note == "[glare or shadow]"
        assert decide(browser, "u") and browser.current_url.endswith(here)
        assert [r.decision.value for r in journal.reviews(here)] == ["OK", "REVIEW"]
        taken = browser.execute_script(SWAPPED)
        assert len(taken) >= 10 and sorted(taken)[len(taken) // 2] < 1000  # a loaded machine's
    with serving(path) as url:
        browser.get(f"{url}/?show=reviewed")
        assert len(browser.find_elements(By.CSS_SELECTOR, ".parts li")) == 10


def test_a_brushed_mask_is_there_after_a_restart_and_in_the_data_set(
    browser: webdriver.Chrome, path: Path, tmp_path: Path
) -> None:
    with serving(path) as url:
        browser.get(f"{url}/part/p-00")
        until(lambda: browser.find_elements(By.ID, "marks"))
        press(browser, "m]]")
        view = browser.find_element(By.CSS_SELECTOR, ".view.whole")
        brush = ActionChains(browser).move_to_element_with_offset(view, -40, 0).click_and_hold()
        brush.move_by_offset(80, 0).release().perform()
        decide(browser, "n")
    (review,) = Journal(path).reviews("p-00")
    assert review.mask_sha256
    (sample,) = load_samples(path)[1]
    assert sample.mask_path is not None
    mask = read_mask(sample.mask_path, (360, 480))
    ys, xs = np.nonzero(mask)
    assert abs(ys.mean() - 180) < 4 and abs(xs.mean() - 240) < 4  # through the middle
    assert np.ptp(xs) > 1.5 * np.ptp(ys)
    with serving(path) as url:
        browser.get(f"{url}/part/p-00")
        until(lambda: browser.find_elements(By.ID, "marks"))
        count = (
            "const c = document.getElementById('marks'); return c.getContext('2d').getImageData("
            "0, 0, c.width, c.height).data.filter((v, i) => i % 4 == 3 && v > 127).length"
        )
        assert until(lambda: browser.execute_script(count)) == mask.sum()
        zipped = zipfile.ZipFile(io.BytesIO(urlopen(f"{url}/reviewed.zip").read()))
    names = [n for n in zipped.namelist() if n.endswith("_mask.png")]
    assert names == [f"{review.defect_class}/p-00_mask.png"]


def test_heat_lies_where_the_evidence_is(browser: webdriver.Chrome, path: Path) -> None:
    """The middle of the drawn stain must turn green on screen, and a far corner stay grey."""
    with serving(path) as url:
        browser.get(f"{url}/part/p-00")
        until(lambda: browser.find_elements(By.ID, "marks"))
        until(lambda: browser.execute_script("return document.getElementById('heat').complete"))
        data = np.frombuffer(browser.get_screenshot_as_png(), np.uint8)
        rect = "return document.getElementById('base').getBoundingClientRect().toJSON()"
        box = browser.execute_script(rect)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR).astype(np.float32)
    top, left = round(box["y"]), round(box["x"])
    height, width = round(box["height"]), round(box["width"])
    shown = image[top : top + height, left : left + width]
    green = cv2.blur(shown[..., 1] - shown[..., 2], (25, 25))  # viridis over grey: less red
    y, x = np.unravel_index(np.argmax(green), green.shape)
    assert abs(x - HOT_YX[1] * width) < width / 14 and abs(y - HOT_YX[0] * height) < height / 14
    assert np.abs(green[int(0.75 * height), int(0.2 * width)]) < 5 < green.max()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: webdriver.Chrome, path: Path, scheme: str) -> None:
    feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
    with serving(path, research=scheme == "dark") as url:
        for page in ("/", "/part/p-00", "/part/nobody", "/part/p-00#keys"):
            browser.get(url + page)
            if page.endswith("#keys"):
                until(lambda: browser.find_elements(By.ID, "marks"))
                press(browser, "?")
            assert not serious(browser), page
