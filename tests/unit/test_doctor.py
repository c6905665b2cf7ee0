"""`qc doctor`: the machine, the disk, a bundle, a line file, and how it ends."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_line import FirstPixel, picture, seal
from typer.testing import CliRunner, Result

from edge.doctor import command, disk, machine, packages, subject
from edge.doctor.checks import Check, Examination
from qc.cli import app
from qc.errors import FaultError
from qc.imageio import write_png

LINE = """
bundle = "toy.tflite"
journal = "j/line.db"
deadline_ms = {deadline}
[source]
kind = "{kind}"
{options}
[health]
port = {port}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The files of a system: one processor, 4 GB."""
    for name, text in {
        "proc/cpuinfo": "model name\t: Celery 100\nflags\t\t: fpu sse4_2\n",
        "proc/meminfo": "MemTotal: 4000000 kB\nMemAvailable: 1000000 kB\n",
        "dev/null": "",
    }.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    return tmp_path / "root"


def looked_at(root: Path) -> dict[str, Check]:
    found = Examination()
    machine.examine(found, root)
    return {check.check: check for check in found.checks}


def test_a_processor_without_fast_instructions_is_a_warning(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    found = looked_at(root)["processor"]
    assert found.state == "warning" and found.found.startswith("Celery 100, ")
    assert found.expected.startswith("avx2") and "qc doctor BUNDLE" in found.fix
    (root / "proc/cpuinfo").write_text("flags : sse4_2 avx2 fma\n")
    found = looked_at(root)["processor"]
    assert found.state == "ok" and found.found.endswith("cores, sse4_2 avx2 fma")
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    (root / "proc/cpuinfo").write_text("Model : Raspberry Pi 4\nFeatures : fp asimd\n")
    assert looked_at(root)["processor"].expected.startswith("asimddp")


@pytest.mark.parametrize(
    "files",
    [
        {"cpu.max": "50000 100000\n", "memory.max": "100000000\n"},
        {
            "cpu/cpu.cfs_quota_us": "50000\n",
            "cpu/cpu.cfs_period_us": "100000\n",
            "memory/memory.limit_in_bytes": "100000000\n",
        },
    ],
)
def test_the_limits_of_a_container_are_seen(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    found = looked_at(root)
    assert "at most 0.5 of them for this container" in found["processor"].found
    assert found["memory"].state == "warning"
    assert found["memory"].found == "0.1 GB of 0.1 GB free (limit of the container)"


def test_what_a_system_does_not_tell_is_no_fault(tmp_path: Path) -> None:
    found = looked_at(tmp_path)
    assert found["memory"].state == "note"
    assert "flags unknown" in found["processor"].found and found["processor"].state == "ok"
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("max 100000\n")
    assert "at most" not in looked_at(tmp_path)["processor"].found


def test_cameras_and_accelerators_are_listed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked_at(root)["cameras"].found == "no /dev/video*"
    for name, text in {
        "dev/video0": "",
        "dev/apex_0": "",
        "sys/class/video4linux/video0/name": "Eye 3\n",
        "sys/bus/usb/devices/1-1/idVendor": "18d1\n",
        "sys/bus/usb/devices/1-1/idProduct": "9302\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    found = looked_at(root)
    assert found["cameras"].state == "ok" and "video0 (Eye 3)" in found["cameras"].found
    assert "Coral Edge TPU" in found["accelerators"].found
    assert "Coral Edge TPU (USB)" in found["accelerators"].found
    assert found["accelerators"].found.endswith("not used, a line runs on the CPU")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    shut = looked_at(root)["cameras"]
    assert shut.state == "warning" and "usermod -aG video" in shut.fix


def test_a_clock_that_is_behind_is_wrong(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "is_synchronised", lambda: True)
    assert looked_at(root)["clock"].state == "ok"
    monkeypatch.setattr(machine, "is_synchronised", lambda: False)
    assert looked_at(root)["clock"].state == "warning"
    monkeypatch.setattr(machine.time, "time", lambda: 86400.0 * 365)
    wrong = looked_at(root)["clock"]
    assert wrong.state == "wrong" and wrong.found.startswith("1971-01-01 00:00:00 UTC")


def test_the_kernel_is_asked_and_not_told() -> None:
    assert machine.is_synchronised() in (True, False, None)


def on_disk(journal: Path, min_free_gb: float = 0.0) -> tuple[dict[str, Check], dict[str, Any]]:
    found = Examination()
    disk.examine(found, journal, min_free_gb)
    return {check.check: check for check in found.checks}, found.facts["disk"]


def test_a_folder_is_written_synced_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("kept")
    found, facts = on_disk(tmp_path / "new" / "deep" / "j.db")
    assert found["sync"].state in ("ok", "warning")
    assert facts["folder"] == str(tmp_path / "new" / "deep")
    assert "(it will be made)" in found["journal folder"].found
    assert 0 < facts["fsync_p50_ms"] <= facts["fsync_max_ms"] and facts["free_bytes"] > 0
    assert [p.name for p in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_cannot_be_written_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found, _ = on_disk(tmp_path / "file" / "j.db")
    wrong = found["journal folder"]
    assert wrong.state == "wrong" and wrong.found.endswith("file: Not a directory")
    assert wrong.fix.startswith("sudo install -d")


@pytest.mark.parametrize(
    ("kind", "mode", "state", "says"),
    [
        ("ext4", "wal", "ok", ""),
        ("nfs4", "wal", "wrong", "a local disk"),
        ("ext4", "delete", "wrong", "write-ahead"),
        ("tmpfs", "wal", "warning", "a disk that outlives a restart of the machine"),
        ("overlay", "wal", "warning", "a disk that outlives the container"),
    ],
)
def test_the_kind_of_disk_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, mode: str, state: str, says: str
) -> None:
    monkeypatch.setattr(disk, "file_system", lambda _: kind)
    monkeypatch.setattr(disk, "wal", lambda _: mode)
    found = on_disk(tmp_path / "j.db")[0]["journal folder"]
    assert (found.state, says in found.expected) == (state, True)


def test_a_full_and_a_slow_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "sync_ms", lambda _: (80.0, 200.0))
    free = on_disk(tmp_path / "j.db", 1e9)[0]
    assert free["free disk"].state == "wrong" and "no picture is kept" in free["free disk"].expected
    assert free["sync"].state == "warning" and free["sync"].found == "80.0 ms, at worst 200.0 ms"
    monkeypatch.setattr(disk, "LITTLE_BYTES", 1e18)
    assert on_disk(tmp_path / "j.db")[0]["free disk"].state == "warning"

    def broken(_: Path) -> str:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(disk, "wal", broken)
    assert "disk I/O error" in on_disk(tmp_path / "j.db")[0]["journal folder"].found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle and a folder of parts on a machine that loads everything; the toy predictor runs."""

    def loads(found: Examination) -> bool:
        found.add("python", "ok", "9")
        return True

    monkeypatch.setattr(packages, "examine", loads)
    monkeypatch.setattr(machine, "examine", lambda found: None)
    monkeypatch.setattr(disk, "SLOW_SYNC_MS", 1e9)
    monkeypatch.setattr(disk, "LITTLE_BYTES", 0)
    monkeypatch.setattr(subject, "LiteRTPredictor", lambda bundle: FirstPixel())
    seal(tmp_path / "toy.tflite")
    (tmp_path / "parts").mkdir()
    write_png(tmp_path / "parts" / "a.png", picture(0))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def asked(*words: object) -> tuple[Result, dict[str, Any]]:
    ran = CliRunner().invoke(app, ["doctor", *map(str, words), "--json"])
    return ran, json.loads(ran.stdout)


def states(told: dict[str, Any]) -> dict[str, str]:
    return {check["check"]: check["state"] for check in told["checks"]}


def line(folder: Path, **given: object) -> Path:
    values = {"deadline": 1000, "kind": "folder", "options": 'path = "parts"', "port": 0} | given
    file = folder / "line.toml"
    file.write_text(LINE.format(**values))
    return file


def test_a_bundle_is_opened_replayed_and_timed(folder: Path) -> None:
    ran, told = asked("toy.tflite")
    assert ran.exit_code == 0 and told["ok"] is True and told["file"] == "toy.tflite"
    bundle = told["bundle"]
    assert (bundle["golden"], bundle["verdict_flips"]) == (4, 0)
    assert 0 < bundle["p50_ms"] <= bundle["p99_ms"]
    assert states(told)["inspection"] == "ok"
    assert ran.stderr.splitlines()[-1].startswith("this machine can run a line: ")
    assert "not signed" in ran.stderr and "toy.tflite" in ran.stderr


def test_a_damaged_bundle_is_one_of_the_checks(folder: Path) -> None:
    whole = (folder / "toy.tflite").read_bytes()
    (folder / "cut.tflite").write_bytes(whole[:-40])
    ran, told = asked("cut.tflite")
    assert ran.exit_code == 1 and told["ok"] is False
    assert states(told)["bundle"] == "wrong" and states(told)["sync"] == "ok"
    said = ran.stderr.splitlines()
    assert said[-1] == "error 1 of 5 checks are wrong; found bundle"
    assert "    take it from who exported it" in said


def test_a_bundle_that_does_not_replay_is_wrong(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "LiteRTPredictor", lambda bundle: FirstPixel(shift=0.5))
    ran, told = asked("toy.tflite")
    assert ran.exit_code == 1 and states(told)["golden inputs"] == "wrong"

    def refuses(_: object) -> None:
        raise FaultError("the model cannot be run")

    monkeypatch.setattr(subject, "LiteRTPredictor", refuses)
    ran, told = asked("toy.tflite")
    assert ran.exit_code == 1 and "the model cannot be run" in ran.stderr


def test_a_bundle_that_nobody_signed_is_refused_where_a_key_is_named(folder: Path) -> None:
    CliRunner().invoke(app, ["keys", "new", "plant", "--out", "keys"])
    ran, told = asked("toy.tflite", "--key", "keys/plant.pub")
    assert ran.exit_code == 1 and states(told)["bundle"] == "wrong"
    assert "not signed" in ran.stderr
    CliRunner().invoke(app, ["keys", "sign", "toy.tflite", "--key", "keys/plant.key"])
    ran, told = asked("toy.tflite", "--key", "keys/plant.pub")
    assert ran.exit_code == 0 and "which fits" in ran.stderr


def test_a_line_file_is_looked_at_as_a_whole(folder: Path) -> None:
    pytest.importorskip("starlette", reason="the live extra is not installed")
    ran, told = asked(line(folder))
    assert ran.exit_code == 0, ran.stderr
    names = ["line file", "journal folder", "bundle", "golden inputs", "source folder", "page"]
    assert {name: states(told)[name] for name in names} == dict.fromkeys(names, "ok")
    assert told["disk"]["folder"] == str(folder / "j")
    assert not (folder / "j").exists(), "it only looks"


@pytest.mark.parametrize(
    ("given", "check", "says"),
    [
        ({"options": 'path = "nothing"'}, "source folder", "nothing"),
        ({"options": 'path = "parts"\ncolour = 1'}, "line file", "colour"),
        ({"kind": "camera", "options": "device = 99"}, "source camera", "/dev/video99"),
        ({"deadline": 0.000001}, "inspection", "deadline"),
        (
            {"kind": "rtsp", "options": 'url = "rtsp://cam/1"\npassword_env = "QC_NO_SUCH"'},
            "source rtsp",
            "QC_NO_SUCH",
        ),
    ],
)
def test_what_a_line_file_lacks_is_named(
    folder: Path, given: dict[str, object], check: str, says: str
) -> None:
    ran, told = asked(line(folder, **given))
    assert ran.exit_code == 1
    assert [name for name, state in states(told).items() if state == "wrong"] == [check]
    (found,) = [c for c in told["checks"] if c["check"] == check]
    assert says in found["found"] + found["expected"]


def test_a_port_that_is_taken(folder: Path, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("starlette", reason="the live extra is not installed")
    ran, told = asked(line(folder, port=taken))
    assert ran.exit_code == 1 and states(told)["page"] == "wrong"
    ran, told = asked(line(folder, kind="http_upload", options=f"port = {taken}"))
    assert ran.exit_code == 1 and states(told)["port of source http_upload"] == "wrong"
    trigger = f'path = "parts"\ntrigger = {{ kind = "http", port = {taken} }}'
    ran, told = asked(line(folder, options=trigger))
    assert ran.exit_code == 1 and states(told)["port of source folder"] == "wrong"
    running = {"state": "running", "started_at": "2025-03-04"}
    monkeypatch.setattr(subject, "ask", lambda journal, request: running)
    (folder / "j").mkdir()
    (folder / "j" / "line.db.control").touch()
    ran, told = asked(line(folder, port=taken))
    assert ran.exit_code == 0 and states(told)["line"] == "note"


def test_a_page_without_its_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "find_spec", lambda name: None)
    ran, told = asked(line(folder))
    assert "cannot be served without uvicorn, starlette, prometheus_client" in ran.stderr
    assert states(told)["page"] == "wrong" and "pip install 'attention-qc[live]'" in ran.stderr


def test_nothing_is_loaded_that_does_not_load(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "examine", lambda found: False)
    monkeypatch.setattr(command, "load", lambda *names: pytest.fail(f"loaded {names}"))
    for file in (folder / "toy.tflite", line(folder)):
        ran, told = asked(file)
        assert ran.exit_code == 1
        wrong = [c["check"] for c in told["checks"] if c["found"] == "not tried"]
        assert wrong == ["bundle" if file.suffix == ".tflite" else "line file"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nowhere.tflite",), "nowhere.tflite: there is no such file"),
        (("parts",), "parts: there is no such file"),
        (("line.toml", "--journal", "j.db"), "names its journal and its keys itself"),
        (("line.toml", "--key", "toy.tflite"), "names its journal and its keys itself"),
        (("--key", "toy.tflite"), "--key is for a bundle"),
        (("toy.tflite", "--key", "no.pub"), "no.pub: there is no such file"),
    ],
)
def test_what_cannot_be_meant_is_one_error(folder: Path, words: tuple[str, ...], says: str) -> None:
    line(folder)
    ran, told = asked(*words)
    assert ran.exit_code == 2 and list(told) == ["error"]
    assert says in ran.stderr
