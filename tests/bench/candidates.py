"""What each scheme costs and keeps: all candidates of some runs, with the default gate.

    QC_DATA=<the sets> QC_WEIGHTS=<MobileNetV2 weights> python tests/bench/candidates.py OUT

The variants, folds and recipes are those of `accuracy.py`. A run that is there is exported and not
trained again: in OUT/runs, or in a folder that `--runs` names, from which it is copied. A row in
OUT/rows.jsonl is written when it is whole, also where nothing passed the gate, and is not made
again. `--calibration 16 32` makes rows of int8 alone, with so many calibration images and no gate;
`--qat` rows in which int8 is fine-tuned where it fails.
`tests/bench/candidates_table.py` prints the rows as tables.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from accuracy import REPORTED, VARIANTS, key_of, qc, read_rows, run_name, toml, train
from accuracy_sets import Dealt, deal

FOLDS = {"magnetic_tile": 3, "neu_det": 1}
MEASURED = ("cnn-cbam", "flagship", "cct", "steel-cnn", "steel", "steel-cct")
TARGETS = ("cpu", "ethos-u55-128")


def find_run(out: Path, key: dict[str, Any], dealt: Dealt, elsewhere: list[Path]) -> Path:
    """The finished run of a combination: here, copied from elsewhere, or trained."""
    for folder in (out / "runs", *elsewhere):
        for result in sorted(folder.glob(f"{run_name(key)}-*/result.json")):
            run = out / "runs" / result.parent.name
            if not run.exists():
                shutil.copytree(result.parent, run)
            return run
    return Path(train(out, key, dealt)["run"])


def export(out: Path, key: dict[str, Any], run: Path, dealt: Dealt) -> dict[str, Any]:
    """Export a run; what `qc export` said, what it was said of, and what is taken on TEST.

    Where the gate fails, the table stands in the row all the same; where no table could be made,
    the error does.
    """
    count = key["calibration_images"]
    table = {} if count is None else {**REPORTED, "calibration_images": count}
    name = f"{run_name(key)}-{key['target']}-{count or 'default'}{'-qat' * key['qat']}"
    recipe = out / f"{name}.toml"
    recipe.write_text(toml(name, key, dealt, table))
    asked = ("--recipe", recipe, "--target", key["target"], "--out", out / f"{name}.tflite")
    try:
        found = qc("export", run, *asked, *["--qat"] * key["qat"])
    except CalledProcessError as error:
        if error.returncode != 1:
            raise
        found = json.loads(error.stdout)
    with (run / "split.csv").open(newline="") as file:
        groups = [r["group"] or r["sample_id"] for r in csv.DictReader(file) if r["split"] == "val"]
    test = {}
    if found.get("bundle"):  # VAL chose the scheme: what it agrees on elsewhere is told beside it
        said = qc("evaluate", found["bundle"], "--run", run, "--no-faithfulness")
        test = {f"test_{k}": said[f"float_{k}"] for k in ("agreement", "agreement_ci")}
        test["test_images"] = said["n"]
    kept = ("gate", "chosen", "candidates", "worst_layers", "noise_agreement", "error")
    return {
        **key,
        "val_images": len(groups),
        "val_groups": len(set(groups)),
        "cpu": processor(),
        "runtime": f"ai-edge-litert {version('ai-edge-litert')}",
        **{k: found[k] for k in kept if k in found},
        **test,
    }


def processor() -> str:
    """What the latency is of: the processor's name, and whether it multiplies int8 natively."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {name.strip(): value.strip() for name, value in told.items()}
    flags = facts.get("flags", "").split()
    has = [f for f in ("avx2", "avx512f", "avx_vnni", "avx512_vnni") if f in flags]
    return f"{facts.get('model name', platform.machine())} ({', '.join(has)})"


def main() -> None:
    """Make the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--variants", nargs="+", default=list(MEASURED), choices=list(VARIANTS))
    parser.add_argument("--fold", type=int, help="in place of 3 (magnetic_tile) and 1 (neu_det)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="in place of the variant's own")
    parser.add_argument("--targets", nargs="+", default=list(TARGETS))
    parser.add_argument(
        "--calibration", nargs="+", type=int, default=[None], help="int8 with so many images"
    )
    parser.add_argument("--qat", action="store_true", help="fine-tune int8 where it fails")
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="runs not to train again")
    parser.add_argument("--known", nargs="*", type=Path, default=[], help="rows not to make again")
    told = parser.parse_args()
    told.out.mkdir(parents=True, exist_ok=True)
    file = told.out / "rows.jsonl"
    rows = read_rows([file, *told.known])
    for variant in told.variants:
        kind = VARIANTS[variant][0]
        made = key_of(variant, told.fold or FOLDS[kind], told.seed, epochs=told.epochs)
        keys = [
            {**made, "target": target, "calibration_images": count, "qat": told.qat}
            for target in told.targets
            for count in told.calibration
        ]
        missing = [k for k in keys if not any(k.items() <= row.items() for row in rows)]
        if not missing:
            continue
        dealt = deal(kind, Path(os.environ["QC_DATA"]), told.out / kind, leaky=False)
        run = find_run(told.out, made, dealt, told.runs)
        for key in missing:
            row = export(told.out, key, run, dealt)
            with file.open("a") as lines:
                lines.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
