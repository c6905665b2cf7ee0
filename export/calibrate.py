"""Which images the quantiser sees: from TRAIN only, stratified over classes and groups."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterator, Sequence

import numpy as np

from qc.errors import DataError
from qc.types import Sample
from training.split import group_of


def choose_stratified(samples: Sequence[Sample], count: int, seed: int) -> list[Sample]:
    """Take turns over the classes until `count` samples are chosen, and within a class over groups.

    A sample with several classes may be chosen for any of them, once. The order of the groups, and
    of the samples of a group, is random.

    Args:
        samples: of one split.
        count: wanted; fewer where there are not so many.
        seed: decides the order.

    Raises:
        DataError: no sample at all.
    """
    if not samples:
        raise DataError("nothing to choose from", expected="samples", found="none")
    rng = np.random.default_rng(seed)
    by_class: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda s: s.sample_id):
        for label in sorted(set(sample.labels)):
            by_class.setdefault(label, []).append(sample)
    queues = [_in_turns(rows, rng) for _, rows in sorted(by_class.items())]
    chosen: dict[str, Sample] = {}
    while len(chosen) < count and any(queues):
        for queue in queues:
            while queue and queue[0].sample_id in chosen:
                queue.popleft()
            if queue and len(chosen) < count:
                sample = queue.popleft()
                chosen[sample.sample_id] = sample
    return list(chosen.values())


def _in_turns(rows: Sequence[Sample], rng: np.random.Generator) -> deque[Sample]:
    """One sample of every group, then the second of each, and so on."""
    drawn: Counter[str] = Counter()
    turns: list[tuple[int, int]] = []
    for row in rng.permutation(len(rows)):
        group = group_of(rows[row])
        turns.append((drawn[group], int(row)))
        drawn[group] += 1
    # the sort is stable: within a turn the order stays random
    return deque(rows[row] for _, row in sorted(turns, key=lambda turn: turn[0]))


def calibration_hash(samples: Sequence[Sample]) -> str:
    """SHA-256 of the sorted sample ids."""
    return hashlib.sha256("\n".join(sorted(s.sample_id for s in samples)).encode()).hexdigest()


def representative(pixels: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Calibration inputs of batch 1, float32.

    Each carries one black and one white corner pixel: so the input's range is exactly 0 to 255, its
    scale exactly 1, and the line's uint8 picture goes in unchanged.

    Args:
        pixels: `(N, H, W, 3)` uint8.
    """
    for image in pixels:
        one = image[None].astype(np.float32)
        one[0, 0, 0], one[0, 0, 1] = 0.0, 255.0
        yield [one]
