"""One frame becomes one inspection: preprocess, predict, decide. Whatever goes wrong is a FAULT."""

from __future__ import annotations

import os
import time
from itertools import count

from qc.bundle import Bundle
from qc.decide import Decision, decide
from qc.errors import QCError
from qc.manifest import Manifest
from qc.overlay import MapKind, draw_overlay, scale_map
from qc.preprocess import apply
from qc.replay import Predictor
from qc.types import FloatArray, Frame, Image, Inspection, Prediction, Verdict

_PREFIX, _NUMBERS = os.urandom(8).hex(), count()
"""An inspection's id: drawn once for each start, and a number; no call of the system for a part."""


def inspect_frame(
    frame: Frame, bundle: Bundle, predictor: Predictor, *, deadline_ms: float | None = None
) -> Inspection:
    """Judge one frame.

    Args:
        frame: a picture, or the fault that stands for it.
        bundle: whose model, thresholds and geometry apply.
        predictor: runs the bundle's model.
        deadline_ms: a verdict later than this after the capture is a FAULT, and a frame that is too
            late already is not judged any more; None: no deadline.

    Returns:
        The inspection with its image; `timings_ms` holds "total", the duration of this call, and
        "infer", the pass through the model, where there was one.
    """
    start = time.perf_counter_ns()
    if deadline_ms is not None and _age_ms(frame) > deadline_ms:
        why = (
            f"its turn came {_age_ms(frame):.0f} ms after the capture, deadline {deadline_ms:g} ms"
        )
        prediction, decision = None, Decision(Verdict.FAULT, why)
    else:
        prediction, decision = _judge(frame, bundle, predictor)
    if deadline_ms is not None and decision.verdict is not Verdict.FAULT:
        age_ms = _age_ms(frame)
        if age_ms > deadline_ms:
            why = f"the verdict came {age_ms:.0f} ms after the capture, deadline {deadline_ms:g} ms"
            decision = Decision(Verdict.FAULT, why)
    timings_ms = {"total": (time.perf_counter_ns() - start) / 1e6}
    if prediction is not None:
        timings_ms["infer"] = prediction.infer_ns / 1e6
    return _inspection(frame, bundle, prediction, decision, timings_ms)


def fault_of(frame: Frame, bundle: Bundle, why: str, *, started_s: float) -> Inspection:
    """The FAULT of a frame whose verdict nobody waits for any longer.

    Args:
        frame: what was captured.
        bundle: that was to judge it.
        why: in words.
        started_s: monotonic clock when the inspection began.
    """
    total_ms = (time.monotonic() - started_s) * 1000
    return _inspection(frame, bundle, None, Decision(Verdict.FAULT, why), {"total": total_ms})


def _age_ms(frame: Frame) -> float:
    return (time.monotonic_ns() - frame.monotonic_ns) / 1e6


def _inspection(
    frame: Frame,
    bundle: Bundle,
    prediction: Prediction | None,
    decision: Decision,
    timings_ms: dict[str, float],
) -> Inspection:
    return Inspection(
        inspection_id=f"{_PREFIX}{next(_NUMBERS):016x}",
        frame_id=frame.frame_id,
        source_id=frame.source_id,
        captured_at=frame.captured_at,
        verdict=decision.verdict,
        reason=decision.reason,
        bundle_id=bundle.manifest.bundle_id,
        part_id=frame.part_id,
        lot=frame.lot,
        defect_class=decision.defect_class,
        defect_score=decision.defect_score,
        prediction=prediction,
        timings_ms=timings_ms,
        image=frame.image,
        deep=frame.deep,
    )


def _judge(
    frame: Frame, bundle: Bundle, predictor: Predictor
) -> tuple[Prediction | None, Decision]:
    if frame.image is None:
        return None, Decision(Verdict.FAULT, frame.fault or "no image")
    manifest = bundle.manifest
    try:
        prediction = predictor.predict(apply(manifest.preprocess, frame.image))
        decision = decide(prediction, manifest.decision, manifest.class_names, manifest.good)
    except QCError as error:
        return None, Decision(Verdict.FAULT, error.message)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is a FAULT, never a lost frame
        return None, Decision(Verdict.FAULT, f"{predictor.runtime} failed: {error}")
    if decision.score is not None and decision.score is not prediction.score:
        # what is shown and kept are the scores that were judged
        prediction = Prediction(decision.score, prediction.attention, prediction.infer_ns)
    return prediction, decision


def overlay_of(
    inspection: Inspection, manifest: Manifest, hidden: FloatArray | None = None
) -> Image | None:
    """The picture with the heat of its most likely defect class; None where there is no picture.

    Args:
        inspection: with its image.
        manifest: of the bundle that judged.
        hidden: an occlusion map `(h, w)` of that class, drawn where the model gave no map.
    """
    if inspection.image is None:
        return None
    level = None
    kind: MapKind = "model"
    prediction, name = inspection.prediction, inspection.defect_class
    if prediction is not None and prediction.attention is not None and name is not None:
        evidence = prediction.attention[..., manifest.class_names.index(name)]
        level = scale_map(evidence, manifest.overlay.lo, manifest.overlay.hi)
    elif hidden is not None:
        from edge.occlusion import SCALE

        level, kind = scale_map(hidden, *SCALE), "occlusion"
    return draw_overlay(
        inspection.image,
        level,
        verdict=inspection.verdict,
        defect_class=name,
        score=inspection.defect_score,
        part_id=inspection.part_id,
        note=inspection.reason,
        kind=kind,
    )
