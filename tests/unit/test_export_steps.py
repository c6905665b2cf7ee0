"""What the bar of `qc export` says while its candidates are built and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from export import candidates
from export.candidates import Candidate, Trial
from qc.decide import DecisionSpec
from qc.errors import FaultError
from qc.recipe import ExportTable
from training.evaluate import Outputs

pytest.importorskip("tensorflow", reason="tensorflow is not installed")

N_VAL, N_CALIBRATION = 4, 3


class _Saved:
    """Converts nothing; notes what the bar said when the converter was at work."""

    def __init__(self, said: list[tuple[int, int, str]]) -> None:
        self.said = said
        self.at_work: dict[str, list[str]] = {}

    def convert(
        self,
        scheme: str,
        calibration: Any = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> SimpleNamespace:
        heard = self.at_work.setdefault(scheme, [])
        heard.append(self.said[-1][2])
        if progress is not None:
            for n in range(N_CALIBRATION):
                progress(n + 1, N_CALIBRATION)
                heard.append(self.said[-1][2])
        if scheme == "dynamic":
            raise FaultError("the model cannot be converted to dynamic")
        return SimpleNamespace(model=b"12", left_float=(), scheme=scheme)


class _Val:
    """A decoded split that holds nothing."""

    labels = None
    pixels = np.zeros((N_VAL, 1))
    samples = ()

    def __len__(self) -> int:
        return N_VAL


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> tuple[Trial, _Saved]:
    said: list[tuple[int, int, str]] = []
    saved = _Saved(said)

    @contextmanager
    def laid_out(model: object, *, quiet: bool) -> Iterator[_Saved]:
        saved.at_work["laid out"] = [said[-1][2]]
        yield saved

    def judged(predictor: object, pixels: Any, tell: Callable[[int, int], None]) -> str:
        for n in range(N_VAL):
            tell(n + 1, N_VAL)
        return "outputs"

    def timed(predictors: list[object], image: object) -> list[float]:
        saved.at_work["timed"] = [said[-1][2]]
        return [1.0 for _ in predictors]

    fakes: dict[str, Any] = {
        "saved_model": laid_out,
        "run_predictor": judged,
        "latencies": timed,
        "cost": lambda model: {},
        "cost_on": lambda target, bundle: {},
        "facts_of": lambda *told: {},
        "draft": lambda *told: None,
        "predictor_of": lambda bundle: object(),
        "compare": lambda *told, **more: {"agreement": 1.0},
        "why_not": lambda figures, table: None,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(candidates, name, fake)
    monkeypatch.setattr(Trial, "decide", lambda self, outputs: None)
    recipe = SimpleNamespace(data=SimpleNamespace(good="good"), export=ExportTable())
    plan: Any = SimpleNamespace(path=Path(), classes=("good", "hole"), recipe=recipe)
    val: Any = _Val()
    model: Any = object()
    outputs: Any = None

    def tell(done: int, total: int, step: str) -> None:
        said.append((done, total, step))

    calibration = np.zeros((N_CALIBRATION, 1))
    return Trial(plan, model, outputs, calibration, "", val, "cpu", tell), saved


def test_the_bar_names_the_step_that_tells_nothing(trial: tuple[Trial, _Saved]) -> None:
    tried, saved = trial
    rows = [c.row for c in tried.run(["int8", "dynamic", "float32"], None)]
    assert [row["scheme"] for row in rows] == ["int8", "dynamic", "float32"]
    assert saved.at_work == {
        "laid out": ["laying the graph out"],
        # the last image is seen: what follows is the converter again
        "int8": ["int8: converting", *["int8: calibrating"] * 2, "int8: converting"],
        "dynamic": ["dynamic: converting"],
        "float32": ["float32: converting"],
        "timed": ["timing"],
    }
    steps = list(dict.fromkeys(step for _, _, step in saved.said))
    assert steps[3:6] == ["int8: cost on cpu", "int8: judging VAL", "int8: thresholds"]


def test_the_bar_never_goes_back_and_ends_full(trial: tuple[Trial, _Saved]) -> None:
    tried, saved = trial
    tried.run(["int8", "dynamic", "float32"], None)
    places = [done for done, _, _ in saved.said]
    assert places == sorted(places)
    assert saved.said[-1][0] == saved.said[-1][1] and saved.said[-1][2] == ""


@pytest.mark.parametrize("agreement", [0.98, 0.99])
def test_where_int8_judges_otherwise_it_is_said_what_noise_would_do(
    trial: tuple[Trial, _Saved], monkeypatch: pytest.MonkeyPatch, agreement: float
) -> None:
    """One of four parts is judged otherwise under noise; below the gate's 99 % alone it is said."""
    tried, _ = trial
    tried.plan.recipe.seed = 0
    tried.val.pixels = np.full((N_VAL, 24, 24, 3), 100, np.uint8)
    good, bad = [0.9, 0.1], [0.1, 0.9]
    tried.exact = Outputs(np.array([good, good, good, bad], np.float32), None)
    seen = []

    def judged(model: object, pixels: np.ndarray, tell: Callable[[int, int], None]) -> Outputs:
        seen.append(pixels)
        return Outputs(np.array([good, bad, good, bad], np.float32), None)

    monkeypatch.setattr(candidates, "run_keras", judged)
    decision = DecisionSpec(
        ok_below={"hole": 0.5}, ng_above={"hole": 0.5}, max_escape=0.01, max_overkill=0.01
    )
    int8 = Candidate(None, {"agreement": agreement}, decision=decision)
    found = tried._under_noise(int8)
    if agreement == 0.99:
        assert found is None and not seen
        return
    assert found == 0.75
    (pixels,) = seen
    noise = pixels.astype(float) - 100
    assert pixels.dtype == np.uint8 and 0.9 < noise.std() < 1.2
    assert (noise == noise[..., :1]).all()  # a grey camera's has no colour
    assert not np.array_equal(noise[0], noise[1])
