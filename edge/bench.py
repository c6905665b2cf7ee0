"""`qc bench`: what the line costs beside its interpreter, on the box and with the bundle at hand.

Both sides run in one process and take turns, so that whatever else the machine does falls on both.
The bare loop reads with OpenCV, resizes and invokes; the line does all that it does at work, with
its journal on and one part in twenty flagged, so that pictures and overlays are written.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import cv2
import numpy as np
from rich.table import Table

from edge.line import Line
from edge.picture_files import files, read_frame
from edge.predictors.litert import LiteRTPredictor
from edge.sinks.folder import Sink as FolderSink
from qc.bundle import Bundle, open_bundle
from qc.console import Command
from qc.errors import FaultError, UsageError
from qc.imageio import write_png
from qc.journal import JournalWriter
from qc.journal_images import Durability
from qc.preprocess import apply
from qc.replay import Predictor
from qc.types import Frame, Image, Inspection, Prediction

FLAGGED_EVERY = 20
"""One part in so many is flagged by the bench: 5 %."""

ROUNDS = 5
"""Turns of each side."""

LEAST_SIDE = 300
"""Pixels of the shorter side of the pictures that the bench draws itself."""

START_TRIES = 3


class Source(Protocol):
    """A source that a line can run."""

    is_live: bool

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def __iter__(self) -> Iterator[Frame]: ...


class Again:
    """So many frames from a few files, read anew each time; a source that is never live."""

    is_live = False

    def __init__(self, paths: Sequence[Path], count: int) -> None:
        self.paths = paths
        self.count = count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is held open."""

    def __iter__(self) -> Iterator[Frame]:
        for number, path in enumerate(islice(cycle(self.paths), self.count)):
            yield read_frame(path, frame_id=f"{number}", source_id="bench")


class OneInTwenty:
    """The model's pass as it is, with a score that flags one part in twenty.

    The golden inputs keep their scores, so that the line's replay still proves the model.
    """

    def __init__(self, predictor: Predictor, bundle: Bundle) -> None:
        self.runtime = predictor.runtime
        self._predictor = predictor
        self._golden = bundle.golden.images
        manifest = bundle.manifest
        names = manifest.class_names
        good = names.index(manifest.good)
        defect = next(i for i in range(len(names)) if i != good)
        self._scores = np.eye(len(names), dtype=np.float32)[[good, defect]]
        self._count = 0

    def predict(self, image: Image) -> Prediction:
        """Run the model on one preprocessed picture."""
        found = self._predictor.predict(image)
        if np.may_share_memory(image, self._golden):
            return found
        self._count += 1
        flagged = int(self._count % FLAGGED_EVERY == 0)
        return Prediction(self._scores[flagged].copy(), found.attention, found.infer_ns)


@dataclass(slots=True)
class Times:
    """Notes how long each inspection took; one thread notes, another reads after."""

    total_ms: list[float] = field(default_factory=list)
    infer_ms: list[float] = field(default_factory=list)

    def write(self, inspection: Inspection) -> None:
        """Note one."""
        self.total_ms.append(inspection.timings_ms["total"])
        self.infer_ms.append(inspection.timings_ms["infer"])


class Rate(NamedTuple):
    """How fast one side was: parts a second, and what each part cost all threads together."""

    fps: float
    processor_ms: float


class Watch:
    """Times a number of parts from now on, by the clock and by the processor."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._start, self._used = time.perf_counter(), time.process_time()

    def rate(self) -> Rate:
        """The rate of what was done since."""
        seconds, used = time.perf_counter() - self._start, time.process_time() - self._used
        return Rate(self._count / seconds, used / self._count * 1000)


def bare_rate(bundle: Bundle, predictor: Predictor, paths: Sequence[Path], count: int) -> Rate:
    """The rate of a loop that only reads, resizes and invokes."""
    spec = bundle.manifest.preprocess
    watch = Watch(count)
    for path in islice(cycle(paths), count):
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if bgr is None:
            raise FaultError("OpenCV cannot read a picture of the bench", where=path)
        predictor.predict(apply(spec, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)))
    return watch.rate()


def line_rate(
    bundle: Bundle,
    predictor: Predictor,
    source: Source,
    count: int,
    folder: Path,
    times: Times,
    durability: Durability = "full",
) -> Rate:
    """The rate of the real line, from its first frame until all is journaled and told.

    Args:
        bundle, predictor, source: of the line.
        count: frames that the source gives.
        folder: new; for journal, pictures and overlays.
        times: told of each inspection.
        durability: of the journal.

    Raises:
        FaultError: a frame was lost, or judged as none.
    """
    folder.mkdir()
    watches: list[Watch] = []

    class Started:
        is_live = source.is_live

        def __enter__(self) -> Self:
            source.__enter__()
            return self

        def __exit__(self, *error: Any) -> None:
            source.__exit__(*error)

        def __iter__(self) -> Iterator[Frame]:
            watches.append(Watch(count))
            return iter(source)

    journal = JournalWriter(
        folder / "journal.db", bundle.manifest, predictor.runtime, durability=durability
    )
    overlays = FolderSink(folder / "overlays", bundle)
    with journal:
        report = Line(
            bundle,
            predictor,
            Started(),
            journal,
            sinks={"overlays": overlays},
            on_inspection=times.write,
        ).run()
    found = watches[0].rate()
    if report.captured != count or report.fault or report.dropped or report.sink_errors:
        raise FaultError(
            "the line of the bench did not judge every frame",
            expected=f"{count} captured, none dropped, no FAULT",
            found=f"{report.as_json()} {'; '.join(report.sink_errors)}",
        )
    return found


def bench(
    running: Command, path: Path, images: Path | None, seconds: float, threads: int
) -> dict[str, Any]:
    """Measure a bundle on this machine; see DESIGN for the keys.

    Args:
        running: says how it goes.
        path: the bundle.
        images: folder of pictures; None: the golden inputs as PNG, enlarged.
        seconds: how long the two sides run in all.
        threads: CPU threads of one pass.

    Raises:
        UsageError: a length that is none.
    """
    if not seconds > 0:
        raise UsageError("--seconds is wrong", expected="more than 0", found=seconds)
    bundle = open_bundle(path)
    predictor = LiteRTPredictor(bundle, threads)
    with tempfile.TemporaryDirectory() as name, running.step("bench") as tell:
        home = Path(name)
        paths = files([images]) if images else _golden_files(bundle, home / "images")
        flagging = OneInTwenty(predictor, bundle)
        times = Times()
        count = _count_for(bundle, predictor, paths, seconds / (2 * ROUNDS))
        bare: list[Rate] = []
        line: list[Rate] = []
        for number in range(ROUNDS):
            bare.append(bare_rate(bundle, predictor, paths, count))
            source = Again(paths, count)
            line.append(line_rate(bundle, flagging, source, count, home / f"{number}", times))
            tell(number + 1, ROUNDS)
        starts = [cold_start(path, paths[0]) for _ in range(START_TRIES)]
        memory = rss_mb(path, paths[0].parent if images is None else images, home)
    p50, p95, p99 = (float(np.percentile(times.total_ms, q)) for q in (50, 95, 99))
    ratios = [a.fps / b.fps for a, b in zip(line, bare, strict=True)]
    return {
        "bundle": str(path),
        "runtime": predictor.runtime,
        "threads": threads,
        "images": len(paths),
        "p50_ms": round(p50, 3),
        "p95_ms": round(p95, 3),
        "p99_ms": round(p99, 3),
        "infer_p50_ms": round(float(np.percentile(times.infer_ms, 50)), 3),
        "bare_fps": round(statistics.median(r.fps for r in bare), 1),
        "line_fps": round(statistics.median(r.fps for r in line), 1),
        "bare_processor_ms": round(statistics.median(r.processor_ms for r in bare), 3),
        "line_processor_ms": round(statistics.median(r.processor_ms for r in line), 3),
        "efficiency": round(statistics.median(ratios), 3),
        "efficiency_range": [round(min(ratios), 3), round(max(ratios), 3)],
        "cold_start_s": round(statistics.median(starts), 3),
        "rss_mb": round(memory, 1),
        "cores": os.cpu_count(),
        "load": [round(n, 2) for n in os.getloadavg()],
    }


def bench_command(
    running: Command, path: Path, images: Path | None, seconds: float, threads: int
) -> None:
    """`qc bench`: measure, and print the table."""
    found = bench(running, path, images, seconds, threads)
    running.result(found)
    table = Table(title=f"{path.name} on {found['runtime']}", title_justify="left")
    for column in ("what", "measured"):
        table.add_column(column)
    low, high = found["efficiency_range"]
    for what, measured in (
        ("verdict in the line, p50 / p95 / p99", "{p50_ms} / {p95_ms} / {p99_ms} ms"),
        ("of it the pass through the model, p50", "{infer_p50_ms} ms"),
        ("bare loop: read, resize, invoke", "{bare_fps} parts/s"),
        ("line: journal on, 5 % flagged", "{line_fps} parts/s"),
        (
            "processor's time a part, line and bare",
            "{line_processor_ms} and {bare_processor_ms} ms",
        ),
        ("line ÷ bare", f"{{efficiency}} ({low} to {high} in {ROUNDS} rounds)"),
        ("start of the program to the first verdict", "{cold_start_s} s"),
        ("resident memory of a line, at most", "{rss_mb} MB"),
        ("threads of a pass, cores, load", "{threads}, {cores}, {load[0]}"),
    ):
        table.add_row(what, measured.format(**found))
    running.show(table)


def cold_start(bundle: Path, image: Path, python: str = sys.executable) -> float:
    """Seconds from the start of a fresh `qc inspect` until its first verdict is on the screen.

    Raises:
        FaultError: it ended without a verdict.
    """
    command = [python, "-P", "-m", "qc.cli", "inspect", str(bundle), str(image)]
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        seconds = time.perf_counter() - start
        rest = process.stderr.read()
    if process.returncode != 0 or not first.strip():
        raise FaultError("qc inspect gave no verdict", where=bundle, found=f"{first}{rest}".strip())
    return seconds


def rss_mb(bundle: Path, images: Path, home: Path) -> float:
    """The most resident memory, MB, of a fresh `qc run` over a folder of pictures.

    Raises:
        FaultError: the line did not end well.
    """
    line = home / "line.toml"
    line.write_text(
        f'bundle = "{bundle.resolve()}"\njournal = "rss.db"\n'
        f'[source]\nkind = "folder"\npath = "{images.resolve()}"\n',
        encoding="utf-8",
    )
    command = [sys.executable, "-P", "-m", "qc.cli", "run", str(line)]
    highest = 0.0
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None:
            highest = max(highest, _high_water_mb(process.pid))
            time.sleep(0.02)
        assert process.stderr is not None
        said = process.stderr.read()
    if process.returncode != 0:
        raise FaultError("the line of the bench failed", where=images, found=said[-500:])
    return highest


def _high_water_mb(pid: int) -> float:
    """The most memory a living process held, by the kernel's account; 0 where there is none."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) / 1024 if found else 0.0


def _golden_files(bundle: Bundle, folder: Path) -> list[Path]:
    folder.mkdir()
    for number, image in enumerate(bundle.golden.images):
        factor = max(1.0, LEAST_SIDE / min(image.shape[:2]))
        larger = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        write_png(folder / f"part{number:03d}.png", np.asarray(larger, np.uint8))
    return files([folder])


def _count_for(bundle: Bundle, predictor: Predictor, paths: Sequence[Path], seconds: float) -> int:
    """How many pictures the bare loop reads in so many seconds; at least what flags one part."""
    few = max(FLAGGED_EVERY, len(paths))
    return max(
        FLAGGED_EVERY, round(bare_rate(bundle, predictor, paths, min(few, 100)).fps * seconds)
    )
