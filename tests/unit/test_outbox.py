"""Store and forward: whatever a sink does, nothing is lost, nothing overtakes, nobody waits."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from toy_line import wait_until
from toy_outbox import ACTIONS, Safe, Told, deliver, ids, journal_rows, outbox

import edge.sinks
from edge import outbox as module
from edge.message import NeverTakenError
from edge.outbox import Outbox
from edge.progress import Place, Progress, progress_file
from qc.errors import DataError, FaultError
from qc.journal import Journal
from qc.linefile import read_line
from qc.plugins import resolve

ROOT = Path(__file__).parents[2]


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


def put_aside(path: Path, sink_id: str) -> list[tuple[str, str]]:
    progress = Progress(progress_file(path))
    found = [(item.inspection_id, item.why) for item in progress.put_aside(sink_id)]
    progress.close()
    return found


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


# the progress


def test_a_full_disk_stops_no_delivery(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Told()
    sink.poison = {"i00005": NeverTakenError("no picture")}
    box = outbox(path, a=sink)
    real = Progress.keep

    def full(*_: object) -> None:
        raise FaultError("the progress of the sinks cannot be written", found="disk full")

    monkeypatch.setattr(Progress, "keep", full)
    monkeypatch.setattr(module, "KEEP_S", 0.0)
    box.start()
    wait_until(lambda: len(sink.seen) == 19)
    wait_until(lambda: "disk full" in box.status()[0].why)
    monkeypatch.setattr(Progress, "keep", real)  # there is room again
    wait_until(lambda: "disk full" not in box.status()[0].why)
    assert len(box.close(2.0)) == 1 and put_aside(path, "a") == [("i00005", "no picture")]
    again = Told()
    deliver(path, a=again)
    assert again.seen == []


def test_a_progress_that_is_no_database_is_refused(path: Path) -> None:
    progress_file(path).write_text("time,verdict\n" * 200)
    with pytest.raises(FaultError, match=r"line\.journal\.sinks\.db: .*cannot be opened"):
        outbox(path, a=Told())


# the state of the line


def test_the_fail_safe_is_told_and_taken_back_with_the_next_part(path: Path) -> None:
    safe, plain = Safe(), Told()
    box = outbox(path, safe=safe, plain=plain)
    box.start()
    wait_until(lambda: len(safe.seen) == 20 and len(plain.seen) == 20)
    box.fail_safe("hold", "the journal cannot be written")
    wait_until(lambda: len(safe.said) == 2)
    assert safe.said[1] == ("fail_safe", "hold", "the journal cannot be written")
    journal_rows(path, ids(21, 23))
    box.wake()
    wait_until(lambda: len(safe.seen) == 23 and len(plain.seen) == 23)
    assert safe.said[2:] == [("resume", "20")], "once, before the first part after it"
    assert box.close(2.0) == []


def test_what_was_journaled_before_the_fail_safe_does_not_take_it_back(path: Path) -> None:
    safe = Safe()
    safe.fault = OSError("down")
    box = outbox(path, safe=safe)
    box.start()
    wait_until(lambda: len(safe.tried) > 1)
    box.fail_safe("reject", "the watchdog")
    time.sleep(0.05)
    safe.fault = None
    wait_until(lambda: len(safe.seen) == 20)
    assert box.close(2.0) == []
    assert safe.said == [("open", "line", "hold"), ("fail_safe", "reject", "the watchdog")]


def test_the_fail_safe_is_told_before_the_sink_is_closed(path: Path) -> None:
    safe = Safe()
    box = outbox(path, safe=safe)
    box.start()
    box.fail_safe("hold", "the end")
    box.close(2.0)
    assert ("fail_safe", "hold", "the end") in safe.said and safe.closed == 1


# the end


def test_an_outbox_that_never_started_closes_its_sinks_and_tells_nothing(path: Path) -> None:
    sink = Told()
    assert outbox(path, a=sink).close(1.0) == [
        "a: 20 not delivered yet, they will be at the next start"
    ]
    assert sink.closed == 1 and sink.seen == []


def test_closing_twice_is_harmless_and_no_thread_stays(path: Path) -> None:
    before = set(threading.enumerate())
    sink = Told()
    box = outbox(path, a=sink)
    box.start()
    assert box.close(2.0) == [] and box.close(2.0) == [] and sink.closed == 1
    assert set(threading.enumerate()) <= before


def test_a_sink_that_fails_at_its_end_is_said(path: Path) -> None:
    class Bad(Told):
        def close(self) -> None:
            raise OSError("the last bytes were not written")

    assert deliver(path, a=Bad()) == ["a: the last bytes were not written"]


KILLED = """
import sys, time
from pathlib import Path
from toy_outbox import Told, outbox
out = open(sys.argv[2], "a", buffering=1)
class Slow(Told):
    def write(self, message):
        time.sleep(0.002)
        out.write(message.row.inspection_id + "\\n")
box = outbox(Path(sys.argv[1]), a=Slow())
box.start()
print("started", flush=True)
time.sleep(60)
"""


def test_kill_9_loses_nothing(tmp_path: Path) -> None:
    """Killed on its way: every message came, in order, and duplicates have the same id."""
    path = journal_rows(tmp_path / "line.journal", ids(1, 400))
    told = tmp_path / "told"
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), str(told)],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests/unit'}"},
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None and child.stdout.readline() == b"started\n"
    time.sleep(0.4)
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdout.close()
    rest = Told()
    assert deliver(path, a=rest, timeout_s=10.0) == []
    assert 0 < len(rest.seen) < 400, "it went on and did not begin anew"
    seen = told.read_text().split() + rest.seen
    assert [*dict.fromkeys(seen)] == ids(1, 400)
    assert len(seen) - 400 < 250, "not more than what was told since the place was recorded"


# one new file

SIREN = '''
"""A siren."""
from pathlib import Path
from qc.tables import Table

class Options(Table):
    path: Path
    loud: int = 1

class Sink:
    def __init__(self, path, loud, bundle):
        self.path, self.loud = path, loud
    def write(self, message):
        with self.path.open("a") as file:
            print(self.loud, message.row.seq, message.action, file=file)
    def close(self):
        pass
'''


def test_a_new_sink_is_one_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = path.parent / "plugins"
    folder.mkdir()
    (folder / "siren.py").write_text(SIREN)
    monkeypatch.setattr(edge.sinks, "__path__", [*edge.sinks.__path__, str(folder)])
    spec = edge.sinks.__spec__
    assert spec is not None
    monkeypatch.setattr(spec, "submodule_search_locations", list(edge.sinks.__path__))
    line = path.parent / "line.toml"
    line.write_text(
        textwrap.dedent("""
        bundle = "m.tflite"
        journal = "line.journal"
        [source]
        kind = "folder"
        path = "parts"
        [[sinks]]
        kind = "siren"
        path = "heard.txt"
        loud = 11
        begin = "start"
        """)
    )
    (table,) = read_line(line).sinks
    sink = resolve("sink", table.kind).Sink(**table.arguments, bundle=None)
    box = Outbox(path, {table.id: sink}, ACTIONS, from_start=[table.id])
    box.start()
    assert box.close(2.0) == []
    heard = (path.parent / "heard.txt").read_text().splitlines()
    assert heard == [f"11 {n} pass" for n in range(1, 21)]
    assert Journal(path).counts()["captured"] == 20
