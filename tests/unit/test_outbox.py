"""Store and forward: whatever a sink does, nothing is lost, nothing overtakes, nobody waits."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from toy_line import FirstPixel, Frames, frame, picture, seal, wait_until
from toy_outbox import ACTIONS, Safe, Told, deliver, ids, journal_rows, outbox, put_aside

from edge import outbox as module
from edge.line import Line
from edge.message import NeverTakenError
from edge.outbox import Outbox
from edge.progress import Place, Progress, progress_file
from qc.errors import DataError, FaultError
from qc.journal import JournalWriter
from qc.types import Verdict


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.01, 0.05))
    monkeypatch.setattr(module, "STUCK_S", 0.1)


@pytest.fixture(scope="module")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return journal_rows(tmp_path_factory.mktemp("twenty") / "line.journal", ids(1, 20))


@pytest.fixture
def path(tmp_path: Path, twenty: Path) -> Path:
    return Path(shutil.copy(twenty, tmp_path))


# where a sink begins and goes on


def test_a_new_sink_begins_with_the_next_inspection_or_at_the_start(path: Path) -> None:
    late, early = Told(), Told()
    box = Outbox(path, {"late": late, "early": early}, ACTIONS, from_start=["early"])
    box.start()
    journal_rows(path, ids(21, 25))
    box.wake()
    wait_until(lambda: len(late.seen) == 5 and len(early.seen) == 25)
    assert box.close(2.0) == []
    assert late.seen == ids(21, 25) and early.seen == ids(1, 25)
    assert (late.closed, early.closed) == (1, 1)


def test_the_beginning_is_kept_although_nothing_was_told(path: Path) -> None:
    """A line that was killed before its first part told nobody; those parts are told later."""
    assert deliver(path, from_start=False, a=Told()) == []
    journal_rows(path, ids(21, 22))
    sink = Told()
    deliver(path, from_start=False, a=sink)
    assert sink.seen == ids(21, 22)


def test_each_start_goes_on_where_the_last_one_ended(path: Path) -> None:
    first, second, third = Told(), Told(), Told()
    assert deliver(path, a=first) == [] and first.seen == ids(1, 20)
    journal_rows(path, ids(21, 23))
    assert deliver(path, a=second) == [] and second.seen == ids(21, 23)
    assert deliver(path, a=third) == [] and third.seen == []


def test_news_are_told_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 60.0)
    monkeypatch.setattr(module, "KEEP_S", 60.0)
    sink = Told()
    box = outbox(path, a=sink)
    box.start()
    wait_until(lambda: len(sink.seen) == 20)
    for number in range(21, 24):
        journal_rows(path, ids(number, number))
        start = time.monotonic()
        box.wake()
        wait_until(lambda n=number: len(sink.seen) == n)
        assert time.monotonic() - start < 1.0
    box.close(2.0)


def test_a_journal_that_lost_its_end_is_told_anew_from_there(path: Path) -> None:
    """A power cut took rows 21 to 23 of the journal, and the place of the sink says 23."""
    progress = Progress(progress_file(path))
    progress.keep("a", Place(23, "i00023"))
    progress.close()
    sink = Told()
    box = outbox(path, a=sink)
    journal_rows(path, [f"new{n}" for n in range(5)])
    box.start()
    assert box.close(2.0) == []
    assert sink.seen == [f"new{n}" for n in range(5)], "positions 21 to 23 are not skipped"


def test_another_journal_of_the_same_name_is_told_whole(path: Path) -> None:
    progress = Progress(progress_file(path))
    progress.keep("a", Place(7, "of another journal"))
    progress.close()
    sink = Told()
    deliver(path, a=sink)
    assert sink.seen == ids(1, 20)


def test_without_a_journal_there_is_no_outbox(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no journal"):
        outbox(tmp_path / "missing", a=Told())


# a sink that fails


def test_an_outage_loses_nothing_and_keeps_the_order(path: Path) -> None:
    down, sound = Told(), Told()
    down.fault = ConnectionError("no route to host")
    box = outbox(path, down=down, sound=sound)
    box.start()
    wait_until(lambda: len(sound.seen) == 20 and len(down.tried) > 3)
    status, other = box.status()
    assert (status.sink_id, status.state, status.waiting) == ("down", "failing", 20)
    assert status.delivered == 0 and status.why == "no route to host"
    assert (other.state, other.waiting, other.delivered, other.why) == ("running", 0, 20, "")
    assert set(down.tried) == {"i00001"}, "no later message overtakes"
    down.fault = None
    wait_until(lambda: len(down.seen) == 20)
    status = box.status()[0]
    assert (status.state, status.waiting, status.why) == ("running", 0, "")
    assert box.close(2.0) == [] and down.seen == ids(1, 20)


def test_what_a_sink_refused_to_the_end_is_told_at_the_next_start(path: Path) -> None:
    sink = Told()
    sink.fault = OSError("no route to host")
    start = time.monotonic()
    (said,) = deliver(path, timeout_s=5.0, a=sink)
    assert time.monotonic() - start < 2, "a sink that fails is not waited for"
    assert said == (
        "a: 20 not delivered yet, they will be at the next start; no route to host"
    ) and sink.closed  # fmt: skip
    again = Told()
    assert deliver(path, a=again) == [] and again.seen == ids(1, 20)


def test_waits_between_tries_grow_up_to_a_bound(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    real = module._Delivery._wait

    def wait(self: module._Delivery, timeout_s: float, *, news: bool) -> None:
        waits.append(timeout_s)
        real(self, 0.0, news=news)

    monkeypatch.setattr(module, "BACKOFF_S", (0.5, 30.0))
    monkeypatch.setattr(module._Delivery, "_wait", wait)
    sink = Told()
    sink.fault = OSError("down")
    box = outbox(path, a=sink)
    box.start()
    wait_until(lambda: len(waits) > 9)
    box.close(2.0)
    assert waits[:9] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_news_do_not_shorten_the_wait_of_a_sink_that_fails(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (30.0, 30.0))
    sink = Told()
    sink.fault = OSError("down")
    box = outbox(path, a=sink)
    box.start()
    wait_until(lambda: len(sink.tried) == 1)
    for _ in range(20):
        box.wake()
        time.sleep(0.005)
    assert len(sink.tried) == 1
    box.close(2.0)


def test_a_sink_that_cannot_be_opened_is_opened_again(path: Path) -> None:
    class Shy(Safe):
        def open(self, line: str, fault_action: str) -> None:
            super().open(line, fault_action)
            if len(self.said) < 3:
                raise ConnectionRefusedError("not yet")

    sink = Shy()
    box = outbox(path, a=sink)
    box.start()
    wait_until(lambda: len(sink.seen) == 20)
    assert sink.said == [("open", "line", "hold")] * 3 and box.close(2.0) == []


# a sink that hangs


def test_a_sink_that_hangs_holds_up_nobody(path: Path) -> None:
    stuck, sound = Told(), Told()
    stuck.free.clear()
    box = outbox(path, stuck=stuck, sound=sound)
    box.start()
    wait_until(lambda: len(sound.seen) == 20)
    wait_until(lambda: box.status()[0].state == "stuck")
    assert "a call has not returned for" in box.status()[0].why
    assert box.status()[1].state == "running"
    start = time.monotonic()
    for _ in range(1000):
        box.wake()
    assert time.monotonic() - start < 1.0, "waking never waits for a sink"
    start = time.monotonic()
    (said,) = box.close(0.2)
    assert time.monotonic() - start < 2.0
    assert said.startswith("stuck: it did not finish in time; 20 not delivered yet")
    assert sound.seen == ids(1, 20) and sound.closed
    stuck.free.set()


def test_a_slow_sink_is_left_in_time_and_keeps_its_place(path: Path) -> None:
    slow = Told(delay_s=0.05)
    start = time.monotonic()
    (said,) = deliver(path, timeout_s=0.2, a=slow)
    assert time.monotonic() - start < 1.5 and 0 < len(slow.seen) < 20
    assert said == f"a: {20 - len(slow.seen)} not delivered yet, they will be at the next start"
    again = Told()
    assert deliver(path, a=again) == [] and slow.seen + again.seen == ids(1, 20)


def test_patience_waits_as_long_as_a_sink_takes_messages(path: Path) -> None:
    slow = Told(delay_s=0.02)
    box = outbox(path, a=slow)
    box.start()
    assert box.close(0.2, patient=True) == [] and len(slow.seen) == 20
    stuck = Told()
    stuck.free.clear()
    box = outbox(path, b=stuck)
    box.start()
    start = time.monotonic()
    assert len(box.close(0.2, patient=True)) == 1 and time.monotonic() - start < 2
    stuck.free.set()


# a message that a sink can never take


def test_a_message_at_fault_is_put_aside_and_the_next_goes_on(path: Path) -> None:
    sink = Told()
    sink.poison = {"i00005": DataError("no such code"), "i00009": NeverTakenError("no picture")}
    box = outbox(path, a=sink)
    box.start()
    wait_until(lambda: len(sink.seen) == 18)
    (status,) = box.status()
    assert status.state == "running" and status.delivered == 18 and status.waiting == 0
    assert status.why == "2 put aside, the last i00009: no picture"
    assert box.close(2.0) == ["a: 2 put aside, the last i00009: no picture"]
    assert sink.seen == [n for n in ids(1, 20) if n not in sink.poison]
    assert (sink.tried.count("i00005"), sink.tried.count("i00009")) == (3, 1)
    assert put_aside(path, "a") == [("i00005", "no such code"), ("i00009", "no picture")]


def test_a_message_at_fault_does_not_keep_a_line_from_ending(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (30.0, 30.0))
    sink = Told()
    sink.poison = {"i00005": DataError("no such code")}
    (said,) = deliver(path, a=sink)
    assert said.startswith("a: 1 put aside") and len(sink.seen) == 19


def test_a_fault_of_the_connection_is_never_put_aside(path: Path) -> None:
    sink = Told()
    sink.poison = {"i00005": FaultError("the broker is down")}
    box = outbox(path, a=sink)
    box.start()
    wait_until(lambda: sink.tried.count("i00005") > 6)
    sink.poison = {}
    wait_until(lambda: len(sink.seen) == 20)
    assert box.close(2.0) == [] and put_aside(path, "a") == []


class Flagged(Told):
    verdicts = (Verdict.NG, Verdict.FAULT)


def test_a_sink_is_told_of_the_verdicts_that_it_names_alone(tmp_path: Path) -> None:
    """Rows that it does not want are passed, also many of them, and none twice."""
    path = tmp_path / "new.journal"
    journal_rows(path, ids(1, 300))
    journal_rows(path, ["bad"], verdict=Verdict.NG)
    journal_rows(path, ids(301, 303))
    sink, all_of_them = Flagged(), Told()
    assert deliver(path, a=sink, b=all_of_them) == []
    assert sink.seen == ["bad"]
    assert len(all_of_them.seen) == 304
    progress = Progress(progress_file(path))
    assert progress.place("a") == progress.place("b") == Place(304, "i00303")
    progress.close()
    journal_rows(path, [*ids(400, 600), *(f"late{n}" for n in range(3))], verdict=Verdict.FAULT)
    again = Flagged()
    assert deliver(path, a=again) == []
    told = again.seen
    assert told == [*ids(400, 600), "late0", "late1", "late2"], "more than are read at once"


def test_a_sink_that_wants_nothing_of_it_is_up_to_date_while_the_line_runs(path: Path) -> None:
    box = outbox(path, a=Flagged())
    box.start()
    wait_until(lambda: box.status()[0].waiting == 0)
    assert box.status()[0].delivered == 0
    assert box.close(2.0) == []


def test_a_closed_journal_is_one_file_although_sinks_read_it(tmp_path: Path) -> None:
    """The connection that sinks hold is closed before the writer's: SQLite then tidies up."""
    bundle, path = seal(tmp_path / "toy.tflite"), tmp_path / "j.db"
    sink = Told()
    with JournalWriter(path, bundle.manifest, "toy 1.0") as journal:
        frames = Frames([frame(n, picture()) for n in range(50)], delay_s=0.002)
        Line(bundle, FirstPixel(), frames, journal, sinks={"a": sink}).run()
    assert len(sink.seen) == 50
    log = Path(f"{path}-wal")
    assert not log.exists() or log.stat().st_size == 0, "all of it stands in the one file"
