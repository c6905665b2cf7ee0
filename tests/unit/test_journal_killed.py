"""SIGKILL at any moment: what was told on is there, the chain is whole, and the line goes on.

`make bench-journal` does so twenty times.
"""

from __future__ import annotations

import random
from pathlib import Path

from killed_line import kill_one

from qc.journal import Journal
from qc.journal_verify import verify_journal


def test_a_killed_line_loses_nothing_that_it_told_on(tmp_path: Path) -> None:
    path, choice = tmp_path / "j.db", random.Random(0)
    for run in ("a", "b"):
        assert kill_one(path, run, choice) == []
    assert verify_journal(path).rows["bundles"] == 2, "the second line went on with the first's"
    runs = {row.inspection_id[0] for row in Journal(path).rows(limit=10**6)}
    assert runs == {"a", "b"}
