"""What `qc doctor` says of packages: what is asked for, what is installed, and what loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge.doctor import packages
from edge.doctor.checks import Check, Examination
from edge.doctor.packages import Loaded, load, requirements

ASKED = [
    "numpy>=1.26",
    "opencv-python-headless>=4.8",
    'ai-edge-litert>=1.2; extra == "edge"',
    'cryptography>=42; extra == "edge"',
    'numpy<2; extra == "edge-tflite"',
    "paho-mqtt (>=2) ; extra == 'mqtt'",
    'old-one; python_version < "3.0" and extra == "mqtt"',
    'attention-qc[edge,mqtt]; extra == "all"',
    'keras>=3.8; extra == "train"',
    'pytest>=8; extra == "dev"',
]
EXTRAS = ["edge", "edge-tflite", "mqtt", "all", "train", "dev"]
INSTALLED = {
    "numpy": "2.4.6",
    "opencv-python-headless": "5.0.0.93",
    "ai-edge-litert": "2.3.0",
    "cryptography": "50.0.2",
}
SAID = {"version": "5.0.0", "cameras": ["V4L2"], "streams": ["FFMPEG"], "windows": False}


class About(dict[str, str]):
    """The metadata of a distribution."""

    def get_all(self, name: str) -> list[str]:
        return {"Requires-Dist": ASKED, "Provides-Extra": EXTRAS}[name]


def examined(
    monkeypatch: pytest.MonkeyPatch,
    *,
    without: tuple[str, ...] = (),
    loads: dict[str, Loaded] | None = None,
    python: str = ">=3.11",
    **more: str,
) -> tuple[Examination, bool]:
    """An examination of a machine with `INSTALLED`, but `without` some and with `more`."""
    there = {k: v for k, v in INSTALLED.items() if k not in without}
    there |= {name.replace("_", "-"): version for name, version in more.items()}
    about = About({"Version": "9", "Requires-Python": python})
    monkeypatch.setattr(packages.metadata, "metadata", lambda _: about)
    monkeypatch.setattr(packages, "version_of", there.get)
    good = dict.fromkeys(("python", "numpy", "pydantic", "cryptography"), Loaded("", {}))
    good |= {"opencv": Loaded("", SAID)} | {
        n: Loaded("", {}) for n in packages.RUNTIMES if n in there
    }
    monkeypatch.setattr(packages, "_load_all", lambda _: good | (loads or {}))
    found = Examination()
    return found, packages.examine(found)


def only(found: Examination, state: str) -> Check:
    """The one check of a state."""
    (check,) = [c for c in found.checks if c.state == state]
    return check


def test_requirements_are_read_as_they_stand_in_the_metadata() -> None:
    found = requirements(ASKED, EXTRAS)
    assert [(str(r), r.extra) for r in found] == [
        ("numpy>=1.26", ""),
        ("opencv-python-headless>=4.8", ""),
        ("ai-edge-litert>=1.2", "edge"),
        ("cryptography>=42", "edge"),
        ("numpy<2", "edge-tflite"),
        ("paho-mqtt>=2", "mqtt"),
        ("keras>=3.8", "train"),
        ("pytest>=8", "dev"),
    ]


@pytest.mark.parametrize(
    ("asked", "version", "allowed"),
    [
        ("a>=1.26", "1.26.0", True),
        ("a>=1.26", "1.9.9", False),
        ("a>=4.8,<4.12", "4.11.0.86", True),
        ("a>=4.8,<4.12", "4.12", False),
        ("a>=0.dev20250101", "0.dev20261023182759", True),
        ("a==2.0", "2", True),
        ("a", "0.1", True),
    ],
)
def test_a_version_is_within_its_limits(asked: str, version: str, allowed: bool) -> None:
    (needed,) = requirements([asked], [])
    assert needed.allows(version) is allowed


def test_a_whole_machine_has_nothing_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    found, loads = examined(monkeypatch)
    assert loads and found.ok
    assert found.facts["runtime"] == "ai-edge-litert 2.3.0"
    assert found.facts["extras"]["edge"] == {
        "installed": True,
        "missing": [],
        "install": "pip install 'attention-qc[edge]'",
    }
    assert found.facts["packages"] == {
        "ai-edge-litert": "2.3.0",
        "cryptography": "50.0.2",
        "keras": None,
        "numpy": "2.4.6",
        "opencv-python-headless": "5.0.0.93",
        "paho-mqtt": None,
    }
    assert {c.check: c.found for c in found.checks if c.state == "note"} == {
        "extra mqtt": "without paho-mqtt: pip install 'attention-qc[mqtt]'",
        "other extras": "train, for where models are made: pip install 'attention-qc[NAME]'",
    }


def test_an_extra_of_another_version_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = examined(monkeypatch, paho_mqtt="1.6.1")
    (mqtt,) = [c for c in found.checks if c.check == "extra mqtt"]
    assert mqtt.found == "paho-mqtt 1.6.1: pip install 'attention-qc[mqtt]'"
    assert mqtt.fix == "pip install 'attention-qc[mqtt]'"
    assert found.facts["extras"]["mqtt"]["installed"] is False


def test_without_a_runtime_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    found, loads = examined(monkeypatch, without=("ai-edge-litert",))
    assert not loads and found.facts["runtime"] is None
    wrong = only(found, "wrong")
    assert wrong.check == "runtime" and wrong.fix == "pip install 'attention-qc[edge]'"
    assert "neither ai-edge-litert nor tflite-runtime" in wrong.found


def test_the_older_runtime_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    found, loads = examined(
        monkeypatch, without=("ai-edge-litert",), tflite_runtime="2.14.0", numpy="1.26.4"
    )
    assert loads and found.ok and found.facts["runtime"] == "tflite-runtime 2.14.0"
    assert "edge" not in found.facts["extras"]
    assert found.facts["extras"]["edge-tflite"]["installed"]
    both, _ = examined(monkeypatch, tflite_runtime="2.14.0")
    (runtime,) = [c for c in both.checks if c.check == "runtime"]
    assert runtime.found == "ai-edge-litert 2.3.0 loads; tflite-runtime 2.14.0 is not used"


@pytest.mark.parametrize("name", ["ai-edge-litert", "opencv", "numpy", "pydantic"])
def test_what_does_not_load_is_wrong(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    more = {"pydantic": "2.0"} if name == "pydantic" else {}
    loads = {name: Loaded("does not load: no libGL", {})}
    found, usable = examined(monkeypatch, loads=loads, **more)
    assert not usable
    wrong = only(found, "wrong")
    assert "no libGL" in wrong.found and wrong.fix.startswith("pip install --force-reinstall")


def test_two_opencv_wheels_are_told_with_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = examined(monkeypatch, opencv_python="5.0.0.93")
    wrong = only(found, "wrong")
    assert wrong.found == "2 wheels over each other: opencv-python-headless, opencv-python"
    assert wrong.fix == (
        "pip uninstall -y opencv-python-headless opencv-python "
        "&& pip install opencv-python-headless"
    )


def test_one_wheel_of_another_kind_is_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    found, loads = examined(
        monkeypatch, without=("opencv-python-headless",), opencv_python="4.10.0.84"
    )
    assert loads and found.ok and found.facts["opencv"]["wheels"] == ["opencv-python"]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"numpy": "1.20"}, ("numpy 1.20", "numpy>=1.26")),
        ({"opencv_python_headless": "4.1"}, ("opencv-python-headless 4.1", "python-headless>=4.8")),
    ],
)
def test_a_package_that_is_too_old_is_wrong(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], names: tuple[str, str]
) -> None:
    found, _ = examined(monkeypatch, **given)
    wrong = only(found, "wrong")
    assert wrong.check == "packages"
    assert names[0] in wrong.found and names[1] in wrong.expected


def test_a_python_that_is_too_old_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = examined(monkeypatch, python=">=9.1")
    assert only(found, "wrong").expected == "python>=9.1"


def test_an_opencv_without_cameras_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Loaded("", SAID | {"cameras": [], "streams": []})
    found, loads = examined(monkeypatch, loads={"opencv": said})
    warning = only(found, "warning")
    assert loads and found.ok and warning.check == "video"
    assert "FFMPEG (sources rtsp and video)" in warning.expected
    assert ("V4L2" in warning.expected) is (sys.platform == "linux")


def test_a_source_that_was_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise packages.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(packages.metadata, "metadata", missing)
    found = Examination()
    packages.examine(found)
    assert [c.check for c in found.of("wrong")] == ["attention-qc"]


def test_a_python_that_cannot_be_started_again_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packages.sys, "executable", "/no/such/python")
    why = load("said = {}").why
    assert why == "no other process can be started: No such file or directory"
    shut = dict.fromkeys(("python", "numpy", "opencv", "ai-edge-litert"), Loaded(why, {}))
    found, usable = examined(monkeypatch, loads=shut)
    assert not usable and only(found, "wrong").found == why
    assert {"python", "packages", "runtime", "opencv", "extras"} <= set(found.facts)


def test_what_this_very_machine_loads() -> None:
    found = Examination()
    packages.examine(found)
    opencv = found.facts["opencv"]
    assert opencv["version"] and {"cameras", "streams"} <= set(opencv)
    assert found.facts["packages"]["numpy"] is not None


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("said = {'a': 1}", ""),
        ("print('chatter'); said = {'a': 1}", ""),
        ("import no_such_thing", "does not load: ModuleNotFoundError: No module named"),
        ("raise ImportError('libGL.so.1: not there')", "libGL.so.1: not there"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
            "ends the process by SIGILL: built for another processor",
        ),
        ("import os; os._exit(3)", "no word of why"),
    ],
)
def test_a_library_that_ends_its_process_does_not_end_this_one(code: str, why: str) -> None:
    loaded = load(code)
    assert why in loaded.why and bool(why) is bool(loaded.why)
    assert loaded.said == ({} if why else {"a": 1})


def test_one_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_LOAD_S", 0.2)
    assert load("import time; time.sleep(60)").why == "did not load within 0 s"


def test_nothing_native_is_loaded_before_it_was_tried() -> None:
    code = (
        "import sys, edge.doctor.command\n"
        "print({'numpy', 'cv2', 'pydantic', 'ai_edge_litert', 'tflite_runtime'} & set(sys.modules))"
    )
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "set()"
