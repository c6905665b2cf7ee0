"""The peers' bench: turns, what becomes of a peer that fails, rows that are made once, stamps."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCH = Path(__file__).parents[1] / "bench"

SIDE = """
import json, sys
print(json.dumps({"runtime": "fake 1"}), flush=True)
for number, line in enumerate(sys.stdin):
    if sys.argv[1] == "dies" and number == 1:
        raise ValueError("it broke in the second turn")
    print(json.dumps({"ms": [float(sys.argv[2])] * 3}), flush=True)
"""


@pytest.fixture(scope="module", autouse=True)
def bench() -> Iterator[None]:
    sys.path.insert(0, str(BENCH))
    try:
        yield
    finally:
        sys.path.remove(str(BENCH))


def _side(name: str, *arguments: str) -> Any:
    from peers_turns import Side

    return Side(name, "ours", lambda: [sys.executable, "-c", SIDE, *arguments])


def test_sides_take_turns_and_one_that_fails_stops_no_other() -> None:
    from peers_envs import MissingError
    from peers_turns import Side, heat

    def refuses() -> list[str]:
        raise MissingError("environment x: ERROR: no such package")

    first, dead, absent = heat(
        [_side("whole", "works", "2"), _side("dead", "dies", "1"), Side("absent", "x", refuses)],
        rounds=3,
        seconds=0.0,
    )
    assert first["round_ms"] == [2.0, 2.0, 2.0]
    assert (first["passes"], first["p50_ms"], first["fps"]) == (9, 2.0, 500.0)
    assert (first["runtime"], first["rss_mb"] > 1) == ("fake 1", True)
    assert dead == {
        "name": "dead",
        "group": "ours",
        "why_not": "ValueError: it broke in the second turn",
    }
    assert absent["why_not"] == "environment x: ERROR: no such package"


def test_a_side_that_never_loads_says_its_last_words() -> None:
    from peers_envs import MissingError
    from peers_turns import Worker

    with pytest.raises(MissingError, match="ImportError: no such runtime"):
        Worker([sys.executable, "-c", "raise ImportError('no such runtime')"])


def test_last_words_are_the_error_and_not_too_long() -> None:
    from peers_envs import last_words

    assert last_words("a\nERROR: no matching version\nsee the manual\n") == (
        "ERROR: no matching version"
    )
    assert last_words("one\n\n two \n") == "two"
    told = "RuntimeError: Exception from a.cpp:117:\nwhile reading\nno such layer\n"
    assert last_words(told) == "RuntimeError: Exception from a.cpp:117: while reading no such layer"
    assert last_words("") == "it said nothing"
    assert len(last_words("x" * 900)) == 303


def test_a_model_is_made_once_and_a_failure_says_why(tmp_path: Path) -> None:
    from peers_envs import MissingError
    from peers_turns import once

    def write(text: str) -> Any:
        code = f"import sys; open(sys.argv[1], 'w').write({text!r})"
        return lambda to: [sys.executable, "-c", code, str(to)]

    target = tmp_path / "a" / "model.onnx"
    assert once(target, write("first")).read_text() == "first"
    assert once(target, write("second")).read_text() == "first"
    with pytest.raises(MissingError, match=r"other\.onnx: ValueError: not convertible"):
        broken = "raise ValueError('not convertible')"
        once(tmp_path / "other.onnx", lambda to: [sys.executable, "-c", broken])


def test_a_row_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    from peers import keep

    file, made = tmp_path / "rows.jsonl", []

    def jobs() -> Iterator[Any]:
        for size in (224, 256):
            yield {"part": "latency", "size": size}, lambda: made.append(1) or {"entries": [1]}

    def facts() -> dict[str, Any]:
        return {"date": f"day {len(made)}"}

    keep(file, jobs(), again=False, facts=facts)
    keep(file, jobs(), again=False, facts=facts)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert (len(made), [row["size"] for row in rows]) == (2, [224, 256])
    assert [row["date"] for row in rows] == ["day 0", "day 1"]
    keep(file, jobs(), again=True, facts=facts)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert (len(made), len(rows)) == (4, 2)
    assert sorted(row["date"] for row in rows) == ["day 2", "day 3"]


def test_steps_of_two_epochs_are_not_counted_across_their_border() -> None:
    from peers_training import steps_a_second

    # epoch 0 ends at 3 s; judging takes until 8 s; epoch 1 goes on with a step each half second
    stamps = [(0, 1.0), (0, 2.0), (0, 3.0), (1, 8.0), (1, 8.5), (1, 9.0)]
    assert steps_a_second(stamps, 0.0, 9.0) == pytest.approx(4 / 3.0)
    assert steps_a_second(stamps, 2.5, 8.2) is None  # one step of each epoch, no pair
    assert steps_a_second(stamps, 7.0, 9.0) == pytest.approx(2.0)


def test_a_turn_runs_at_least_twice_and_takes_pictures_in_turn() -> None:
    from peers_worker import turn

    seen: list[int] = []
    pictures = [np.array(n) for n in range(3)]
    found = turn(lambda one: seen.append(int(one)), pictures, 0.0)
    assert len(found) == 2
    assert seen == [0, 0, 1]  # one to warm up


def test_the_other_program_judges_as_the_bundle_does() -> None:
    """The decision is written again without this project; both must say the same."""
    pytest.importorskip("tensorflow")
    from peers_tensorflow import tempered, verdict_of

    from qc.decide import DecisionSpec, decide
    from qc.types import Prediction

    names = ("good", "hole", "crack")
    spec = {
        "ok_below": {"hole": 0.3, "crack": 0.2},
        "ng_above": {"hole": 0.6, "crack": 0.5},
        "max_escape": 0.05,
        "max_overkill": 0.05,
        "temperature": 1.7,
    }
    severity = {"good": "good", "hole": "major", "crack": "major"}
    manifest = {
        "classes": [{"name": n, "severity": severity[n]} for n in names],
        "decision": spec,
    }
    rng, said = np.random.default_rng(3), set()
    for _ in range(300):
        score = rng.dirichlet([1.0, 0.5, 0.5]).astype(np.float32)
        ours = decide(Prediction(score, None, 0), DecisionSpec(**spec), names, "good").verdict
        assert verdict_of(tempered(score, 1.7), manifest) == str(ours)
        said.add(str(ours))
    assert said == {"OK", "NG", "REVIEW"}


def test_the_memory_of_a_program_is_its_own_and_not_that_of_who_measures_it() -> None:
    from peers_envs import MissingError
    from peers_start import started

    held = b"x" * (300 << 20)
    seconds, mb, verdict = started([sys.executable, "-I", "-c", "print('NG part'); b'x' * 2**26"])
    assert 0 < seconds < 30 and 64 < mb < 200 and verdict == "NG"
    with pytest.raises(MissingError, match="no model"):
        started([sys.executable, "-I", "-c", "raise SystemExit('no model')"])
    assert len(held) == 300 << 20
