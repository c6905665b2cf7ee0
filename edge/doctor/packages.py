"""Python and the packages: what this distribution asks for, what is installed, and what loads."""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from edge.doctor.checks import Examination

OURS = "attention-qc"

RUNTIMES = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
"""Distribution -> package of what runs a model, the first that is there."""

WHEELS = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
)
"""Each of them brings `cv2`, and writes over the files of another."""

LINE_EXTRAS = ("edge", "live", "mqtt", "webhook", "station", "parquet")
"""What a machine at the line may need; the others are for where models are made."""

_SUMS = ("all", "dev")
"""Extras that are no one thing."""

_LOAD_S = 60.0
_MISSING = " is not installed"

_NUMPY = "import numpy as m; m.ones((8, 8), m.float32) @ m.ones((8, 8), m.float32); said = {}"
_OPENCV = """
import cv2 as m, numpy
m.resize(numpy.zeros((8, 8, 3), numpy.uint8), (4, 4))
asked = m.videoio_registry
names = lambda found: [asked.getBackendName(b) for b in found if asked.hasBackend(b)]
gui = [l.split(":")[1].strip() for l in m.getBuildInformation().splitlines() if "GUI:" in l]
said = {
    "version": m.__version__,
    "cameras": names(asked.getCameraBackends()),
    "streams": names(asked.getStreamBackends()),
    "windows": bool(gui) and gui[0] != "NONE",
}
"""
_PLAIN = "import {} as m; said = {{}}"


@dataclass(frozen=True, slots=True)
class Needed:
    """A distribution that is asked for.

    Args:
        name: as it is installed.
        limits: of its version.
        extra: that asks for it; "": the base.
    """

    name: str
    limits: SpecifierSet
    extra: str = ""

    def __str__(self) -> str:
        return f"{self.name}{self.limits}"

    def allows(self, version: str) -> bool:
        """Whether a version is within the limits; one before a release counts."""
        return self.limits.contains(version, prereleases=True)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of loading something in a process of its own.

    Args:
        why: it did not load; "" where it did.
        said: by what was loaded.
    """

    why: str
    said: dict[str, Any]


def requirements(lines: Iterable[str], extras: Iterable[str]) -> list[Needed]:
    """What the metadata of a distribution asks for on this Python (`Requires-Dist`, PEP 508).

    Its own extras among them are left out.

    Args:
        lines: as they stand in the metadata.
        extras: that it has.
    """
    found = []
    for asked in map(Requirement, lines):
        if asked.name == OURS:
            continue
        marker = asked.marker
        always = marker is None or marker.evaluate({"extra": ""})
        for extra in [""] if always else extras:
            if marker is None or marker.evaluate({"extra": extra}):
                found.append(Needed(asked.name, asked.specifier, extra))
    return found


def version_of(distribution: str) -> str | None:
    """What is installed; None where nothing is."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def wheels_here() -> list[str]:
    """The OpenCV wheels that are installed."""
    return [name for name in WHEELS if version_of(name) is not None]


def install(extra: str) -> str:
    """The command that brings an extra; "" stands for the base."""
    return f"pip install '{OURS}[{extra}]'" if extra else f"pip install '{OURS}'"


def examine(found: Examination) -> bool:
    """Look at Python, packages, runtime and OpenCV.

    Returns:
        Whether what runs a model loads, so that it may be loaded in this process too.
    """
    found.facts |= {"python": platform.python_version(), "packages": {}, "runtime": None}
    found.facts |= {"opencv": {"wheels": wheels_here()}, "extras": {}}
    try:
        about = metadata.metadata(OURS)
    except metadata.PackageNotFoundError:
        _python(found, "")
        found.add(
            "attention-qc", "wrong", "not installed", expected="its metadata", fix=install("edge")
        )
        asked: list[Needed] = []
    else:
        _python(found, about["Requires-Python"] or "")
        found.add("attention-qc", "ok", f"{about['Version']}")
        extras = about.get_all("Provides-Extra") or ()
        asked = requirements(about.get_all("Requires-Dist") or (), extras)
    versions = {r.name: version_of(r.name) for r in asked if r.extra not in ("dev",)}
    found.facts["packages"] = dict(sorted(versions.items(), key=lambda pair: pair[0].lower()))
    _base(found, [r for r in asked if r.extra == ""])
    loaded = _load_all([name for name in RUNTIMES if version_of(name) is not None])
    if loaded["python"].why:
        fix = "run it as the line's user, in an environment that this user may read"
        expected = f"that {sys.executable} can be started"
        found.add("loading", "wrong", loaded["python"].why, expected=expected, fix=fix)
        return False
    runs = _runtimes(found, loaded)
    sees = _opencv(found, loaded["opencv"])
    for name in ("numpy", "pydantic", "cryptography"):
        if loaded[name].why and version_of(name) is not None:
            fix = f"pip install --force-reinstall {name}"
            found.add(name, "wrong", loaded[name].why, expected="that it loads", fix=fix)
            runs = False
    _extras(found, asked)
    return runs and sees


def _python(found: Examination, asked: str) -> None:
    here = platform.python_version()
    needed = Needed("python", SpecifierSet(asked))
    text = f"{here} on {platform.machine()}, {sys.prefix}"
    found.add(
        "python",
        "ok" if needed.allows(here) else "wrong",
        text,
        expected=str(needed),
        fix=f"make the environment with {needed}",
    )


def _wrong_with(needed: Needed) -> str:
    """What is wrong with how a requirement is met, in words; "" where nothing is."""
    names = wheels_here() if needed.name in WHEELS else [needed.name]
    versions = {name: version for name in names if (version := version_of(name)) is not None}
    if not versions:
        return f"{needed.name}{_MISSING}"
    wrong = [
        f"{name} {version}" for name, version in versions.items() if not needed.allows(version)
    ]
    return ", ".join(wrong)


def _base(found: Examination, needed: Sequence[Needed]) -> None:
    wrong = {str(r): why for r in needed if (why := _wrong_with(r))}
    if wrong:
        expected = ", ".join(wrong)
        found.add(
            "packages", "wrong", ", ".join(wrong.values()), expected=expected, fix=install("")
        )
    elif needed:
        there = [(r.name, version_of(r.name)) for r in needed if version_of(r.name)]
        found.add("packages", "ok", ", ".join(f"{name} {version}" for name, version in there))


def _runtimes(found: Examination, loaded: dict[str, Loaded]) -> bool:
    there = [name for name in RUNTIMES if name in loaded]
    if not there:
        found.add(
            "runtime",
            "wrong",
            "neither ai-edge-litert nor tflite-runtime is installed",
            expected="one that loads",
            fix=install("edge"),
        )
        return False
    used, *others = there
    name = f"{used} {version_of(used)}"
    if loaded[used].why:
        fix = f"pip install --force-reinstall {used}"
        found.add(
            "runtime", "wrong", f"{name}: {loaded[used].why}", expected="that it loads", fix=fix
        )
        return False
    found.facts["runtime"] = name
    beside = "".join(f"; {other} {version_of(other)} is not used" for other in others)
    found.add("runtime", "ok", f"{name} loads{beside}")
    return True


def _opencv(found: Examination, loaded: Loaded) -> bool:
    found.facts["opencv"] |= loaded.said
    wheels = found.facts["opencv"]["wheels"]
    if len(wheels) > 1:
        found.add(
            "opencv",
            "wrong",
            f"{len(wheels)} wheels over each other: {', '.join(wheels)}",
            expected="one wheel",
            fix=f"pip uninstall -y {' '.join(wheels)} && pip install {wheels[0]}",
        )
    if loaded.why:
        fix = f"pip install --force-reinstall {WHEELS[0]}"
        found.add("opencv", "wrong", loaded.why, expected="that it loads", fix=fix)
        return False
    said = loaded.said
    if len(wheels) <= 1:
        name = wheels[0] if wheels else "cv2 of the system"
        windows = "windows" if said["windows"] else "no windows (--show needs opencv-python)"
        found.add("opencv", "ok", f"{name} {said['version']}, {windows}")
    lacks = []
    if sys.platform == "linux" and "V4L2" not in said["cameras"]:
        lacks.append("V4L2 (source camera)")
    if "FFMPEG" not in said["streams"]:
        lacks.append("FFMPEG (sources rtsp and video)")
    found.add(
        "video",
        "warning" if lacks else "ok",
        f"cameras by {', '.join(said['cameras']) or 'nothing'}; "
        f"streams by {', '.join(said['streams']) or 'nothing'}",
        expected=" and ".join(lacks),
        fix=f"pip install --force-reinstall {WHEELS[0]}",
    )
    return True


def _extras(found: Examination, asked: Sequence[Needed]) -> None:
    """Extras that are whole in one line; a line for each of the edge's that is not."""
    names = sorted({r.extra for r in asked} - {"", *_SUMS})
    lacking = {
        name: {r.name: why for r in asked if r.extra == name and (why := _wrong_with(r))}
        for name in names
    }
    older = (found.facts["runtime"] or "").startswith("tflite-runtime")
    lacking.pop("edge" if older else "edge-tflite", None)  # one stands in for the other
    found.facts["extras"] = {
        name: {"installed": not missing, "missing": list(missing), "install": install(name)}
        for name, missing in lacking.items()
    }
    whole = [name for name, missing in lacking.items() if not missing]
    found.add("extras", "ok" if whole else "note", ", ".join(whole) or "none")
    for name in [n for n in LINE_EXTRAS if lacking.get(n)]:
        command = install(name)
        found.add(f"extra {name}", "note", f"{_in_words(lacking[name])}: {command}", fix=command)
    others = [name for name, missing in lacking.items() if missing and name not in LINE_EXTRAS]
    if others:
        text = f"{', '.join(others)}, for where models are made: {install('NAME')}"
        found.add("other extras", "note", text, fix=install(",".join(others)))


def _in_words(lacking: dict[str, str]) -> str:
    """What an extra lacks: the names of what is missing, and what has another version."""
    missing = [name for name, why in lacking.items() if why.endswith(_MISSING)]
    other = [why for why in lacking.values() if not why.endswith(_MISSING)]
    return "; ".join([*other, *([f"without {', '.join(missing)}"] if missing else [])])


def _load_all(runtimes: Sequence[str]) -> dict[str, Loaded]:
    codes = {
        "python": "said = {}",
        "numpy": _NUMPY,
        "opencv": _OPENCV,
        "pydantic": _PLAIN.format("pydantic"),
        "cryptography": _PLAIN.format("cryptography.hazmat.primitives.asymmetric.ed25519"),
        **{name: _PLAIN.format(f"{RUNTIMES[name]}.interpreter") for name in runtimes},
    }
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(codes, pool.map(load, codes.values()), strict=True))


def load(code: str) -> Loaded:
    """Run code that leaves a dict in `said`, in a process of its own.

    Never raises: what went wrong is told in words.
    """
    command = [sys.executable, "-P", "-c", f"{code}\nimport json; print(json.dumps(said))"]
    try:
        ran = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LOAD_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Loaded(f"did not load within {_LOAD_S:.0f} s", {})
    except OSError as error:
        return Loaded(f"no other process can be started: {error.strerror}", {})
    if ran.returncode < 0:
        name = signal.Signals(-ran.returncode).name
        hint = ": built for another processor" if name in ("SIGILL", "SIGBUS") else ""
        return Loaded(f"ends the process by {name}{hint}", {})
    if ran.returncode != 0:
        lines = ran.stderr.strip().splitlines() or ["no word of why"]
        return Loaded(f"does not load: {lines[-1]}", {})
    said: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    return Loaded("", said)
