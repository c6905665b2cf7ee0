"""The figures of the line, each beside its bar; both sides of a ratio take turns in one run.

    python tests/bench/line.py BUNDLE [--minutes 30] [--seconds 60] [--only NAME ...] [--json FILE]

Ratios are medians over rounds. Where other work loads the machine, wall-clock figures say as much
of that work as of the line: so the processor's time per part stands beside them, and the load.
`installed` makes environments of its own with pip.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from edge.bench import Again, OneInTwenty, Rate, Times, Watch, bare_rate, cold_start, line_rate
from edge.predictors.litert import LiteRTPredictor
from qc.bundle import Bundle, open_bundle
from qc.imageio import write_png
from qc.journal_images import Durability
from qc.preprocess import apply
from qc.replay import Predictor
from qc.types import Frame, Image, Prediction, utc_now

ROOT = Path(__file__).parents[2]
ROUNDS = 5
PART_S = 0.01
"""Seconds between two parts at 100 a second."""
TINY_MS = 0.3
EXTRAS = (("edge", 340, ["-c", str(ROOT / "constraints.txt")]), ("edge-tflite", 280, []))

Row = tuple[str, str, str, bool | None]
"""What, the bar, what was measured, whether it holds; None: there is no bar."""


class InMemory:
    """Frames of one picture, at once or paced; the capture is when the frame is handed over."""

    is_live = False

    def __init__(self, image: Image, count: int, every_s: float = 0.0) -> None:
        self.image, self.count, self.every_s = image, count, every_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is held open."""

    def __iter__(self) -> Iterator[Frame]:
        begun = time.monotonic()
        for number in range(self.count):
            wait = begun + number * self.every_s - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            yield Frame(self.image, f"{number}", "memory", utc_now(), time.monotonic_ns())


class Tiny:
    """A model of 0.3 ms: the golden outputs for golden inputs, else that the part is good.

    It works rather than sleeps, and leaves Python's lock meanwhile, as a runtime does.
    """

    runtime = "tiny"

    def __init__(self, bundle: Bundle) -> None:
        golden, names = bundle.golden, bundle.manifest.class_names
        self._known = {i.tobytes(): n for n, i in enumerate(golden.images)}
        self._golden = golden
        self._good = np.eye(len(names), dtype=np.float32)[names.index(bundle.manifest.good)]
        probe, times = bytes(2_000_000), []
        for _ in range(20):
            start = time.thread_time()
            zlib.crc32(probe)
            times.append((time.thread_time() - start) * 1000)
        self._work = bytes(round(len(probe) * TINY_MS / statistics.median(times)))

    def predict(self, image: Image) -> Prediction:
        """One pass."""
        start = time.perf_counter_ns()
        attention = self._golden.attention
        if np.may_share_memory(image, self._golden.images):
            n = self._known[image.tobytes()]
            return Prediction(
                self._golden.score[n], None if attention is None else attention[n], 300_000
            )
        zlib.crc32(self._work)
        seen = None if attention is None else attention[0]
        return Prediction(self._good.copy(), seen, time.perf_counter_ns() - start)


def draw(bundle: Bundle, folder: Path, size_wh: tuple[int, int], ending: str) -> list[Path]:
    """The golden inputs enlarged, with a sensor's noise, as files."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    found = []
    for number, image in enumerate(bundle.golden.images):
        large = cv2.resize(image, size_wh, interpolation=cv2.INTER_CUBIC).astype(np.float32)
        noisy = large + rng.normal(0, 3, (*large.shape[:2], 1))
        pixels = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        found.append(folder / f"{number:03d}.{ending}")
        if ending == "png":
            write_png(found[-1], pixels)
        else:
            cv2.imwrite(str(found[-1]), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return found


def ratios(bare: Callable[[], Rate], line: Callable[[int], Rate]) -> tuple[float, Rate, Rate]:
    """Median of line ÷ bare, and the medians of both sides, line first."""
    rounds = [(bare(), line(number)) for number in range(ROUNDS)]
    middle = statistics.median
    sides = [Rate(*(middle(r[n][k] for r in rounds) for k in (0, 1))) for n in (1, 0)]
    return middle(b.fps / a.fps for a, b in rounds), sides[0], sides[1]


def throughput(bundle: Bundle, home: Path) -> Iterator[Row]:
    """Line ÷ bare, from files."""
    predictor = LiteRTPredictor(bundle)
    flagging = OneInTwenty(predictor, bundle)
    for size_wh, ending, count in (((300, 300), "png", 2000), ((1280, 1024), "jpg", 500)):
        paths = draw(bundle, home / ending, size_wh, ending)
        bare_rate(bundle, predictor, paths, 20)
        found = ratios(
            lambda paths=paths, count=count: bare_rate(bundle, predictor, paths, count),  # type: ignore[misc]
            lambda n, paths=paths, count=count, ending=ending: line_rate(  # type: ignore[misc]
                bundle, flagging, Again(paths, count), count, home / f"{ending}{n}", Times()
            ),
        )
        yield _ratio(f"line ÷ bare, {size_wh[0]}x{size_wh[1]} {ending.upper()}", 0.9, found)


def memory_frames(bundle: Bundle, home: Path) -> Iterator[Row]:
    """The same with frames in memory and a model of 0.3 ms."""
    height, width = bundle.manifest.preprocess.size_hw
    image = np.full((height, width, 3), 128, np.uint8)
    tiny: Predictor = Tiny(bundle)
    flagging, count = OneInTwenty(tiny, bundle), 5000
    spec = bundle.manifest.preprocess

    def bare() -> Rate:
        watch = Watch(count)
        for _ in range(count):
            tiny.predict(apply(spec, image))
        return watch.rate()

    def line(number: int) -> Rate:
        source = InMemory(image, count)
        return line_rate(bundle, flagging, source, count, home / f"m{number}", Times())

    yield _ratio("line ÷ bare, frames in memory, 0.3-ms model", 0.6, ratios(bare, line))


def _ratio(what: str, bar: float, found: tuple[float, Rate, Rate]) -> Row:
    ratio, line, bare = found
    said = f"{ratio:.2f} ({line.fps:.0f} ÷ {bare.fps:.0f} parts/s; "
    said += f"processor {line.processor_ms:.2f} and {bare.processor_ms:.2f} ms a part)"
    return what, f">= {bar:.2f}", said, ratio >= bar


def latency(bundle: Bundle, home: Path, seconds: float) -> Iterator[Row]:
    """Frame to journaled verdict over the bare invoke, at 100 parts a second."""
    predictor = LiteRTPredictor(bundle)
    count = round(seconds / PART_S)
    image = cv2.resize(bundle.golden.images[0], (300, 300))
    durabilities: tuple[Durability, ...] = ("full", "normal")
    for durability in durabilities:
        added: list[float] = []

        class Journaled(Times):
            """Told after the row is written: that moment, less the capture and the pass."""

            def write(self, inspection, added=added) -> None:  # type: ignore[no-untyped-def]
                age = (utc_now() - inspection.captured_at).total_seconds() * 1000
                added.append(age - inspection.timings_ms["infer"])

        source = InMemory(np.asarray(image, np.uint8), count, PART_S)
        flagging = OneInTwenty(predictor, bundle)
        folder = home / f"paced-{durability}"
        line_rate(bundle, flagging, source, count, folder, Journaled(), durability)
        p50, p99 = (float(np.percentile(added, q)) for q in (50, 99))
        said = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, {len(added)} parts in {seconds:g} s, no drop"
        what = f'added latency, frame to told after the journal, 100/s, durability "{durability}"'
        yield what, "p99 <= 5 ms", said, p99 <= 5


def memory(bundle: Bundle, home: Path, minutes: float) -> Iterator[Row]:
    """Resident memory of a line at full rate in a process of its own, and its slope."""
    code = (
        "import sys; from pathlib import Path; from bench.line import soak;"
        "soak(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    command = [sys.executable, "-c", code, str(bundle.path), str(home / "soak"), str(minutes)]
    samples: list[tuple[float, float]] = []
    begun = time.monotonic()
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths}) as process:
        while process.poll() is None:
            held = _rss_mb(process.pid)
            if held:
                samples.append((time.monotonic() - begun, held))
            time.sleep(0.5)
    if process.returncode != 0 or len(samples) < 20:
        yield "resident memory of the line", "<= 150 MB", "the line failed", False
        return
    highest = max(mb for _, mb in samples)
    yield "resident memory of the line", "<= 150 MB", f"{highest:.0f} MB at most", highest <= 150
    end = samples[-1][0] - 3  # its last seconds are the end of the line
    settled = np.array([s for s in samples if samples[-1][0] * 0.25 < s[0] < end])
    slope = float(np.polyfit(settled[:, 0] / 3600, settled[:, 1], 1)[0])
    said = f"{slope:+.2f} MB/h over the last three quarters of {minutes:g} min"
    yield "slope of it at full rate", "< 1 MB/h over 30 min", said, slope < 1


def soak(path: Path, home: Path, minutes: float) -> None:
    """A line at full rate over pictures on the disk, for so long."""
    home.mkdir()
    bundle = open_bundle(path)
    paths = draw(bundle, home / "soak", (300, 300), "png")
    end = time.monotonic() + minutes * 60

    class UntilThen(Again):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                if time.monotonic() > end:
                    return
                yield frame

    from edge.line import Line
    from edge.sinks.folder import Sink
    from qc.journal import JournalWriter

    predictor = OneInTwenty(LiteRTPredictor(bundle), bundle)
    with JournalWriter(home / "j.db", bundle.manifest, predictor.runtime) as journal:
        sinks = {"overlays": Sink(home / "overlays", bundle)}
        Line(bundle, predictor, UntilThen(paths, 10**9), journal, sinks=sinks).run()


def _rss_mb(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = [line.split()[1] for line in text.splitlines() if line.startswith("VmRSS:")]
    return int(found[0]) / 1024 if found else 0.0


def installed(bundle: Bundle, home: Path) -> Iterator[Row]:
    """Size of the edge extras alone, and the cold start with the first of them."""
    source = home / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "qc", "training", "export", "edge"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(source)], check=True)
    image = home / "part.png"
    write_png(image, np.asarray(cv2.resize(bundle.golden.images[0], (300, 300)), np.uint8))
    os.environ.pop("PYTHONPATH", None)
    for extra, bar, pins in EXTRAS:
        place = home / extra
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        python = str(place / "bin" / "python")
        pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *pins]
        if subprocess.run([*pip, f"{source}[{extra}]"], check=False).returncode != 0:
            yield f"site-packages of {extra}", f"<= {bar} MB", "pip failed", False
            continue
        packages = next(place.glob("lib/python*/site-packages"))
        gone = [python, "-m", "pip", "uninstall", "-qq", "-y", "setuptools", "pip"]
        subprocess.run(gone, check=True)  # they come with the environment, not with the extra
        sizes = {p.name: _du_mb(p) for p in packages.iterdir() if p.is_dir()}
        large = ", ".join(f"{n} {mb}" for n, mb in sorted(sizes.items(), key=lambda s: -s[1])[:5])
        mb = _du_mb(packages)
        yield f"site-packages of {extra}", f"<= {bar} MB", f"{mb} MB ({large})", mb <= bar
        if extra == "edge":
            starts = [cold_start(bundle.path, image, python) for _ in range(7)]
            command = [python, "-P", "-m", "qc.cli", "inspect", str(bundle.path), str(image)]
            busy = min(_processor_s(command) for _ in range(5))
            first = statistics.median(starts)
            said = f"{first:.2f} s ({min(starts):.2f} at best; processor {busy:.2f} s of the whole)"
            yield "cold start of qc inspect to its first verdict", "<= 1.0 s", said, first <= 1.0


def _du_mb(folder: Path) -> int:
    return int(subprocess.check_output(["du", "-sm", str(folder)]).split()[0])


def _processor_s(command: list[str]) -> float:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    return used.ru_utime + used.ru_stime


def live_cost(bundle: Bundle, home: Path) -> Iterator[Row]:
    """What the line pays while somebody watches its page: paced parts, watched and not."""
    from edge.live.pictures import Pictures

    image = np.asarray(cv2.resize(bundle.golden.images[0], (1280, 1024)), np.uint8)
    predictor = OneInTwenty(LiteRTPredictor(bundle), bundle)
    spent: dict[bool, list[float]] = {False: [], True: []}
    drawing: list[float] = []
    for number in range(2 * 3):
        watched, last, over = bool(number % 2), [], threading.Event()

        class Last(Times):
            def note(self, inspection, last=last) -> None:  # type: ignore[no-untyped-def]
                last[:] = [inspection]

        class Line:
            def __init__(self, last: list) -> None:  # type: ignore[type-arg]
                self.bundle, self.last = bundle, last

            def latest(self, source_id: str):  # type: ignore[no-untyped-def]
                return self.last[0] if self.last else None

        def watch(last=last, over=over) -> None:  # type: ignore[no-untyped-def]
            pictures = Pictures(Line(last))  # type: ignore[arg-type]
            while not over.wait(0.1):
                start = time.thread_time()
                pictures.picture("memory")
                drawing.append((time.thread_time() - start) * 1000)

        watcher = threading.Thread(target=watch, daemon=True)
        if watched:
            watcher.start()
        source = InMemory(image, 150)
        spent[watched].append(
            line_rate(bundle, predictor, source, 150, home / f"live{number}", Last()).fps
        )
        over.set()
    share = statistics.median(spent[True]) / statistics.median(spent[False])
    cost = statistics.median(drawing)
    said = f"{share:.2f} of its rate at full load; {cost:.1f} ms processor a picture, 10 a second"
    yield "line while its page is watched, 1280x1024", "(none)", said, None


def main() -> int:
    """Measure, print the table; 1 where a bar is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0, help="of the memory's slope")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the paced latency")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    bundle = open_bundle(told.bundle)
    failed, rows = 0, []
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        steps: dict[str, Callable[[], Iterator[Row]]] = {
            "throughput": lambda: throughput(bundle, home),
            "memory-frames": lambda: memory_frames(bundle, home),
            "latency": lambda: latency(bundle, home, told.seconds),
            "live": lambda: live_cost(bundle, home),
            "memory": lambda: memory(bundle, home, told.minutes),
            "installed": lambda: installed(bundle, home),
        }
        print("| what | bar | measured | holds | load |\n|---|---|---|---|---|", flush=True)
        for step in told.only or steps:
            for what, bar, measured, holds in steps[step]():
                load = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()}"
                word = {True: "yes", False: "NO", None: ""}[holds]
                print(f"| {what} | {bar} | {measured} | {word} | {load} |", flush=True)
                rows.append({"what": what, "bar": bar, "measured": measured, "holds": holds})
                failed += holds is False
    if told.json:
        told.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
