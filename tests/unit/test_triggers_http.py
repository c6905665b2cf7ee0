"""Parts that the machine announces: each gets its frame or its fault."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from edge.triggers.http import Trigger
from qc.errors import UsageError
from qc.types import Frame, utc_now


def frame(monotonic_ns: int | None = None) -> Frame:
    return Frame(
        image=np.zeros((2, 2, 3), np.uint8),
        frame_id="f",
        source_id="cam",
        captured_at=utc_now(),
        monotonic_ns=time.monotonic_ns() if monotonic_ns is None else monotonic_ns,
        part_id="from the file",
    )


@pytest.fixture
def trigger() -> Iterator[Trigger]:
    made = Trigger(port=0, timeout_s=0.3, queue=2)
    yield made
    made.close()


def test_each_announced_part_fires_once_in_order(trigger: Trigger) -> None:
    before_ns = time.monotonic_ns()
    assert not trigger.fires(frame())
    answer = httpx.post(trigger.url, params={"part_id": "A", "lot": "L1"})
    assert answer.status_code == 202
    assert answer.json() == {"part_id": "A", "lot": "L1", "waiting": 1}
    assert httpx.post(trigger.url, headers={"X-Part-Id": "B"}).json()["waiting"] == 2
    assert not trigger.fires(frame(before_ns)), "a frame from before it came is not of this part"
    for part_id, lot in (("A", "L1"), ("B", None)):
        shown = frame()
        assert trigger.fires(shown)
        named = trigger.named(shown)
        assert (named.part_id, named.lot) == (part_id, lot)
        assert named.image is shown.image
    assert not trigger.fires(frame())


def test_a_part_without_a_name_keeps_that_of_the_frame(trigger: Trigger) -> None:
    httpx.post(trigger.url)
    assert trigger.fires(frame()) and trigger.named(frame()).part_id == "from the file"


def test_a_part_without_a_frame_is_a_fault(trigger: Trigger) -> None:
    httpx.post(trigger.url, params={"part_id": "A"})
    assert trigger.overdue("cam") == []
    time.sleep(0.35)
    assert not trigger.fires(frame()), "too late"
    lost = trigger.overdue("cam")
    assert [(f.part_id, f.source_id, f.image) for f in lost] == [("A", "cam", None)]
    assert lost[0].fault == "the part was announced and no frame of it came within 0.3 s"
    assert trigger.overdue("cam") == []
    httpx.post(trigger.url, params={"part_id": "B"})
    assert [f.part_id for f in trigger.close("cam")] == ["B"], "at the end too"


def test_what_is_too_much_or_too_long_is_refused(trigger: Trigger) -> None:
    assert httpx.post(trigger.url, params={"lot": "x" * 201}).status_code == 400
    assert [httpx.post(trigger.url).status_code for _ in range(3)] == [202, 202, 429]
    assert httpx.get(trigger.url).status_code == 405
    assert httpx.post(trigger.url, headers={"Origin": "http://a.example"}).status_code == 403


def test_a_token_is_asked_for_beyond_this_machine() -> None:
    with pytest.raises(UsageError, match=r"trigger 'http'.*only with a token"):
        Trigger(port=0, host="0.0.0.0")
