"""What `qc export` tries where int8 fails, and when it stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from export import candidates
from export.candidates import Candidate, Trial
from export.sensitive import Layer

pytest.importorskip("tensorflow", reason="tensorflow is not installed")

LAYERS = [
    Layer("loud", saved=500, change=0.5),
    Layer("middle", saved=300, change=0.1),
    Layer("quiet", saved=200, change=0.01),
]
CONVOLUTIONS = {"CONV_2D", "ADD"}
TRANSFORMER = CONVOLUTIONS | {"BATCH_MATMUL", "SOFTMAX"}
Tried = tuple[list[Any], Trial]


class _Saved:
    """A graph that knows how it is laid out."""

    def convert(self, scheme: str, *, columns: bool) -> SimpleNamespace:
        return SimpleNamespace(model="columns" if columns else "plain")


@pytest.fixture
def rescue(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tried]:
    """What is tried of a graph with these operations, where these and no others pass."""

    def rescue(
        schemes: Sequence[str],
        *,
        failed: bool = True,
        kinds: set[str] = CONVOLUTIONS,
        passing: Sequence[Any] = (),
        layers: Sequence[Layer] = LAYERS,
    ) -> Tried:
        def kept(model: str, ranges: object, *, operations: Any = (), quiet: bool) -> Any:
            return model, frozenset(operations)

        def alone(model: str, ranges: object, names: Sequence[str], *, quiet: bool) -> Any:
            return model, tuple(names)

        def try_one(self: Trial, scheme: str, build: Callable[[], Any]) -> Candidate:
            made = build()
            why = None if made in passing else "agrees too little"
            return Candidate(None, {"scheme": scheme, "made": made, "why_not": why})

        fakes: dict[str, Any] = {
            "operations": lambda model: kinds,
            "find_ranges": lambda model, pictures, progress: {},
            "score_changes": lambda *told, **more: list(layers),
            "to_mixed": kept,
            "these_alone": alone,
        }
        for name, fake in fakes.items():
            monkeypatch.setattr(candidates, name, fake)
        monkeypatch.setattr(Trial, "try_one", try_one)
        recipe = SimpleNamespace(data=SimpleNamespace(good="good"))
        plan: Any = SimpleNamespace(path=Path(), classes=("good", "hole"), recipe=recipe)
        none: Any = None
        pictures = np.zeros((3, 1))
        trial = Trial(plan, none, none, pictures, "", range(4), "cpu", lambda *told: None)  # type: ignore[arg-type]
        saved: Any = _Saved()
        return [c.row["made"] for c in trial._mixed(saved, schemes, failed, None)], trial

    return rescue


EVERY = ("plain", ("quiet", "middle", "loud"))
SOME = ("plain", ("quiet", "middle"))
ONE = ("plain", ("quiet",))


def test_fewer_and_fewer_layers_until_it_passes(rescue: Callable[..., Tried]) -> None:
    """Nine and seven tenths of what is saved need all three: that is tried once."""
    tried, trial = rescue(("int8", "mixed"))
    assert tried == [EVERY, SOME, ONE]
    assert [layer.name for layer in trial.worst] == ["loud", "middle", "quiet"]
    tried, _ = rescue(("int8", "mixed"), passing=[SOME])
    assert tried == [EVERY, SOME]


def test_what_attention_loses_in_int8_is_tried_first(rescue: Callable[..., Tried]) -> None:
    attention = ("columns", frozenset({"BATCH_MATMUL", "SOFTMAX"}))
    weights = ("columns", frozenset({"ADD", "BATCH_MATMUL", "SOFTMAX"}))
    tried, _ = rescue(("int8", "mixed"), failed=False, kinds=TRANSFORMER)
    assert tried == [attention, weights]
    tried, _ = rescue(("int8", "mixed"), kinds=TRANSFORMER, passing=[weights])
    assert tried == [attention, weights]
    tried, _ = rescue(("int8", "mixed"), kinds=TRANSFORMER)
    assert tried == [attention, weights, EVERY, SOME, ONE]


def test_where_int8_passes_nothing_is_rescued(rescue: Callable[..., Tried]) -> None:
    tried, trial = rescue(("int8", "mixed"), failed=False)
    assert (tried, trial.worst) == ([], [])


def test_a_target_that_runs_int8_alone_is_told_what_hurts(rescue: Callable[..., Tried]) -> None:
    tried, trial = rescue(("int8",))
    assert tried == [] and trial.worst[0].name == "loud"


def test_who_asks_for_mixed_gets_it_where_int8_passes_too(rescue: Callable[..., Tried]) -> None:
    tried, trial = rescue(("mixed",), failed=False, passing=[EVERY])
    assert (tried, trial.worst) == ([EVERY], [])


def test_where_no_layer_can_be_in_int8_the_whole_is_tried_and_says_why(
    rescue: Callable[..., Tried],
) -> None:
    tried, trial = rescue(("int8", "mixed"), layers=[])
    assert (tried, trial.worst) == ([("plain", frozenset())], [])
