"""What `qc review --compare A B` gives the station: two bundles that judge kept pictures."""

from __future__ import annotations

import time
from pathlib import Path

from edge.comparing import Comparer, Judge, Opinion
from edge.inspect import inspect_frame
from edge.predictors.litert import LiteRTPredictor
from qc.bundle import Bundle, open_bundle
from qc.replay import require_replay
from qc.types import Frame, Image, utc_now


def comparer(first: Path, second: Path) -> Comparer:
    """Two bundles for the station's page that compares them.

    Raises:
        BundleError: one is not a whole bundle, or does not replay here.
    """
    bundles = (open_bundle(first), open_bundle(second))

    def make() -> tuple[Judge, Judge]:
        return _judge(bundles[0]), _judge(bundles[1])

    return Comparer((_name(first, bundles[0]), _name(second, bundles[1])), make)


def _name(path: Path, bundle: Bundle) -> str:
    return f"{path.name} ({bundle.manifest.bundle_id[:8]})"


def _judge(bundle: Bundle) -> Judge:
    predictor = LiteRTPredictor(bundle)
    require_replay(bundle, predictor)

    def judge(image: Image) -> Opinion:
        frame = Frame(image, "compared", "compare", utc_now(), time.monotonic_ns())
        found = inspect_frame(frame, bundle, predictor)
        return Opinion(found.verdict, found.defect_class, found.defect_score)

    return judge
