"""Which candidate is taken, and what is built and measured of a small real model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from settled import settled

from export.candidates import Candidate, choose
from export.convert import RISKY, saved_model
from export.cost import cost
from export.mixed import operations, these_alone, to_mixed, weighted
from export.ranges import find_ranges
from export.sensitive import Layer, least_changing, score_changes
from export.targets import SCHEMES, cost_on, latencies, schemes_for
from qc.bundle import Bundle, Golden
from qc.errors import GateError, UsageError
from qc.recipe import ModelTable
from training.model import build_model

pytestmark = pytest.mark.usefixtures("repeatable")


def _tried(scheme: str, latency_ms: float, why_not: str | None = None, **more: Any) -> Candidate:
    return Candidate(None, {"scheme": scheme, "latency_ms": latency_ms, "why_not": why_not, **more})


@pytest.mark.parametrize(
    ("rows", "taken"),
    [
        ([("int8", 1.0, None), ("float32", 2.0, None)], "int8"),
        ([("int8", 2.0, None), ("float32", 1.0, None)], "float32"),
        ([("float32", 1.0, None), ("int8", 1.09, None)], "int8"),  # nearly equal: the smaller
        ([("float32", 1.0, None), ("int8", 1.11, None)], "float32"),
        ([("int8", 1.0, "agrees too little"), ("mixed", 3.0, None)], "mixed"),
        ([("int8", 1.0, "agrees too little"), ("int8-qat", 1.0, None)], "int8-qat"),
        ([("int8", 1.0, "a"), ("float32", 1.0, "b")], None),
    ],
)
def test_the_fastest_that_passes_is_taken(
    rows: list[tuple[str, float, str | None]], taken: str | None
) -> None:
    tried = [_tried(*row) for row in rows]
    chosen = choose(tried, "cpu", "auto")
    assert (chosen and chosen.row["scheme"]) == taken
    if chosen is not None:
        assert chosen.row["why_not"] is None
        assert all(c.row["why_not"] for c in tried if c is not chosen)


def test_what_passes_and_is_not_taken_is_told_why() -> None:
    slow, fast = _tried("int8", 2.0), _tried("float32", 1.0)
    assert choose([slow, fast], "cpu", "auto") is fast
    assert slow.row["why_not"] == "passes, but needs more: 2 ms, float32 1"
    near = _tried("float32", 0.95)
    assert choose([_tried("int8", 1.0), near], "cpu", "auto") is not near
    assert near.row["why_not"] == "passes, larger and hardly faster: 0.95 ms, int8 1"


def test_a_scheme_that_was_asked_for_is_taken_alone() -> None:
    slow, fast = _tried("int8", 9.0), _tried("float32", 1.0)
    assert choose([fast, slow], "cpu", "int8") is slow
    assert fast.row["why_not"] == "export.scheme is 'int8'"
    assert choose([_tried("int8", 9.0, "fails"), fast], "cpu", "int8") is None


def test_a_microcontroller_takes_what_needs_the_least_memory() -> None:
    small = _tried("int8", 9.0, arena_bytes=40_000)
    large = _tried("float32", 1.0, arena_bytes=120_000)
    assert choose([large, small], "mcu", "auto") is small
    assert large.row["why_not"] == "passes, but needs more: 1.2e+05 bytes, int8 4e+04"


def test_a_target_runs_its_schemes_and_no_other() -> None:
    assert schemes_for("cpu", "auto") == SCHEMES["cpu"]
    assert schemes_for("cpu", "dynamic") == ("dynamic",)
    assert schemes_for("ethos-u55-128", "auto") == ("int8",)
    with pytest.raises(UsageError, match=r"no such target.*ethos-u55-128.*found 'gpu'"):
        schemes_for("gpu", "auto")
    with pytest.raises(UsageError, match=r"mcu cannot run export\.scheme = 'dynamic'"):
        schemes_for("mcu", "dynamic")


def test_a_target_without_its_tool_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.targets.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs ethos-u-vela.*attention-qc\[targets\]"):
        schemes_for("ethos-u55-128", "auto")
    assert schemes_for("cpu", "auto")


def test_the_models_take_turns_and_the_least_disturbed_pass_counts() -> None:
    class _Clock:
        runtime = "clock"

        def __init__(self, name: str, ms: float) -> None:
            self.name, self.ms = name, ms

        def predict(self, image: np.ndarray) -> Any:
            order.append(self.name)
            disturbed = 1 + len(order) % 3  # two passes of three take longer
            return type("P", (), {"infer_ns": int(self.ms * 1e6) * disturbed})

    order: list[str] = []
    pair = [_Clock("a", 1.5), _Clock("b", 0.5)]
    assert latencies(pair, np.zeros((1,))) == [1.5, 0.5]  # type: ignore[arg-type]
    assert order[:4] == ["a", "b", "a", "b"]


# real models


PICTURES = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), np.uint8)


def _model(backbone: str, block: str = "cbam") -> keras.Model:
    keras.utils.set_random_seed(0)
    table = ModelTable(backbone=backbone, block=block, size_hw=(64, 64), stride=16, width=0.5)
    model = build_model(table, 3)
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:  # gates and scales start at 0 or 1: nothing to round
        if weight.path.endswith(("gamma", "bias", "beta")):
            weight.assign(weight + rng.normal(0, 0.2, weight.shape))
    return model


@pytest.fixture(scope="module", params=["inverted_residual", "compact_transformer"])
def built(request: pytest.FixtureRequest) -> Any:
    block = "cbam" if request.param == "inverted_residual" else "none"
    model = _model(request.param, block)
    with saved_model(model) as saved:
        made = {s: saved.convert(s, PICTURES) for s in ("int8", "dynamic", "float16", "float32")}
    exact = made["float32"].model
    ranges = find_ranges(exact, PICTURES)
    made["mixed"] = to_mixed(exact, ranges, operations=("BATCH_MATMUL", "SOFTMAX"))
    return model, made, ranges


def _run(model: bytes, pictures: np.ndarray = PICTURES) -> np.ndarray:
    """Scores of a flatbuffer by plain LiteRT, `(N, 3)`."""
    from ai_edge_litert.interpreter import Interpreter

    made = Interpreter(model_content=model)
    made.allocate_tensors()
    (given,) = made.get_input_details()
    (score,) = [d for d in made.get_output_details() if len(d["shape"]) == 2]
    scores = []
    for picture in pictures:
        made.set_tensor(given["index"], picture[None].astype(given["dtype"]))
        made.invoke()
        value = made.get_tensor(score["index"])[0].astype(np.float32)
        scale, zero_point = score["quantization"]
        scores.append((value - zero_point) * scale if scale else value)
    return np.stack(scores)


def test_every_scheme_says_what_the_float_model_says(built: Any) -> None:
    model, made, _ = built
    exact = np.asarray(model.predict_on_batch(PICTURES.astype(np.float32))["score"])
    for scheme, allowed in (("float32", 1e-4), ("float16", 0.01), ("dynamic", 0.1), ("mixed", 0.2)):
        assert np.abs(_run(made[scheme].model) - exact).max() < allowed, scheme
    assert made["float32"].input.dtype == "float32" and made["int8"].input.dtype == "uint8"


def test_smaller_schemes_are_smaller(built: Any) -> None:
    _, made, _ = built
    size = {scheme: len(found.model) for scheme, found in made.items()}
    assert size["float32"] > size["float16"] > size["dynamic"]
    # of a network as small as this, zeros of the first convolution's blocks are a sixth of int8
    assert size["float32"] > 1.6 * size["int8"]


def test_every_scheme_stores_the_same_parameters(built: Any) -> None:
    """Also in float16, which widens them first, and behind the flatbuffer."""
    _, made, _ = built
    stored = {scheme: cost(found.model)["parameters"] for scheme, found in made.items()}
    plain = stored.pop("float32")
    assert plain > 5_000
    blocks = stored.pop("int8") - plain  # of the first convolution, which int8 lays out so
    assert 0 < blocks < plain
    own = stored.pop("mixed") - plain  # biases that layers share in float
    assert 0 <= own < 0.01 * plain
    assert stored == dict.fromkeys(stored, plain)


def test_what_tflite_runtime_runs_wrongly_is_not_for_it(built: Any) -> None:
    _, made, _ = built
    for scheme, found in made.items():
        assert ("tflite-runtime" in found.runtimes) == (scheme not in RISKY)


def _float_layers(model: bytes) -> dict[str, set[str]]:
    """Operation -> outputs that are float, but for those that quantise and dequantise."""
    from ai_edge_litert import schema_py_generated as schema

    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
    graph = schema.ModelT.InitFromPackedBuf(model, 0)
    main, found = graph.subgraphs[0], {}
    for operator in main.operators:
        code = graph.operatorCodes[operator.opcodeIndex]
        out = main.tensors[operator.outputs[0]]
        if out.type == schema.TensorType.FLOAT32:
            kind = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
            found.setdefault(kind, set()).add(out.name.decode())
    found.pop("DEQUANTIZE", None)
    return found


def test_what_is_named_stays_in_float_and_nothing_else_changes(built: Any) -> None:
    _, made, ranges = built
    exact = made["float32"].model
    full = _float_layers(to_mixed(exact, ranges).model)
    left = _float_layers(made["mixed"].model)
    assert set(left) - set(full) == {"SOFTMAX", "BATCH_MATMUL"} & operations(exact)
    inner = [w.name for w in weighted(exact) if w.macs > 1e5]
    convolutions = [name for name in inner if name in _float_layers(exact)["CONV_2D"]][:2]
    some = _float_layers(to_mixed(exact, ranges, layers=convolutions).model)
    assert some["CONV_2D"] == set(convolutions)
    assert {k: v for k, v in some.items() if k != "CONV_2D"} == full


def test_layers_are_in_int8_alone(built: Any) -> None:
    _, made, ranges = built
    exact = made["float32"].model
    layers = sorted(weighted(exact), key=lambda w: -w.macs)
    names = [w.name for w in layers[:3]]
    found = these_alone(exact, ranges, names)
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    every, left = (_float_layers(model) for model in (exact, found.model))
    for kind, before in every.items():
        gone = set(names) if kind in kinds else set()
        assert left[kind] == before - gone, kind
    assert found.score.dtype == found.attention.dtype == found.input.dtype == "float32"


def test_what_a_layer_multiplies_and_touches(built: Any) -> None:
    _, made, _ = built
    layers = weighted(made["float32"].model)
    stem = layers[0]  # 3 x 3 x 3 weights of 64 x 64 pixels, every second one
    side, channels = 32, stem.macs // (32 * 32 * 27)
    assert stem.macs == side * side * channels * 27
    assert stem.elements == 64 * 64 * 3 + side * side * channels
    products = operations(made["float32"].model) & {"BATCH_MATMUL"}
    total = cost(made["float32"].model)["mmacs"] * 1e6
    assert (sum(w.macs for w in layers) == pytest.approx(total, abs=1e3)) != bool(products)


def test_ranges_are_the_least_and_the_greatest_value(built: Any) -> None:
    _, made, _ = built
    exact = made["float32"].model
    one, other, both = (find_ranges(exact, PICTURES[a:b]) for a, b in ((0, 8), (8, 16), (0, 16)))
    for name, found in both.items():
        assert found["max"] == max(one[name]["max"], other[name]["max"])
        assert found["min"] == min(one[name]["min"], other[name]["min"])
    (image,) = [n for n in both if "image" in n]
    assert (both[image]["min"], both[image]["max"]) == (0, 255)


def test_means_are_of_each_channel(built: Any) -> None:
    _, made, ranges = built
    exact = made["float32"].model
    (image,) = [n for n in ranges if "image" in n]
    # but for the two corners that calibration paints
    np.testing.assert_allclose(ranges[image]["mean"], PICTURES.mean((0, 1, 2)), rtol=2e-4)
    half = [find_ranges(exact, PICTURES[a:b]) for a, b in ((0, 8), (8, 16))]
    for name, found in ranges.items():
        means = np.mean([h[name]["mean"] for h in half], axis=0)
        np.testing.assert_allclose(found["mean"], means, rtol=1e-5, atol=1e-6)


def test_the_layer_that_was_spoilt_is_found() -> None:
    """A range 40 times too wide costs the layer its steps: it changes the score more."""
    with saved_model(settled(PICTURES)) as saved:
        exact = saved.convert("float32").model
    ranges = find_ranges(exact, PICTURES)
    name = next(n for n in ranges if "stage2_1_project" in n)
    wide = {k: dict(v) for k, v in ranges.items()}
    wide[name] |= {end: wide[name][end] * 40 for end in ("min", "max")}
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))

    before, after = (
        {w.name: w.change for w in score_changes(exact, found, PICTURES, 0, tell)}
        for found in (ranges, wide)
    )
    touched = {layer for layer in after if after[layer] != before[layer]}
    assert name in touched and len(touched) <= 2, "the layer, and the one that reads it"
    assert all(after[layer] > 5 * before[layer] for layer in touched)
    assert told[-1][0] == told[-1][1] == len(told) / 2 > 5


def test_a_layer_that_cannot_be_in_int8_is_left_out() -> None:
    with saved_model(settled(PICTURES)) as saved:
        exact = saved.convert("float32").model
    ranges = {k: dict(v) for k, v in find_ranges(exact, PICTURES).items()}
    name = next(n for n in ranges if "stage2_1_project" in n)
    known = {w.name for w in score_changes(exact, ranges, PICTURES[:4], 0)}
    ranges[name] = {k: np.zeros_like(v) for k, v in ranges[name].items()}
    rest = {w.name for w in score_changes(exact, ranges, PICTURES[:4], 0)}
    assert name in known and known - rest <= {n for n in known if "stage2" in n}
    assert name not in rest and len(rest) > 3


def test_those_are_put_in_int8_that_change_least_for_what_they_save() -> None:
    layers = [
        Layer("loud", saved=100, change=0.5),
        Layer("quiet", saved=100, change=0.1),
        Layer("large", saved=800, change=0.2),  # for what it saves, the quietest
        Layer("costly", saved=-50, change=0.0),
    ]
    assert least_changing(layers, 0.2) == ["large"]
    assert least_changing(layers, 0.85) == ["large", "quiet"]
    assert least_changing(layers, 1.0) == ["large", "quiet", "loud"]
    assert least_changing([], 0.5) == []


@pytest.mark.parametrize("constant", [0.0, 1e-12])
def test_a_layer_that_is_constant_is_refused_before_a_runtime_sees_it(constant: float) -> None:
    with saved_model(settled(PICTURES)) as saved:
        exact = saved.convert("float32").model
    ranges = {k: dict(v) for k, v in find_ranges(exact, PICTURES).items()}
    name = next(n for n in ranges if "stage2_1_project" in n)
    ranges[name] = {k: np.full_like(v, constant) for k, v in ranges[name].items()}
    with pytest.raises(GateError, match=r"the same on every calibration image.*stage2_1_project"):
        to_mixed(exact, ranges)


def _bundle(model: bytes) -> Bundle:
    nothing = Golden(np.zeros((0,)), np.zeros((0,)), None, ())
    return Bundle(None, None, model, nothing, {})  # type: ignore[arg-type]


def test_what_an_npu_and_a_microcontroller_need(built: Any) -> None:
    _, made, _ = built
    pytest.importorskip("ethosu")
    found = cost_on("ethos-u55-128", _bundle(made["int8"].model))
    assert found["cycles"] > 10_000 and 0 < found["sram_kb"] < 2000
    assert 0.5 < found["npu_share"] <= 1
    assert found["latency_ms"] == pytest.approx(found["cycles"] / 500e3, rel=0.01)  # at 500 MHz
    assert cost_on("cpu", _bundle(made["int8"].model)) == {}


def test_a_microcontroller_says_what_it_lacks() -> None:
    pytest.importorskip("tflite_micro")
    with saved_model(_model("inverted_residual")) as saved:
        fits, hybrid = saved.convert("int8", PICTURES), saved.convert("dynamic")
    assert 10_000 < cost_on("mcu", _bundle(fits.model))["arena_bytes"] < 500_000
    with pytest.raises(GateError, match=r"tflite-micro cannot run the model.*Hybrid"):
        cost_on("mcu", _bundle(hybrid.model))
