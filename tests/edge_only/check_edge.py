"""What an installation of the edge extra alone must do; plain Python, for nothing else is there.

    python check_edge.py BUNDLE IMAGES

BUNDLE is a bundle of this project and IMAGES a folder of pictures. What is installed is what is
checked: run it with -P, from another folder than the checkout.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ABSENT = ("tensorflow", "keras", "albumentations", "sklearn", "fastapi", "pytest")
RUNTIMES = ("ai-edge-litert", "tflite-runtime")
VERDICTS = ("OK", "NG", "REVIEW", "FAULT")
IMAGES = 40
"""Pictures of the folder that are taken at most."""


def main(arguments: list[str]) -> int:
    """Run every check; the exit code."""
    places = [Path(a).resolve() for a in arguments]
    if len(places) != 2 or not places[0].is_file() or not places[1].is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    bundle, images = places
    check_installation()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        pictures = copy_pictures(images, home / "pictures")
        verified, code = qc(home, "verify", bundle)
        say(f"verify: {verified['runtime']}, golden {verified['golden']}")
        check(code == 0 and verified["ok"] is True, f"the bundle does not replay: {verified}")
        check_doctor(home, bundle)
        shown = check_show(home, bundle)
        inspected = check_inspect(home, bundle, pictures, shown)
        check_run(home, bundle, pictures, inspected)
    say("the edge alone does its work")
    return 0


def check_installation() -> None:
    """Nothing of training is there, and the packages come from the installation."""
    found = [name for name in ABSENT if importlib.util.find_spec(name) is not None]
    check(not found, f"must not be importable here: {found}")
    check(importlib.util.find_spec("cv2") is not None, "OpenCV is not installed")
    for name in ("qc", "edge"):
        spec = importlib.util.find_spec(name)
        place = "" if spec is None else str(spec.origin)
        check("site-packages" in place, f"{name} is not the installed one but {place or 'absent'}")
    say(f"installed in {sys.prefix}; {', '.join(ABSENT)} are not importable")


def check_doctor(home: Path, bundle: Path) -> None:
    """Nothing is wrong with this installation, and what is not installed is told."""
    found, code = qc(home, "doctor", bundle)
    wrong = [c for c in found.get("checks", [found]) if c.get("state", "wrong") == "wrong"]
    check(code == 0 and not wrong, f"doctor: exit {code}, {wrong}")
    check(found["runtime"].rpartition(" ")[0] in RUNTIMES, f"doctor: {found['runtime']}")
    check(not found["extras"]["train"]["installed"], "doctor: finds the extra train")
    check(found["bundle"]["verdict_flips"] == 0, f"doctor: {found['bundle']}")
    say(f"doctor: {found['runtime']}, p50 {found['bundle']['p50_ms']} ms for an inspection")


def copy_pictures(images: Path, folder: Path) -> list[Path]:
    """Some pictures of a folder and one that is cut off, under plain names."""
    endings = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
    found = [f for f in sorted(images.rglob("*")) if f.suffix.lower() in endings]
    parts = [f for f in found if not f.stem.endswith("_mask")]
    check(len(parts) >= 2, f"too few pictures in {images}")
    folder.mkdir()
    step = max(1, len(parts) // IMAGES)
    for number, file in enumerate(parts[::step][:IMAGES]):
        shutil.copy(file, folder / f"part{number:03d}{file.suffix}")
    (folder / "zz_cut_off.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    return sorted(folder.iterdir())


def check_show(home: Path, bundle: Path) -> dict[str, Any]:
    """The manifest is complete."""
    shown, code = qc(home, "show", bundle)
    check(code == 0, f"show: exit {code}")
    check(len(shown["classes"]) >= 2 and len(shown["bundle_id"]) == 16, f"show: {shown}")
    say(f"show: {shown['name']} {shown['bundle_id']}, {len(shown['classes'])} classes")
    return shown


def check_inspect(
    home: Path, bundle: Path, pictures: list[Path], shown: dict[str, Any]
) -> dict[str, str]:
    """Every picture has a verdict and every flagged one an overlay; the verdict of each name."""
    import cv2

    out = home / "overlays"
    began = time.monotonic()
    found, code = qc(home, "inspect", bundle, home / "pictures", "--out", out)
    check(code == 0, f"inspect: exit {code}")
    rows = found["images"]
    check([r["path"] for r in rows] == [str(f) for f in pictures], "inspect: not every picture")
    counts = Counter(row["verdict"] for row in rows)
    check(found["counts"] == {v: counts[v] for v in VERDICTS}, f"inspect: {found['counts']}")
    check(counts["FAULT"] == 1 and rows[-1]["verdict"] == "FAULT", "inspect: the cut-off picture")
    names = [c["name"] for c in shown["classes"]]
    overlays = 0
    for row in rows[:-1]:
        check(list(row["score"]) == names, f"inspect: scores of {row}")
        check((row["overlay"] is None) == (row["verdict"] == "OK"), f"inspect: overlay of {row}")
        if row["overlay"] is not None:
            overlays += 1
            check(cv2.imread(row["overlay"]) is not None, f"inspect: {row['overlay']}")
    files = len(list(out.iterdir())) if out.exists() else 0
    check(files == overlays, f"inspect: {files} files for {overlays} overlays")
    say(f"inspect: {dict(counts)}, {overlays} overlays, {time.monotonic() - began:.1f} s")
    return {Path(row["path"]).name: row["verdict"] for row in rows}


def check_run(home: Path, bundle: Path, pictures: list[Path], verdicts: dict[str, str]) -> None:
    """A line journals every picture, judges as `inspect` did and tells its sinks."""
    found, code = qc(home, "run", write_line(home, bundle))
    check(code == 0, f"run: exit {code}")
    judged = {v: found[v.lower()] for v in VERDICTS}
    check(found["captured"] == len(pictures), f"run: {found}")
    check(found["captured"] == sum(judged.values()) + sum(found["dropped"].values()), f"{found}")
    check(found["sink_errors"] == [], f"run: {found['sink_errors']}")
    connection = sqlite3.connect(home / "journal.sqlite")
    journaled = dict(connection.execute("SELECT frame_id, verdict FROM inspections"))
    rows = connection.execute("SELECT count(*) FROM inspections").fetchone()[0]
    drops = connection.execute("SELECT count(*) FROM drops").fetchone()[0]
    connection.close()
    check(rows == len(pictures) and drops == 0, f"journal: {rows} rows and {drops} drops")
    check(journaled == verdicts, "the line and `qc inspect` judge differently")
    check(Counter(journaled.values()) == Counter({v: n for v, n in judged.items() if n}), "counts")
    with (home / "rows.csv").open(newline="", encoding="utf-8") as file:
        told = [row["verdict"] for row in csv.DictReader(file)]
    check(Counter(told) == Counter(journaled.values()), f"CSV sink: {Counter(told)}")
    flagged = len(list((home / "flagged").iterdir()))
    check(flagged == judged["NG"] + judged["REVIEW"], f"folder sink: {flagged} files")
    say(f"run: {rows} journaled {judged}, p50 {found['p50_ms']:.2f} ms")


def write_line(home: Path, bundle: Path) -> Path:
    """A line file over the pictures, with a journal and both sinks beside it."""
    file = home / "line.toml"
    file.write_text(
        f'bundle = "{bundle}"\njournal = "journal.sqlite"\n'
        '[source]\nkind = "folder"\npath = "pictures"\n'
        '[queue]\npolicy = "wait"\n'
        '[[sinks]]\nkind = "folder"\npath = "flagged"\n'
        '[[sinks]]\nkind = "csv_file"\npath = "rows.csv"\n',
        encoding="utf-8",
    )
    return file


def qc(home: Path, *arguments: object) -> tuple[Any, int]:
    """Run the installed `qc`; its object and its exit code."""
    program = Path(sys.executable).with_name("qc")
    check(program.is_file(), f"{program} is not installed")
    words = [str(program), *map(str, arguments), "--json"]
    done = subprocess.run(words, cwd=home, capture_output=True, text=True, check=False, timeout=300)
    check("Traceback" not in done.stderr, done.stderr)
    try:
        return json.loads(done.stdout), done.returncode
    except ValueError:
        fail(f"{' '.join(words)}: exit {done.returncode}, no JSON\n{done.stdout}{done.stderr}")


def check(true: bool, what: str) -> None:
    """Fail where something is not as it must be; `assert` would be silent under -O."""
    if not true:
        fail(what)


def fail(what: str) -> Any:
    """End with an exit code that a shell script sees."""
    raise SystemExit(f"FAILED: {what}")


def say(text: str) -> None:
    """One line of the record."""
    print(f"  {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
