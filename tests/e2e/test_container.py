"""The container file of docs/deploy: it builds, and its line judges, answers, stops and goes on.

Needs podman and the base image that the file names, already on this machine: docs/deploy/README.md
says how to make it. Packages come from pip's index; `QC_PODMAN_BUILD` holds further options of
`podman build`, such as `--network host`. One to three minutes.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from program import Made

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "deploy" / "Containerfile"
NAME = "attention-qc-test"
NOTHING_TO_TRAIN = ("tensorflow", "keras", "albumentations", "scipy", "sklearn", "pip")

LINE = """
bundle = "part.tflite"
journal = "/data/journal.db"
[source]
kind = "folder"
path = "/images"
watch = true
[health]
host = "0.0.0.0"
"""


def _base() -> str:
    found = re.search(r"^FROM (\S+)", FILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return found[1]


def _why_not() -> str:
    if shutil.which("podman") is None:
        return "podman is not installed"
    asked = subprocess.run(["podman", "image", "exists", _base()], capture_output=True, check=False)
    return f"the image {_base()} is not on this machine" if asked.returncode else ""


WHY_NOT = _why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


def podman(*words: object, code: int = 0) -> str:
    ran = subprocess.run(
        ["podman", *map(str, words)], capture_output=True, text=True, timeout=900, check=False
    )
    assert ran.returncode == code, f"podman {words}: {ran.returncode}\n{ran.stderr[-3000:]}"
    return ran.stdout


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """The image, built."""
    options = shlex.split(os.environ.get("QC_PODMAN_BUILD", ""))
    podman("build", "--pull=never", "--format", "docker", *options, "-t", NAME, "-f", FILE, ROOT)
    yield NAME
    podman("rmi", "--force", NAME)


def inside(image: str, *words: object, code: int = 0) -> str:
    """What a command says in a container that is gone afterwards."""
    return podman("run", "--rm", "--pull=never", *words, code=code)


def test_nothing_to_train_with_is_in_it_and_its_health_is_asked(image: str) -> None:
    asked = f"import importlib.util as u; print([n for n in {NOTHING_TO_TRAIN} if u.find_spec(n)])"
    assert inside(image, "--entrypoint", "python", image, "-c", asked).strip() == "[]"
    (told,) = json.loads(podman("inspect", image))
    assert told["User"] == "attention-qc"
    assert told["Healthcheck"]["Test"][0] == "CMD"


@pytest.fixture
def line(image: str, made: Made, tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A running line: the folder that it watches, and the port of its page."""
    settings, images = tmp_path / "etc", tmp_path / "images"
    for folder in (settings, images):
        folder.mkdir()
        folder.chmod(0o755)  # another user looks into it
    shutil.copy(made.bundle, settings / "part.tflite")
    (settings / "line.toml").write_text(LINE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    hardened = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "all"]
    hardened += ["--security-opt", "no-new-privileges", "--stop-timeout", "60"]
    mounts = ["-v", f"{settings}:/etc/attention-qc:ro", "-v", f"{images}:/images:ro"]
    mounts += ["-v", f"{NAME}:/data", "-p", f"127.0.0.1:{port}:8400"]
    try:
        podman("run", "-d", "--pull=never", "--name", NAME, *hardened, *mounts, image)
        yield images, port
    finally:
        podman("rm", "--force", "--volumes", NAME)
        podman("volume", "rm", "--force", NAME)


def until(true: Callable[[dict[str, Any]], bool], port: int) -> dict[str, Any]:
    """What the page says once something is true of it."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                told: dict[str, Any] = json.load(answer)
            if true(told):
                return told
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.3)
    pytest.fail(f"did not come true: {podman('logs', NAME)}")


def test_a_line_in_it_judges_stops_well_and_goes_on(
    image: str, made: Made, line: tuple[Path, int]
) -> None:
    images, port = line
    until(lambda told: told["state"] == "running", port)
    for part in sorted((made.parts / "good").glob("*.png"))[:6]:
        shutil.copy(part, images / f"new_{part.name}")
    told = until(lambda told: told["captured"] == 6 and told["in_flight"] == 0, port)
    assert told["fault"] == 0 and sum(told["dropped"].values()) == 0
    podman("healthcheck", "run", NAME)
    podman("stop", NAME)
    assert podman("inspect", NAME, "--format", "{{.State.ExitCode}}").strip() == "0"
    journal = ("-v", f"{NAME}:/data", image, "journal")
    verified = json.loads(
        inside(image, *journal, "verify", "/data/journal.db", "--images", "--json")
    )
    assert verified["ok"] and verified["rows"]["inspections"] == 6
    podman("start", NAME)
    until(lambda told: told["state"] == "running", port)
    podman("stop", NAME)
    asked = inside(image, *journal, "query", "/data/journal.db", "--events", "--json")
    events = json.loads(asked)["events"]
    assert [e["detail"]["before"] for e in events if e["kind"] == "start"] == ["none", "stopped"]
    assert [e["detail"]["reason"] for e in events if e["kind"] == "stop"] == ["SIGTERM"] * 2
