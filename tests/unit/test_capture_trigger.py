"""Parts that a trigger was told of: each is judged by its frame, or is a fault of its own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from toy_line import wait_until

from edge.capture import Capture
from edge.feed import Feed
from edge.sources.synthetic import Source
from edge.triggers.http import Trigger
from qc.types import Frame


@pytest.fixture
def trigger() -> Iterator[Trigger]:
    made = Trigger(port=0, timeout_s=0.2)
    yield made
    made.close()


def _capture(trigger: Trigger, parts: list[Frame], **camera: object) -> Capture:
    source = Source(rate_hz=50, size_hw=(8, 8), source_id="cam", **camera)  # type: ignore[arg-type]
    feed = Feed(source, None, "cam", "synthetic", trigger=trigger)
    return Capture(feed, parts.append, lambda _: None, lambda: None, lambda _: None)


def test_an_announced_part_is_judged_under_its_name(trigger: Trigger) -> None:
    parts: list[Frame] = []
    capture = _capture(trigger, parts)
    capture.start()
    for name in ("A", "B"):
        httpx.post(trigger.url, params={"part_id": name, "lot": "L"})
        wait_until(lambda: bool(parts) and parts[-1].part_id == name)  # noqa: B023
    capture.stop()
    capture.join(2)
    assert [(p.part_id, p.lot, p.fault) for p in parts] == [("A", "L", None), ("B", "L", None)]


def test_a_part_that_nobody_saw_is_a_fault_also_at_the_end(trigger: Trigger) -> None:
    parts: list[Frame] = []
    capture = _capture(trigger, parts, hang_after=1, hang_s=10.0)
    capture.start()
    httpx.post(trigger.url, params={"part_id": "A"})

    def looked() -> bool:
        capture.check()
        return bool(parts)

    wait_until(looked)
    httpx.post(trigger.url, params={"part_id": "B"})
    capture.stop()
    capture.join(2)
    assert [(p.part_id, p.source_id, p.image) for p in parts] == [
        ("A", "cam", None),
        ("B", "cam", None),
    ]
    assert all("was announced and no frame" in (p.fault or "") for p in parts)
