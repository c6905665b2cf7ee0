"""Every scheme that a target can run, built, measured on VAL and held against the gate.

Where full int8 fails, it is rescued before the next scheme has its turn: each layer is tried in
int8 alone, and those that change the score least for what they save stay in int8, so many that nine
tenths of it are saved, then fewer down to a fifth, everything else in float. Where the user allows
it the model is fine-tuned under simulated quantisation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from export.convert import Converted, SavedModel, saved_model
from export.cost import cost
from export.fit_decision import Parts, fit_decision
from export.mixed import ATTENTION, WEIGHTED, operations, these_alone, to_mixed
from export.papers import draft, facts_of, predictor_of, severity_of
from export.parity import agreement, compare, why_not
from export.ranges import Ranges, find_ranges
from export.sensitive import Layer, least_changing, score_changes
from export.targets import SCHEMES, cost_on, latencies
from export.temperature import fit_temperature
from qc.bundle import Bundle
from qc.decide import DecisionSpec, calibrated, defect_scores
from qc.errors import QCError
from qc.replay import Predictor
from training.evaluate import Outputs, run_keras, run_predictor, verdicts
from training.pipeline import Images, Progress
from training.robustness import noisy
from training.run import RunPlan
from training.split import group_of

FineTune = Callable[[Progress], keras.Model]
"""Trains a copy of the model on under simulated quantisation."""

_MARGIN = 1.1
"""So much slower than the fastest may the scheme be that is taken for being the smaller one."""
_SHARES = (0.9, 0.7, 0.5, 0.35, 0.2)
"""Of what the layers could save in int8."""
_WORST = 5


@dataclass
class Candidate:
    """One scheme, tried.

    Args:
        converted: the model, or None where it could not be built.
        row: its line in `candidates` of `qc export --json`.
        bundle, predictor, outputs, decision: what it was measured with; None where it cannot run.
    """

    converted: Converted | None
    row: dict[str, Any]
    bundle: Bundle | None = None
    predictor: Predictor | None = None
    outputs: Outputs | None = None
    decision: DecisionSpec | None = None

    @property
    def passes(self) -> bool:
        """Whether nothing speaks against it."""
        return self.row["why_not"] is None


@dataclass
class Trial:
    """What every candidate is tried on.

    Args:
        plan: the run.
        model: its float model.
        exact: what the float model makes of VAL.
        calibration: `(N, H, W, 3)` uint8 from TRAIN, and the hash of its ids.
        val: the decoded split.
        target: what to export for.
        tell: one progress bar for all: work done, work in all, and the step it is in.
        quiet: hide what the converters print.
    """

    plan: RunPlan
    model: keras.Model
    exact: Outputs
    calibration: np.ndarray
    calibration_hash: str
    val: Images
    target: str
    tell: Callable[[int, int, str], None]
    quiet: bool = True
    worst: list[Layer] = field(default_factory=list)
    noise_agreement: float | None = None
    _done: int = 0
    _total: int = 0
    _at: int = 0
    _step: str = ""

    def run(self, schemes: Sequence[str], fine_tune: FineTune | None) -> list[Candidate]:
        """Try the schemes, and what rescues int8 where it fails.

        Where int8 failed, `worst` then holds the layers that change the score most. Where its
        verdicts differ too often, `noise_agreement` is the share of the float model's own that
        stay, at the same thresholds, under noise of one grey level.
        """
        self._total = (len(schemes) + 1) * len(self.val) + 2 * len(self.calibration)
        self._begin("laying the graph out")
        with saved_model(self.model, quiet=self.quiet) as saved:
            tried = [self.try_one(s, lambda s=s: self._convert(saved, s)) for s in _plain(schemes)]
            int8 = next((c for c in tried if c.row["scheme"] == "int8"), None)
            failed = int8 is not None and not int8.passes
            if int8 is not None:
                self.noise_agreement = self._under_noise(int8)
            if failed or "mixed" in schemes:
                tried += self._mixed(saved, schemes, failed, fine_tune)
        self._begin("timing")
        self._time([c for c in tried if c.predictor is not None])
        self.tell(self._total, self._total, "")
        return tried

    def _convert(self, saved: SavedModel, scheme: str) -> Converted:
        if scheme == "int8":
            return saved.convert(scheme, self.calibration, self._calibrating("int8: calibrating"))
        return saved.convert(scheme)

    def _calibrating(self, step: str) -> Progress:
        """Tells of calibration images seen; after the last one the step before goes on."""
        before, tell = self._step, self._part(len(self.calibration))

        def calibrating(done: int, total: int) -> None:
            self._step = step if done < total else before
            tell(done, total)

        return calibrating

    def _mixed(
        self, saved: SavedModel, schemes: Sequence[str], failed: bool, fine_tune: FineTune | None
    ) -> Iterator[Candidate]:
        self._begin("mixed: converting")
        exact = saved.convert("float32", columns=False).model
        passed = False
        if "mixed" in schemes and not operations(exact).isdisjoint(ATTENTION[:1]):
            for found in self._without_attention(saved):
                passed |= found.passes
                yield found
        wanted = not passed and tuple(schemes) == ("mixed",)
        if not (failed or wanted):
            return
        ranges = find_ranges(exact, self.calibration, self._calibrating("mixed: calibrating"))
        self._begin("int8: which layers hurt")
        good = self.plan.classes.index(self.plan.recipe.data.good)
        told = self._part(len(self.val))
        layers = score_changes(exact, ranges, self.calibration, good, told, quiet=self.quiet)
        self.worst = layers[:_WORST] if failed else []
        if "mixed" in schemes and not passed:
            yield from self._least_changing(exact, ranges, layers)
        if failed and fine_tune is not None:
            self._begin("int8-qat: fine-tuning")
            copy = fine_tune(self._part(4 * len(self.val)))
            with saved_model(copy, quiet=self.quiet) as tuned:
                yield self.try_one(
                    "int8-qat",
                    lambda: replace(tuned.convert("int8", self.calibration), scheme="int8-qat"),
                )

    def _without_attention(self, saved: SavedModel) -> Iterator[Candidate]:
        """What is slow in int8 in float: the attention, then all that has no weights."""
        exact = saved.convert("float32", columns=True).model
        ranges = find_ranges(exact, self.calibration, self._calibrating("mixed: calibrating"))
        for left in (ATTENTION, operations(exact) - set(WEIGHTED)):
            yield self.try_one(
                "mixed", lambda k=left: to_mixed(exact, ranges, operations=k, quiet=self.quiet)
            )

    def _least_changing(
        self, exact: bytes, ranges: Ranges, layers: Sequence[Layer]
    ) -> Iterator[Candidate]:
        """Fewer and fewer layers in int8, until it passes."""
        if not layers:  # the row says why
            yield self.try_one("mixed", lambda: to_mixed(exact, ranges, quiet=self.quiet))
        fewer = [tuple(least_changing(layers, share)) for share in _SHARES if layers]
        for names in dict.fromkeys(fewer):
            found = self.try_one(
                "mixed", lambda n=names: these_alone(exact, ranges, n, quiet=self.quiet)
            )
            yield found
            if found.passes:
                return

    def try_one(self, scheme: str, build: Callable[[], Converted]) -> Candidate:
        """Build a candidate and measure it; what cannot be built or run says why in its row."""
        row: dict[str, Any] = {"scheme": scheme, "bytes": None, "latency_ms": None}
        converted = None
        try:
            self._begin(f"{scheme}: converting")
            converted = build()
            row["bytes"] = len(converted.model)
            row |= {"left_float": list(converted.left_float)} if converted.left_float else {}
            row |= cost(converted.model)
            facts = facts_of(self.plan, converted, self.target, self.calibration_hash)
            bundle = draft(self.plan.path, converted, facts)
            self._begin(f"{scheme}: cost on {self.target}")
            row |= cost_on(self.target, bundle)
            predictor = predictor_of(bundle)
            self._begin(f"{scheme}: judging VAL")
            outputs = run_predictor(predictor, self.val.pixels, self._part(len(self.val)))
        except QCError as error:
            said = dict.fromkeys(("agreement", "recall_drop", "auroc"))
            return Candidate(converted, {**row, **said, "why_not": str(error)})
        self._begin(f"{scheme}: thresholds")
        decision = self.decide(outputs)
        figures = compare(
            self.val.labels,
            self.exact,
            outputs,
            decision=decision,
            classes=self.plan.classes,
            good=self.plan.recipe.data.good,
            groups=[group_of(s) for s in self.val.samples],
        )
        partitions = getattr(predictor, "partitions", None)
        row |= {"partitions": partitions, **figures}
        row["why_not"] = why_not(figures, self.plan.recipe.export)
        return Candidate(converted, row, bundle, predictor, outputs, decision)

    def decide(self, outputs: Outputs) -> DecisionSpec:
        """Temperature and thresholds from a quantised model's own outputs on VAL."""
        plan, table = self.plan, self.plan.recipe.decision
        good = plan.classes.index(plan.recipe.data.good)
        several = plan.recipe.model.task != "multiclass"
        temperature = 1.0
        if table.temperature:
            truth = self.val.truth(len(plan.classes))
            temperature = fit_temperature(outputs.score, truth, good, several)
        spec = {"temperature": temperature, "independent": several}
        blank = DecisionSpec(ok_below={"": 0}, ng_above={"": 0}, max_escape=0, max_overkill=0)
        score = calibrated(outputs.score, blank.model_copy(update=spec), good)
        order = ("good", "minor", "major", "critical")
        worst = [
            max((severity_of(plan, name) for name in s.labels), key=order.index)
            for s in self.val.samples
        ]
        groups = [group_of(s) for s in self.val.samples]
        parts = Parts(defect_scores(score, good), np.array(worst), groups)
        defects = [name for name in plan.classes if name != plan.recipe.data.good]
        return fit_decision(parts, defects, table).model_copy(update=spec)

    def _under_noise(self, int8: Candidate) -> float | None:
        least = self.plan.recipe.export.min_agreement
        if int8.decision is None or int8.row["agreement"] >= least:
            return None
        self._begin("float under noise")
        rng = np.random.default_rng(self.plan.recipe.seed)
        pictures = np.stack([noisy(picture, 1.0, rng) for picture in self.val.pixels])
        outputs = run_keras(self.model, pictures, self._part(len(self.val)))
        classes, good = self.plan.classes, self.plan.recipe.data.good
        before, after = (verdicts(o, int8.decision, classes, good) for o in (self.exact, outputs))
        return agreement(before, after)

    def _time(self, tried: Sequence[Candidate]) -> None:
        if not tried:
            return
        image = self.val.pixels[0]
        found = latencies([c.predictor for c in tried if c.predictor is not None], image)
        for candidate, milliseconds in zip(tried, found, strict=True):
            key = "latency_ms" if candidate.row["latency_ms"] is None else "cpu_latency_ms"
            candidate.row[key] = round(milliseconds, 4)

    def _begin(self, step: str) -> None:
        """Name the step that begins, so that a bar that stands still says why."""
        self._step = step
        self.tell(self._at, self._total, step)

    def _part(self, count: int) -> Progress:
        """What tells of a part of the work of so many steps."""
        start = self._done
        self._done += count
        self._total = max(self._total, self._done)

        def tell(done: int, total: int) -> None:
            self._at = start + done * count // max(total, 1)
            self.tell(self._at, self._total, self._step)

        return tell


def _plain(schemes: Sequence[str]) -> list[str]:
    """What the converter builds by itself; int8 also where only a mixed scheme was asked for."""
    return [s for s in schemes if s != "mixed"] if tuple(schemes) != ("mixed",) else ["int8"]


def choose(tried: Sequence[Candidate], target: str, wanted: str) -> Candidate | None:
    """The fastest that passes; of nearly equal ones the smallest scheme.

    Every other one that passes is told in its `why_not` what is better. On a microcontroller the
    one that needs the least memory is taken.

    Args:
        tried: candidates, measured.
        target: decides by what they are compared.
        wanted: "auto", or the scheme that alone may be taken.
    """
    key, unit = ("arena_bytes", "bytes") if target == "mcu" else ("latency_ms", "ms")

    def rank(candidate: Candidate) -> int:
        return SCHEMES[target].index(_base(candidate))

    passing = [c for c in tried if c.passes and wanted in ("auto", _base(c))]
    if not passing:
        return None
    best = min(float(c.row[key]) for c in passing)
    chosen = min((c for c in passing if float(c.row[key]) <= _MARGIN * best), key=rank)
    for other in tried:
        if not other.passes or other is chosen:
            continue
        figures = f"{other.row[key]:.4g} {unit}, {chosen.row['scheme']} {chosen.row[key]:.4g}"
        if other not in passing:
            other.row["why_not"] = f"export.scheme is {wanted!r}"
        elif float(other.row[key]) > float(chosen.row[key]):
            other.row["why_not"] = f"passes, but needs more: {figures}"
        else:
            other.row["why_not"] = f"passes, larger and hardly faster: {figures}"
    return chosen


def _base(candidate: Candidate) -> str:
    """The scheme without what was done to the weights before."""
    return str(candidate.row["scheme"]).split("-")[0]
