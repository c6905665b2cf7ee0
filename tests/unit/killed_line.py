"""A line that is killed: it journals parts with pictures as fast as it can, until it is ended.

Run by the tests as a program; each part that was told on as journaled is a line on its output.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np

from qc.journal import Journal, JournalWriter
from qc.journal_verify import verify_journal
from qc.linefile import KeepTable
from qc.types import Inspection, Verdict


def go_on_for_ever(path: Path, run: str) -> None:
    """Journal parts; one in four is NG and has its picture kept."""
    from toy_line import inspection, toy_manifest

    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)

    def tell(journaled: Inspection) -> None:
        print(journaled.inspection_id, flush=True)

    keep = KeepTable(ok_sample=0.2)
    manifest = toy_manifest(path.parent)
    with JournalWriter(path, manifest, "toy", keep=keep, on_written=tell) as writer:
        n = 0
        while True:
            verdict = Verdict.OK if n % 4 else Verdict.NG
            writer.put(inspection(f"{run}-{n}", verdict, image=noise))
            n += 1


def kill_one(path: Path, run: str, choice: random.Random) -> list[str]:
    """Start a line, kill it with SIGKILL at a moment drawn by chance, and look at what it left.

    Returns:
        What does not hold, in words; nothing where all is well.
    """
    line = subprocess.Popen(
        [sys.executable, __file__, str(path), run], stdout=subprocess.PIPE, text=True
    )
    assert line.stdout is not None
    told = [line.stdout.readline().strip() for _ in range(choice.randint(1, 80))]
    try:
        line.wait(choice.random() * 0.02)
    except subprocess.TimeoutExpired:
        line.kill()
    told += [text.strip() for text in line.stdout.read().splitlines()]
    line.wait()
    wrong = [] if line.returncode == -9 else [f"{run} ended by itself: {line.returncode}"]
    outcome = verify_journal(path, images=True)
    wrong += [f"{run}: {finding}" for finding in outcome.findings]
    journal = Journal(path)
    here = {r.inspection_id for r in journal.rows(limit=10**6)}
    there = {name for name in told if name}
    wrong += [f"{run}: {name} was told on and is lost" for name in there - here]
    rows = [row for row in journal.rows(limit=10**6) if row.image_path is not None]
    wrong += [f"{row.inspection_id}: no picture" for row in rows if not journal.image_file(row)]
    if not [row for row in rows if row.inspection_id.startswith(f"{run}-")]:
        wrong.append(f"{run}: no picture was kept: nothing was tried")
    return wrong


if __name__ == "__main__":
    go_on_for_ever(Path(sys.argv[1]), sys.argv[2])
