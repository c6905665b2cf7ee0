"""Each pooling by hand: maps of a few cells, and weights that make the attention 1/4 and 3/4."""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from qc.errors import UsageError
from qc.plugins import names, resolve
from qc.recipe import ModelTable
from training.head import EvidenceHead
from training.model import build_model
from training.poolings._pooling import Pooling

pytestmark = pytest.mark.usefixtures("repeatable")

ROOT = Path(__file__).parents[2]
ATTENTIONS = ("seq_pool", "additive", "multiplicative", "gated")
CAP = 3.0
HALF = CAP * math.atanh(math.log(3) / 2 / CAP)
"""A score that the cap takes to log(3) / 2: two cells of +HALF and -HALF weigh 3/4 and 1/4."""


def _made(kind: str, /, **changes: Any) -> Pooling:
    pooling: Pooling = resolve("pooling", kind).Pooling(**changes)
    return pooling


def _map(*cells: float) -> np.ndarray:
    """`(1, 1, n, 1)`."""
    return np.array(cells, np.float32).reshape(1, 1, -1, 1)


def _of_map(pooling: Pooling, *cells: float) -> float:
    return float(np.asarray(pooling.of_map(_map(*cells)))[0, 0])


def _weighs_one_to_three(pooling: Pooling, low: float, high: float) -> None:
    """Cells of evidence 2 and 4: 2 n/4 = 1 and 4 n 3/4 = 6 on the map, and 2/4 + 4 * 3/4 = 3.5."""
    pooled, attention = (np.asarray(x) for x in pooling(_map(low, high), _map(2, 4)))
    np.testing.assert_allclose(attention.ravel(), [1, 6], rtol=1e-5)
    np.testing.assert_allclose(pooled, [[3.5]], rtol=1e-5)


def _built(kind: str, **values: float | list[float]) -> Pooling:
    """For one channel of features; weights by name, what is not named is zero."""
    pooling = _made(kind)
    pooling.build((None, 1, 2, 1), (None, 1, 2, 1))
    for weight in pooling.weights:
        name = "_".join(weight.path.split("/")[-2:])
        weight.assign(np.full(weight.shape, values.pop(name, 0.0)))
    assert not values, "a name that no weight has"
    return pooling


def test_the_poolings_there_are() -> None:
    assert names("pooling") == sorted(["mean", "mean_max", "log_sum_exp", *ATTENTIONS])


def test_mean() -> None:
    assert _of_map(_made("mean"), 1, 2, 3, 6) == 3.0


def test_mean_and_maximum() -> None:
    """(3 + 6) / 2."""
    assert _of_map(_made("mean_max"), 1, 2, 3, 6) == 4.5


@pytest.mark.parametrize(
    ("sharpness", "expected"),
    [(1.0, math.log(2)), (2.0, math.log(5) / 2), (0.5, 2 * math.log((1 + math.sqrt(3)) / 2))],
)
def test_log_sum_exp(sharpness: float, expected: float) -> None:
    """Cells 0 and log 3: the mean of 1 and 3 is 2, of 1 and 9 it is 5."""
    pooling = _made("log_sum_exp", sharpness=sharpness)
    assert _of_map(pooling, 0, math.log(3)) == pytest.approx(expected, rel=1e-5)


def test_log_sum_exp_lies_between_mean_and_maximum_and_stays_finite() -> None:
    cells = (0, 1, 2, 5)
    assert _of_map(_made("log_sum_exp", sharpness=1e-2), *cells) == pytest.approx(2, abs=0.03)
    # 5 is 3 above the next: log(1/4) / 50 below it
    far = _of_map(_made("log_sum_exp", sharpness=50), *cells)
    assert far == pytest.approx(5 - math.log(4) / 50, rel=1e-5)
    assert _of_map(_made("log_sum_exp"), -1e4, 1e4) == pytest.approx(1e4, rel=1e-3)


def test_seq_pool() -> None:
    """Score `g x + b` of cells 0 and 1: -HALF and HALF."""
    pooling = _built("seq_pool", score_kernel=2 * HALF, score_bias=-HALF)
    _weighs_one_to_three(pooling, 0, 1)


def test_additive() -> None:
    """Cells 0 and 2, mean 1: tanh(x - mean) in each of 64 channels is -tanh 1 and tanh 1."""
    pooling = _built(
        "additive", query_kernel=-1.0, key_kernel=1.0, score_kernel=HALF / math.tanh(1) / 64
    )
    _weighs_one_to_three(pooling, 0, 2)
    # the query is the picture's own mean, so a shift of all cells changes nothing
    _weighs_one_to_three(pooling, 10, 12)


def test_multiplicative() -> None:
    """Cells 1 and 3, mean 2: key x - 2 and query 2 in 64 channels, over sqrt(64): -16 and 16."""
    pooling = _built(
        "multiplicative",
        query_kernel=HALF / 16,
        key_kernel=1.0,
        key_bias=-2.0,
    )
    _weighs_one_to_three(pooling, 1, 3)


def test_gated() -> None:
    """Cells -1 and 1: tanh(x) sigmoid(0) is half of tanh 1, in each of 64 channels."""
    pooling = _built("gated", value_kernel=1.0, score_kernel=2 * HALF / math.tanh(1) / 64)
    _weighs_one_to_three(pooling, -1, 1)


def test_the_gate_of_gated_closes() -> None:
    """Gate sigmoid(-50 x): open to 1 for the cell of -1, shut for that of 1, whose score is 0."""
    pooling = _built(
        "gated", value_kernel=1.0, gate_kernel=-50.0, score_kernel=-2 * HALF / math.tanh(1) / 64
    )
    up = CAP * math.tanh(2 * HALF / CAP)
    share = math.exp(up) / (math.exp(up) + 1)
    attention = np.asarray(pooling(_map(-1, 1), _map(1, 1))[1]).ravel()
    np.testing.assert_allclose(attention, [2 * share, 2 * (1 - share)], rtol=1e-5)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_a_fresh_attention_is_the_mean(name: str) -> None:
    rng = np.random.default_rng(0)
    features, evidence = (rng.normal(0, 2, (2, 3, 4, n)).astype(np.float32) for n in (5, 2))
    pooled, attention = (np.asarray(x) for x in _made(name)(features, evidence))
    np.testing.assert_allclose(attention, evidence, rtol=1e-5)
    np.testing.assert_allclose(pooled, evidence.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)


def test_no_cell_outweighs_another_by_more_than_the_cap_allows() -> None:
    """Scores of 1000 and -1000, cap 2: the weights differ by exp(4), and 2 cells share 2."""
    pooling = _built("seq_pool", score_kernel=1000.0)
    pooling.cap = 2.0
    low, high = np.asarray(pooling(_map(-1, 1), _map(1, 1))[1]).ravel()
    assert high / low == pytest.approx(math.exp(4), rel=1e-4)
    assert low + high == pytest.approx(2, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("log_sum_exp", "sharpness", 0.0),
        ("log_sum_exp", "sharpness", "4"),
        ("seq_pool", "cap", -1.0),
        ("gated", "cap", float("nan")),
        ("gated", "channels", 0),
        ("additive", "channels", 2.5),
        ("multiplicative", "channels", True),
    ],
)
def test_an_argument_that_cannot_be(name: str, key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{key} must be a .*found {value!r}"):
        _made(name, **{key: value})


@pytest.mark.parametrize("name", ["log_sum_exp", "seq_pool"])
def test_a_map_whose_size_is_not_known(name: str) -> None:
    with pytest.raises(ValueError, match=r"h and w known, found \(None, None, None, 4\)"):
        EvidenceHead(2, name)(keras.Input((None, None, 4)))


# the recipe's choice


def _table(**changes: Any) -> ModelTable:
    given = {"backbone": "inverted_residual", "block": "none", "size_hw": (32, 32), "width": 0.2}
    return ModelTable.model_validate(given | changes)


def test_a_recipe_chooses_and_the_default_is_mean_and_maximum() -> None:
    assert ModelTable.model_fields["pooling"].default == "mean_max"
    for name in ("mean_max", "gated"):
        model = build_model(_table() if name == "mean_max" else _table(pooling=name), 3)
        head = model.get_layer("head")
        assert type(head.pooling) is resolve("pooling", name).Pooling
        assert model.output["attention"].shape == (None, 2, 2, 3)


def test_a_wrong_name_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown pooling 'seqpool', did you mean 'seq_pool'"):
        build_model(_table(pooling="seqpool"), 3)


# saved models elsewhere

_LOADS = """
import sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from training.steps import load_model

folder = Path(sys.argv[1])
for path in sorted(folder.iterdir()):
    model = load_model(SimpleNamespace(model_file=path / "model.keras"))
    found = model.predict_on_batch(np.load(path / "given.npy"))
    np.savez(path / "found.npz", **found)
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_run_is_read_by_a_fresh_process_on_any_backend(tmp_path: Path, backend: str) -> None:
    """Nothing has imported the poolings there; `load_model` does."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    given = np.random.default_rng(1).normal(0, 1, (2, 4, 6, 5)).astype(np.float32)
    expected = {}
    for name in names("pooling"):
        keras.utils.set_random_seed(2)
        inputs = keras.Input(given.shape[1:])
        score, attention = EvidenceHead(3, name, name="head")(inputs)
        model = keras.Model(inputs, {"score": score, "attention": attention})
        rng = np.random.default_rng(3)
        for weight in model.weights:
            weight.assign(np.abs(rng.normal(0, 0.5, weight.shape)))
        (tmp_path / name).mkdir()
        model.save(tmp_path / name / "model.keras")
        np.save(tmp_path / name / "given.npy", given)
        expected[name] = model.predict_on_batch(given)
    subprocess.run(
        [sys.executable, "-c", _LOADS, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        check=True,
    )
    for name, outputs in expected.items():
        with np.load(tmp_path / name / "found.npz") as found:
            for key, value in outputs.items():
                # the two backends take their sums in another order
                np.testing.assert_allclose(
                    found[key], value, rtol=1e-4, atol=1e-5, err_msg=f"{name} {key}"
                )
