"""How far a model's judgement holds where pictures get worse: light, blur, noise, shift and JPEG.

The pictures are changed at the size of the model's input and judged again by the same predictor. It
is a simulation: a real lamp, lens or belt changes more than one thing at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from qc import metrics
from qc.decide import calibrated, defect_scores
from qc.types import Verdict
from training.images import Progress
from training.judged import Judged

MOST = 100
"""Parts that are judged again, at most: half of them bad where there are enough."""


@dataclass(frozen=True)
class Kind:
    """A way in which pictures get worse.

    Args:
        name: in words.
        unit: of the strengths, in words.
        strengths: three, from weak to strong.
        change: a picture `(H, W, 3)` uint8, a strength and a generator to the changed picture.
    """

    name: str
    unit: str
    strengths: tuple[float, float, float]
    change: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Point:
    """Figures at one strength; `same` is the share of verdicts that stay.

    Args:
        strength: 0 for the pictures as they are.
        auroc: None without both good and bad parts.
        escape, overkill: None without such parts.
        review: share of all parts that a person must see.
        same: share of parts with the verdict of the unchanged picture.
    """

    strength: float
    auroc: float | None
    escape: float | None
    overkill: float | None
    review: float
    same: float


def _light(picture: np.ndarray, share: float, _: np.random.Generator) -> np.ndarray:
    return np.clip(np.rint(picture * (1 + share)), 0, 255).astype(np.uint8)


def _darker(picture: np.ndarray, share: float, _: np.random.Generator) -> np.ndarray:
    return np.rint(picture * (1 - share)).astype(np.uint8)


def _blur(picture: np.ndarray, sigma: float, _: np.random.Generator) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


def noisy(picture: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """A picture with the noise of a sensor, which has no colour where the picture has none.

    Args:
        picture: `(H, W, 3)` uint8.
        sigma: standard deviation, grey levels.
        rng: draws it.
    """
    grey = np.array_equal(picture[..., 0], picture[..., 1])
    grey = grey and np.array_equal(picture[..., 0], picture[..., 2])
    noise = rng.normal(0, sigma, (*picture.shape[:2], 1 if grey else 3))
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def _shift(picture: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    height, width = picture.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    move = np.array(
        [[1, 0, share * width * np.cos(angle)], [0, 1, share * height * np.sin(angle)]], np.float32
    )
    moved = cv2.warpAffine(picture, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def _jpeg(picture: np.ndarray, loss: float, _: np.random.Generator) -> np.ndarray:
    quality = [cv2.IMWRITE_JPEG_QUALITY, round(100 - loss)]
    _, data = cv2.imencode(".jpg", picture[..., ::-1], quality)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)


KINDS = (
    Kind("brighter", "light added, share of it", (0.1, 0.25, 0.5), _light),
    Kind("darker", "light taken away, share of it", (0.1, 0.25, 0.5), _darker),
    Kind("blur", "sigma, pixels of the input", (0.5, 1.0, 2.0), _blur),
    Kind("noise", "sigma, grey levels of 255", (1.0, 4.0, 10.0), noisy),
    Kind("shift", "share of the picture's side", (0.02, 0.05, 0.1), _shift),
    Kind("JPEG", "100 minus the quality", (20.0, 60.0, 85.0), _jpeg),
)


def sample_rows(is_defect: np.ndarray, seed: int = 0) -> np.ndarray:
    """Rows that are judged again: at most 100, half of them bad where there are enough."""
    rng = np.random.default_rng(seed)
    bad, fine = (rng.permutation(np.flatnonzero(which)) for which in (is_defect, ~is_defect))
    n = max(MOST // 2, MOST - len(fine))
    chosen = bad[:n]
    return np.sort(np.concatenate([chosen, fine[: MOST - len(chosen)]]))


def robustness(
    judged: Judged, progress: Progress | None = None, seed: int = 0
) -> dict[str, list[Point]]:
    """Figures by kind and strength; the first point of each is the pictures as they are.

    Args:
        judged: the split; its model judges again.
        progress: told of kinds done.
        seed: of the parts and of the noise.
    """
    rows = sample_rows(judged.is_defect, seed)
    pixels, bad = judged.images.pixels[rows], judged.is_defect[rows]
    before = judged.verdicts[rows]
    start = _point(0.0, judged.value[rows], before, before, bad)
    found: dict[str, list[Point]] = {}
    for number, kind in enumerate(KINDS):
        found[kind.name] = [start]
        for strength in kind.strengths:
            rng = np.random.default_rng([seed, number, round(1000 * strength)])
            outputs = judged.run(np.stack([kind.change(p, strength, rng) for p in pixels]))
            score = outputs.score
            if judged.decision is not None:
                score = calibrated(score, judged.decision, judged.good_index)
            value = defect_scores(score, judged.good_index)
            found[kind.name].append(_point(strength, value, judged.judge(outputs), before, bad))
        if progress is not None:
            progress(number + 1, len(KINDS))
    return found


def _point(
    strength: float, value: np.ndarray, after: np.ndarray, before: np.ndarray, bad: np.ndarray
) -> Point:
    return Point(
        strength,
        metrics.auroc(bad, value),
        float((after[bad] == str(Verdict.OK)).mean()) if bad.any() else None,
        float((after[~bad] == str(Verdict.NG)).mean()) if not bad.all() else None,
        float((after == str(Verdict.REVIEW)).mean()),
        float((after == before).mean()),
    )
