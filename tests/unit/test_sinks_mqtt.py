"""MQTT against a real mosquitto with TLS, client certificate, user and password."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broker import MOSQUITTO, PASSWORD, USER, Broker, Certificates, Listener, free_port
from toy_line import wait_until
from toy_outbox import ids, journal_rows, messages, outbox

from edge import outbox as module
from edge.sinks import mqtt
from qc.errors import FaultError, RecipeError, UsageError
from qc.tables import read_table

ROOT = Path(__file__).parents[2]

if MOSQUITTO is None:
    pytest.skip("mosquitto is not installed", allow_module_level=True)

each_protocol = pytest.mark.parametrize("protocol", ["3.1.1", "5"])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return journal_rows(tmp_path_factory.mktemp("journal") / "line3.journal", ids(1, 5))


@pytest.fixture
def broker(tmp_path: Path, certificates: Certificates) -> Iterator[Broker]:
    made = Broker(tmp_path, certificates)
    made.start()
    yield made
    made.kill()


@pytest.fixture
def listener(broker: Broker) -> Iterator[Listener]:
    made = Listener(broker)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QC_USER", USER)
    monkeypatch.setenv("QC_PASSWORD", PASSWORD)
    monkeypatch.setattr(mqtt, "_RETRY_S", (0.2, 0.2))
    monkeypatch.setattr(module, "BACKOFF_S", (0.05, 0.2))


def keys(broker: Broker, **changes: Any) -> dict[str, Any]:
    made = broker.certificates
    values = {"host": "127.0.0.1", "port": broker.port, "topic": "plant/line3", "ca": made.ca}
    values |= {"cert": made.client, "key": made.client_key, "timeout_s": 3.0}
    return values | {"user_env": "QC_USER", "password_env": "QC_PASSWORD"} | changes


def sink(broker: Broker, **changes: Any) -> mqtt.Sink:
    return mqtt.Sink(bundle=None, **keys(broker, **changes))  # type: ignore[arg-type]


@each_protocol
def test_parts_and_state_are_published(
    broker: Broker, listener: Listener, path: Path, protocol: str
) -> None:
    told = sink(broker, protocol=protocol)
    told.open("line3", "hold")
    for message in messages(path):
        told.write(message)
    told.fail_safe("reject", "the watchdog")
    told.resume()
    told.close()
    told.close()
    wait_until(lambda: len(listener.states) == 4 and len(listener.parts) == 5)
    assert listener.parts == [message.as_json() for message in messages(path)]
    found = [(s["state"], s["action"], s["why"], s["line"]) for s in listener.states]
    assert found == [
        ("running", None, "", "line3"),
        ("fail_safe", "reject", "the watchdog", "line3"),
        ("running", None, "", "line3"),
        ("stopped", "hold", "", "line3"),
    ]
    late = Listener(broker, "late")
    wait_until(lambda: len(late.states) == 1)
    assert late.states[0]["state"] == "stopped", "the state is retained"
    assert late.parts == [], "and the parts are not"
    late.close()


@each_protocol
def test_a_broker_that_is_killed_loses_nothing(
    broker: Broker, listener: Listener, tmp_path: Path, protocol: str
) -> None:
    """Killed while idle, then ended in full flow: each part arrives, in the journal's order."""
    journal = journal_rows(tmp_path / "line.journal", ids(1, 10))
    box = outbox(journal, plant=sink(broker, protocol=protocol, timeout_s=1.0))
    box.start()
    wait_until(lambda: len(listener.parts) == 10)
    broker.kill()
    journal_rows(journal, ids(11, 120))
    box.wake()
    wait_until(lambda: box.status()[0].state == "failing")
    assert "no connection" in box.status()[0].why and box.status()[0].waiting == 110
    broker.start()
    wait_until(lambda: len(listener.parts) > 20)
    broker.kill(signal.SIGTERM)  # it keeps what it has acknowledged
    assert box.status()[0].waiting > 0
    broker.start()
    wait_until(lambda: box.status()[0].waiting == 0)
    assert box.status()[0].state == "running" and box.close(3.0) == []
    wait_until(lambda: "i00120" in listener.ids)
    assert [*dict.fromkeys(listener.ids)] == ids(1, 120)


def test_a_broker_that_is_away_at_the_start_is_found_later(
    tmp_path: Path, certificates: Certificates
) -> None:
    broker = Broker(tmp_path, certificates)
    journal = journal_rows(tmp_path / "line.journal", ids(1, 10))
    box = outbox(journal, plant=sink(broker, timeout_s=0.2))
    box.start()
    wait_until(lambda: "refused" in box.status()[0].why)
    broker.start()
    listener = Listener(broker)
    wait_until(lambda: box.status()[0].waiting == 0)
    assert box.close(3.0) == []
    wait_until(lambda: len(listener.parts) == 10)
    assert listener.ids == ids(1, 10)
    listener.close()
    broker.kill()


def test_an_idle_line_says_again_that_it_runs_after_the_broker_was_away(
    broker: Broker, path: Path
) -> None:
    told = sink(broker)
    told.open("line3", "hold")
    broker.kill()
    broker.start()
    listener = Listener(broker)
    wait_until(lambda: len(listener.states) >= 1)
    assert listener.states[-1]["state"] == "running"
    told.close()
    listener.close()


KILLED = """
import sys, time
from edge.sinks.mqtt import Sink
host, port, ca, cert, key = sys.argv[1:]
sink = Sink(host, "plant/line3", None, int(port), ca=ca, cert=cert, key=key,
            user_env="QC_USER", password_env="QC_PASSWORD")
sink.open("line3", "reject")
print("open", flush=True)
time.sleep(60)
"""


def test_a_line_that_is_killed_leaves_its_last_will(broker: Broker, listener: Listener) -> None:
    made = broker.certificates
    files = [str(made.ca), str(made.client), str(made.client_key)]
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, "127.0.0.1", str(broker.port), *files],
        env={"PYTHONPATH": str(ROOT), "QC_USER": USER, "QC_PASSWORD": PASSWORD},
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None and child.stdout.readline() == b"open\n"
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdout.close()
    wait_until(lambda: [s["state"] for s in listener.states][-1:] == ["lost"])
    will = listener.states[-1]
    assert (will["state"], will["action"], will["why"]) == ("lost", "reject", mqtt.LOST)
    assert "at" not in will


@each_protocol
def test_a_broker_that_stands_still_gets_no_duplicate(
    certificates: Certificates, tmp_path: Path, path: Path, protocol: str
) -> None:
    """No answer in time is a fault; told again, the message is waited for and not sent anew."""
    broker = Broker(tmp_path, certificates)
    broker.start()
    listener = Listener(broker)
    told = sink(broker, protocol=protocol, timeout_s=0.5)
    told.open("line3", "hold")
    first, second = messages(path)[:2]
    told.write(first)
    broker.stop(signal.SIGSTOP)
    with pytest.raises(FaultError, match=r"did not take it; expected an answer within 0\.5 s"):
        told.write(second)
    broker.stop(signal.SIGCONT)
    told.write(second)
    told.close()
    wait_until(lambda: listener.states[-1]["state"] == "stopped")
    assert listener.ids == ids(1, 2)
    listener.close()
    broker.kill()


def test_a_wrong_password_is_said_and_tried_again(
    broker: Broker, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QC_PASSWORD", "guessed")
    told = sink(broker, timeout_s=0.5)
    with pytest.raises(FaultError, match=rf"127\.0\.0\.1:{broker.port}: .*Not authorized"):
        told.open("line3", "hold")
    with pytest.raises(FaultError, match="Not authorized"):
        told.write(messages(path)[0])
    with pytest.raises(FaultError):
        told.close()


def test_another_authority_is_not_trusted(
    broker: Broker, tmp_path: Path, certificates: Certificates
) -> None:
    (tmp_path / "other").mkdir()
    told = sink(broker, ca=Certificates(tmp_path / "other").ca, timeout_s=0.5)
    with pytest.raises(FaultError, match="certificate verify failed"):
        told.open("line3", "hold")
    with pytest.raises(FaultError):
        told.close()


def test_a_topic_that_is_not_allowed_is_a_fault_and_not_the_messages(
    broker: Broker, path: Path
) -> None:
    """MQTT 5 tells it; MQTT 3.1.1 has no word for it."""
    told = sink(broker, topic="elsewhere", protocol="5")
    told.open("line3", "hold")
    with pytest.raises(FaultError, match=r"refused it; .*Not authorized"):
        told.write(messages(path)[0])
    with pytest.raises(FaultError):
        told.close()


def test_a_secret_that_is_not_set_is_refused_at_once(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QC_PASSWORD")
    with pytest.raises(UsageError, match=r"'password_env'.*in QC_PASSWORD; found nothing"):
        sink(broker)
    with pytest.raises(FaultError, match=r"missing\.pem, .*: a certificate cannot be read"):
        sink(broker, password_env="", ca=Path("missing.pem"))


@pytest.mark.parametrize("topic", ["", "a/#", "a/+/b", "/a", "a/", "$SYS/a"])
def test_a_topic_is_plain(topic: str) -> None:
    with pytest.raises(RecipeError, match=r"sinks\.0\.topic"):
        read_table({"host": "h", "topic": topic}, mqtt.Options, "line.toml", "sinks.0.")


def test_the_port_follows_tls(certificates: Certificates) -> None:
    found = [
        mqtt.Sink("h", "t", None, **more).port  # type: ignore[arg-type]
        for more in ({}, {"tls": True}, {"ca": certificates.ca}, {"tls": True, "port": 7})
    ]
    assert found == [1883, 8883, 8883, 7]


def test_no_thread_stays_behind(broker: Broker) -> None:
    before = set(threading.enumerate())
    told = sink(broker)
    told.open("line3", "hold")
    told.close()
    wait_until(lambda: set(threading.enumerate()) <= before)
    away = sink(broker, port=free_port(), timeout_s=0.2)
    with pytest.raises(FaultError):
        away.open("line3", "hold")
    start = time.monotonic()
    with pytest.raises(FaultError):
        away.close()
    assert time.monotonic() - start < 3
    wait_until(lambda: set(threading.enumerate()) <= before)
