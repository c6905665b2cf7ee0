"""How the line's rate follows threads, the size of the pictures and the number of sources.

    python tests/bench/scaling.py OUT [--only threads size sources] [--again]

The line of `qc run` with journal and overlays, durability "full", one part in twenty flagged, over
pictures on the disk that lie in the page cache. The points of a question take turns. Beside each
stand its stages alone, in one thread: reading a file that is not in the page cache, decoding as the
line decodes, resizing, and the pass through the model; and the processor's time of a picture in the
line, all threads together. From these comes what limits. `tests/bench/scaling_table.py` prints the
rows and draws the plots. Bundles are those of the peers' bench and made where they are missing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
from peers import Bench, Job, keep
from peers_make import IMAGES, SEED

from edge.bench import OneInTwenty, Watch
from edge.feed import Feed
from edge.line import Line
from edge.picture_files import read_frame
from edge.predictors.litert import LiteRTPredictor
from edge.sinks.folder import Sink
from qc.bundle import Bundle, open_bundle
from qc.errors import FaultError
from qc.imageio import write_png
from qc.journal import JournalWriter
from qc.preprocess import apply
from qc.types import Frame

INPUT = 224
THREADS = (1, 2)
SIDES = (64, 128, 256, 512, 1024, 2048)
ENDINGS = ("png", "jpg")
SOURCES = tuple(range(1, 9))
SOURCES_SIDE = 512
TURN_S = 1.5
STAGE_PASSES = 12
QUESTIONS = ("threads", "size", "sources")


class Files:
    """So many frames of a few files, read anew each time.

    Args:
        paths: the files.
        count: frames in all.
        source_id: of the source.
        begun: called when the first frame is asked for.
    """

    is_live = False

    def __init__(
        self, paths: Sequence[Path], count: int, source_id: str, begun: Callable[[], None]
    ) -> None:
        self.paths, self.count, self.source_id, self.begun = paths, count, source_id, begun

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is held open."""

    def __iter__(self) -> Iterator[Frame]:
        self.begun()
        for number, path in enumerate(islice(cycle(self.paths), self.count)):
            yield read_frame(path, frame_id=f"{number}", source_id=self.source_id)


def draw(folder: Path, side: int, ending: str) -> list[Path]:
    """Drawn parts as files of one size and format; the larger ones enlarged, with noise."""
    from training.datasets.drawn import KINDS, MIN_SIDE, draw_part, make_lot

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03d}.{ending}" for number in range(IMAGES)]
    for number, path in enumerate(p for p in paths if not p.is_file()):
        rng = np.random.default_rng([SEED, number])
        drawn = max(MIN_SIDE, min(side, 256))
        image, _ = draw_part(rng, KINDS[number % len(KINDS)], make_lot(SEED, 0), (drawn, drawn))
        large = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        noisy = large + rng.normal(0, 3, (side, side, 1))
        pixels = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        if ending == "png":
            write_png(path, pixels)
        else:
            cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return paths


def line_rate(
    bundle: Bundle,
    predictor: LiteRTPredictor,
    paths: Sequence[Path],
    sources: int,
    count: int,
    folder: Path,
) -> tuple[float, float]:
    """Pictures a second of the line, and the processor's milliseconds of each.

    Args:
        bundle, predictor: of the line.
        paths: files that every source reads in turn.
        sources: how many sources there are.
        count: pictures of each source.
        folder: new, for journal and overlays.

    Raises:
        FaultError: a picture was lost, or judged as none.
    """
    folder.mkdir()
    watches: list[Watch] = []

    def begun() -> None:
        watches.append(Watch(sources * count))

    feeds = [
        Feed(Files(paths, count, f"source{n}", begun), source_id=f"source{n}", kind="folder")
        for n in range(sources)
    ]
    with JournalWriter(folder / "journal.db", bundle.manifest, predictor.runtime) as journal:
        sinks = {"overlays": Sink(folder / "overlays", bundle)}
        report = Line(bundle, OneInTwenty(predictor, bundle), feeds, journal, sinks=sinks).run()
    found = watches[0].rate()
    if report.captured != sources * count or report.fault or report.dropped or report.sink_errors:
        raise FaultError(
            "the line of the bench did not judge every picture",
            expected=f"{sources * count} captured, none dropped, no FAULT",
            found=f"{report.as_json()} {'; '.join(report.sink_errors)}",
        )
    return found.fps, found.processor_ms


def stages(bundle: Bundle, predictor: LiteRTPredictor, paths: Sequence[Path]) -> dict[str, float]:
    """Milliseconds of each stage alone, median over some pictures."""
    spent: dict[str, list[float]] = {"disk": [], "decode": [], "resize": [], "interpreter": []}
    spec = bundle.manifest.preprocess
    for path in islice(cycle(paths), STAGE_PASSES):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        start = time.perf_counter()
        path.read_bytes()
        read = time.perf_counter()
        image = read_frame(path, frame_id="", source_id="").image
        decoded = time.perf_counter()
        if image is None:
            raise FaultError("a picture of the bench cannot be read", where=path)
        small = apply(spec, image)
        resized = time.perf_counter()
        predictor.predict(small)
        done = time.perf_counter()
        for stage, begun, ended in (
            ("disk", start, read),
            ("decode", read, decoded),
            ("resize", decoded, resized),
            ("interpreter", resized, done),
        ):
            spent[stage].append((ended - begun) * 1000)
    return {stage: round(statistics.median(ms), 4) for stage, ms in spent.items()}


Point = tuple[dict[str, Any], LiteRTPredictor, list[Path], int]
"""What tells it from others, its predictor, its files and its number of sources."""


def measure(bundle: Bundle, points: list[Point], rounds: int) -> list[dict[str, Any]]:
    """The rate of every point, in turns, and its stages."""
    found: list[dict[str, Any]] = [
        {**key, "round_fps": [], "round_processor_ms": [], "round_stages": []} for key, *_ in points
    ]
    counts = [0] * len(points)
    with tempfile.TemporaryDirectory() as home:
        for number in range(-1, rounds):  # the one before the first tells how many pictures
            for at, (_, predictor, paths, sources) in enumerate(points):
                count = counts[at] or 40 // sources + 1
                folder = Path(home) / f"{at}-{number}"
                fps, used = line_rate(bundle, predictor, paths, sources, count, folder)
                if number < 0:
                    counts[at] = max(20 // sources + 1, round(fps * TURN_S / sources))
                    continue
                found[at]["round_fps"].append(round(fps, 1))
                found[at]["round_processor_ms"].append(round(used, 3))
                found[at]["round_stages"].append(stages(bundle, predictor, paths))
    for point in found:
        point["fps"] = statistics.median(point["round_fps"])
        point["processor_ms"] = statistics.median(point.pop("round_processor_ms"))
        each = point.pop("round_stages")
        point["stages_ms"] = {k: statistics.median(s[k] for s in each) for k in each[0]}
    return found


def points_of(question: str, bundle: Bundle, pictures: Path) -> list[Point]:
    """The points of a question."""
    one = LiteRTPredictor(bundle, 1)
    if question == "threads":
        paths = draw(pictures / f"png-{INPUT}", INPUT, "png")
        return [({"threads": t}, LiteRTPredictor(bundle, t), paths, 1) for t in THREADS]
    if question == "size":
        return [
            (
                {"side": side, "format": ending},
                one,
                draw(pictures / f"{ending}-{side}", side, ending),
                1,
            )
            for ending in ENDINGS
            for side in SIDES
        ]
    paths = draw(pictures / f"jpg-{SOURCES_SIDE}", SOURCES_SIDE, "jpg")
    return [({"sources": n}, one, paths, n) for n in SOURCES]


def jobs(bench: Bench, questions: Sequence[str]) -> Iterator[Job]:
    """The rows of the questions."""

    def answer(question: str, model: str) -> dict[str, Any]:
        bench.make_own(INPUT)
        bundle = open_bundle(bench.own(model, INPUT) / "bundle.tflite")
        points = points_of(question, bundle, bench.out / "pictures")
        found = measure(bundle, points, bench.rounds)
        return {"rounds": bench.rounds, "input": INPUT, "points": found}

    for question in questions:
        for model in ("cnn", "mobilenet_v2") if question == "threads" else ("cnn",):
            yield {"question": question, "model": model}, partial(answer, question, model)


def main() -> None:
    """Make the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    parser.add_argument("--rounds", type=int, default=5, help="turns of each point")
    parser.add_argument("--again", action="store_true", help="make rows again that are there")
    told = parser.parse_args()
    told.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(told.out, told.rounds)
    keep(told.out / "scaling.jsonl", jobs(bench, told.only), again=told.again)


if __name__ == "__main__":
    main()
