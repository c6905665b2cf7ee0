"""The line's page in a real browser: its script asks, and shows a degraded line as one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from browser.test_station_browser import CHROMIUM, chromium
from unit.test_live import FakeLine, status_of
from unit.toy_line import seal

from edge.live import LiveServer
from edge.status import SourceStatus

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def test_script_runs_and_shows_what_is_wrong(tmp_path: Path) -> None:
    lost = SourceStatus(
        "cam-side", "rtsp", "degraded", datetime.now(UTC), "no frame for 2.3 s <b>", 8812, 3
    )
    status = status_of(state="degraded")
    line = FakeLine(seal(tmp_path / "toy.tflite"), now=replace(status, sources=(lost,)))
    with LiveServer(line, port=0) as server:
        # without a part there is no live picture, which would keep the browser from ending
        dom = chromium(tmp_path, "--virtual-time-budget=3000", "--dump-dom", server.url)
    assert '<p id="state" class="state degraded" role="status">degraded</p>' in dom
    assert "cam-side: no frame for 2.3 s &lt;b&gt;" in dom  # text, never markup
    assert 'class="source degraded"' in dom and "taken up again 3 times" in dom
    assert "sink mqtt-0 is failing: refused" in dom
    assert dom.count('class="count"') == 7 and 'href="#mark-REVIEW"' in dom
