"""The outbox around its sinks: a full disk, the fail-safe, the end, a kill, and one new file."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from toy_line import wait_until
from toy_outbox import ACTIONS, Safe, Told, deliver, ids, journal_rows, outbox, put_aside

import edge.sinks
from edge import outbox as module
from edge.message import Message, NeverTakenError
from edge.outbox import Outbox
from edge.progress import Progress, progress_file
from qc.errors import DataError, FaultError
from qc.journal import Journal
from qc.linefile import read_line
from qc.plugins import resolve

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.01, 0.05))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return journal_rows(tmp_path / "line.journal", ids(1, 20))


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


def test_a_receiver_without_use_for_the_state_still_gets_the_parts(path: Path) -> None:
    class Deaf(Safe):
        def fail_safe(self, action: str, why: str) -> None:
            raise DataError("422 unknown event")

        def resume(self) -> None:
            raise DataError("422 unknown event")

    sink = Deaf()
    box = outbox(path, a=sink)
    box.start()
    wait_until(lambda: len(sink.seen) == 20)
    box.fail_safe("hold", "the watchdog")
    wait_until(lambda: "does not take the state" in box.status()[0].why)
    journal_rows(path, ids(21, 23))
    box.wake()
    wait_until(lambda: len(sink.seen) == 23)
    assert box.close(2.0) == ["a: it does not take the state of the line: 422 unknown event"]
    assert sink.tried == ids(1, 23) and put_aside(path, "a") == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_is_said(path: Path) -> None:
    class Deadly(Told):
        def write(self, message: Message) -> None:
            raise SystemExit

    box = outbox(path, a=Deadly())
    box.start()
    wait_until(lambda: box.status()[0].state == "failing")
    assert box.status()[0].why == "its thread has ended" and box.status()[0].waiting == 20
    assert box.close(2.0) == ["a: 20 not delivered yet, they will be at the next start"]


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

BEACON = '''
"""A beacon."""
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
    (folder / "beacon.py").write_text(BEACON)
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
        kind = "beacon"
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
