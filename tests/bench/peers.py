"""This project beside what a user would pick instead: time, map, training, start and memory.

    python tests/bench/peers.py OUT [--only latency maps training start] [--again]

Both sides of each figure run on this machine in one run and take turns. Environments and models are
made under OUT and kept. A row in OUT/rows.jsonl is written when it is whole and is not made again
(`--again` makes it again); the rows of another machine are no substitute, so none are read from
elsewhere. What cannot be installed or exported stands in its row with the reason.
`tests/bench/peers_table.py` prints the rows as tables.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from accuracy import read_rows
from candidates import processor
from peers_envs import ROOT, Environments, last_words
from peers_make import MODELS, SEED
from peers_start import start
from peers_training import training
from peers_turns import Side, heat, once, say

HERE = Path(__file__).parent
SIZES, THREADS = (224, 256), (1, 2)
TITLES = {
    "cnn": "CBAM CNN",
    "cnn_fast": "CBAM CNN, stem_stride 4",
    "mobilenet_v2": "MobileNetV2 + CBAM",
}
THROUGHOUT = ("cnn", "mobilenet_v2")
"""Those that are also compared with themselves in other runtimes, and by their maps."""
CLASSIFIERS = {
    "mobilenet_v2_035": "MobileNetV2 0.35 of keras.applications",
    "mobilenet_v3_small": "MobileNetV3-Small of keras.applications",
}
ANOMALIB = {
    "stfpm": "STFPM",
    "padim": "PaDiM",
    "patchcore": "PatchCore",
    "efficient_ad": "EfficientAD-S",
}
SECONDS = 0.3


class Bench:
    """What all parts share.

    Args:
        out: folder of everything that is made.
        rounds: turns of each side.
        sizes: pixels of the side of the models' inputs.
    """

    def __init__(self, out: Path, rounds: int, sizes: Sequence[int] = SIZES) -> None:
        self.out, self.rounds, self.sizes = out.resolve(), rounds, tuple(sizes)
        self.models = self.out / "models"
        self.environments = Environments(self.out / "envs")

    def make_own(self, size: int) -> None:
        """This project's models of one size; without them there is nothing to compare."""
        command = [sys.executable, str(HERE / "peers_make.py"), str(self.models), str(size)]
        paths = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, env=paths, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode != 0:
            sys.exit(f"this project's own models cannot be made: {last_words(done.stdout)}")

    def worker(
        self, environment: str | None, kind: str, size: int, threads: int, model: Callable[[], Path]
    ) -> list[str]:
        """The command of a side; makes its environment and model first. None: this environment."""
        python = ["env", f"PYTHONPATH={ROOT}", sys.executable]
        if environment is not None:
            python = [str(self.environments.python(environment))]
        images = str(self.models / f"images-{size}.npy")
        script = str(HERE / "peers_worker.py")
        return [*python, "-P", script, kind, str(model()), images, str(threads)]

    def own(self, name: str, size: int) -> Path:
        """The folder of one of this project's models."""
        return self.models / f"{name}-{size}"

    def quantised(self, runtime: str, name: str, size: int) -> Path:
        """The same Keras model in int8 for another runtime."""
        folder = self.own(name, size)
        python, script = self.environments.python("onnx"), HERE / "peers_make_onnx.py"
        given = (folder / "saved_model", self.models / f"calibration-{size}.npy")
        ending = {"onnxruntime": "onnx", "openvino": "xml"}[runtime]
        return once(
            folder / f"{runtime}.{ending}",
            lambda to: [str(python), str(script), runtime, *map(str, given), str(to)],
        )

    def anomalib(self, name: str, size: int, int8: bool) -> Path:
        """A model of anomalib in OpenVINO, as exported or after quantisation."""
        python, script = self.environments.python("anomalib"), HERE / "peers_make_anomalib.py"
        images = str(self.models / f"calibration-{size}.npy")

        def made(target: Path, *what: str) -> Path:
            return once(target, lambda to: [str(python), str(script), *what, images, str(to)])

        exported = made(self.models / f"{name}-{size}.xml", name, str(size))
        if not int8:
            return exported
        return made(self.models / f"{name}-{size}-int8.xml", "int8", str(exported))

    def latency(self, size: int, threads: int) -> list[dict[str, Any]]:
        """A picture to its scores, and its map where there is one, on an edge computer."""
        side = partial(self.worker, size=size, threads=threads)
        sides = [
            Side(
                TITLES[name],
                "ours",
                partial(side, "edge", "bundle", model=partial(self.file, name, size)),
            )
            for name in MODELS
        ]
        for name, title in CLASSIFIERS.items():
            model = partial(Path, self.models / f"{name}-{size}.tflite")
            sides.append(Side(title, "classifier", partial(side, "edge", "tflite", model=model)))
        for name in THROUGHOUT:
            for runtime, title in (("onnxruntime", "ONNX Runtime"), ("openvino", "OpenVINO")):
                model = partial(self.quantised, runtime, name, size)
                told = f"{TITLES[name]} in {title} int8"
                sides.append(Side(told, "same model", partial(side, "onnx", runtime, model=model)))
        for int8 in (False, True):
            for name, title in ANOMALIB.items():
                model = partial(self.anomalib, name, size, int8)
                told = f"anomalib {title}{', int8 by NNCF' * int8}"
                sides.append(
                    Side(told, "anomalib", partial(side, "anomalib", "openvino", model=model))
                )
        return heat(sides, self.rounds, SECONDS)

    def file(self, name: str, size: int, file: str = "bundle.tflite") -> Path:
        """A file of one of this project's models."""
        return self.own(name, size) / file

    def maps(self, name: str, size: int, threads: int) -> list[dict[str, Any]]:
        """A map for each picture, and what it costs beside the score alone."""
        side = partial(self.worker, size=size, threads=threads)
        bundle = partial(self.file, name, size)
        alone = partial(self.file, name, size, "score.tflite")
        kept = partial(self.file, name, size, "model.keras")

        return heat(
            [
                Side(
                    "score and map of the bundle",
                    "ours",
                    partial(side, "edge", "bundle", model=bundle),
                ),
                Side("score alone", "alone", partial(side, "edge", "bundle", model=alone)),
                Side("Grad-CAM in Keras", "gradcam", partial(side, None, "gradcam", model=kept)),
                Side(
                    "Grad-CAM as one TensorFlow graph",
                    "gradcam graph",
                    partial(side, None, "gradcam_graph", model=kept),
                ),
                Side("occlusion", "occlusion", partial(side, "edge", "occlusion", model=bundle)),
            ],
            self.rounds,
            SECONDS,
        )


Job = tuple[dict[str, Any], Callable[[], dict[str, Any]]]
"""What tells a row from the others, and what measures it."""


def jobs(bench: Bench, part: str) -> Iterator[Job]:
    """The rows of a part."""
    if part == "latency":
        for size in bench.sizes:
            for threads in THREADS:
                key = {"part": part, "size": size, "threads": threads}
                yield key, partial(_entries, bench, size, partial(bench.latency, size, threads))
    elif part == "maps":
        for name in THROUGHOUT:
            key = {"part": part, "model": name, "size": bench.sizes[0], "threads": 1}
            measure = partial(bench.maps, name, bench.sizes[0], 1)
            yield key, partial(_entries, bench, bench.sizes[0], measure)
    elif part == "training":
        for key, measure in training(bench.models, bench.rounds):
            yield {"part": part, **key}, measure
    else:
        bundle = bench.file("cnn", bench.sizes[0])

        def cold() -> dict[str, Any]:
            bench.make_own(bench.sizes[0])
            picture = sorted((bench.models / "parts" / "good").glob("lot09*.png"))[0]
            return start(bench.environments, bundle, picture, bench.rounds)

        yield {"part": part, "model": "cnn", "size": bench.sizes[0]}, cold


PARTS = ("latency", "maps", "training", "start")


def _entries(
    bench: Bench, size: int, measure: Callable[[], list[dict[str, Any]]]
) -> dict[str, Any]:
    bench.make_own(size)
    return {"rounds": bench.rounds, "seconds": SECONDS, "entries": measure()}


def facts() -> dict[str, Any]:
    """When and where a row was measured."""
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": done.stdout.strip() or "unknown",
        "seed": SEED,
        "cpu": processor(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def keep(
    file: Path, jobs: Iterator[Job], *, again: bool, facts: Callable[[], dict[str, Any]] = facts
) -> None:
    """Measure each row that is missing and add it to a file.

    Args:
        file: of rows; a row that is made again takes the place of the old one.
        jobs: what there is to measure.
        again: measure what is there as well.
        facts: of the machine and the moment.
    """
    for key, measure in jobs:
        rows = read_rows([file])
        old = [row for row in rows if key.items() <= row.items()]
        if old and not again:
            continue
        say(f"measuring {', '.join(f'{k} {v}' for k, v in key.items())}")
        row = {**key, **facts()}
        row |= measure()
        row["load_after"] = round(os.getloadavg()[0], 1)
        kept = [r for r in rows if r not in old]
        partial_file = file.with_name(f"partial-{file.name}")
        partial_file.write_text("".join(f"{json.dumps(r)}\n" for r in (*kept, row)))
        partial_file.replace(file)


def main() -> None:
    """Make the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=9, help="turns of each side")
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="of the inputs")
    parser.add_argument("--again", action="store_true", help="make rows again that are there")
    told = parser.parse_args()
    told.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(told.out, told.rounds, told.sizes)
    for part in told.only:
        keep(told.out / "rows.jsonl", jobs(bench, part), again=told.again)


if __name__ == "__main__":
    main()
