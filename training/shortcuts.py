"""Shortcuts: what sets a class apart that has nothing to do with the part.

Where every picture of a defect has a size, a file type or a colour mode that no other class has, a
model may learn that in place of the defect, and every figure on such a set is worth nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from qc.types import Image, Sample

MOST = 0.5
"""A property counts where it covers at least this share of a class, and of no other."""


def properties(sample: Sample, image: Image) -> dict[str, str]:
    """What a picture has besides its content: size, file type, grey or colour."""
    grey = bool((image == image[..., :1]).all())
    return {
        "size": f"{image.shape[1]} x {image.shape[0]} pixels",
        "file type": sample.image_path.suffix.lower() or "no file ending",
        "colour mode": "grey" if grey else "colour",
    }


def shortcuts(samples: Sequence[Sample], found: Sequence[Mapping[str, str]]) -> list[str]:
    """Sentences on each property that only one class has.

    Args:
        samples: N samples.
        found: their `properties`, in the same order.

    Returns:
        Such as "100 % of class hole are grey, no image of another class is (colour mode)"; none
        where there is only one class.
    """
    images = Counter(label for s in samples for label in s.labels)
    if len(images) < 2:
        return []
    having: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for sample, values in zip(samples, found, strict=True):
        for pair in values.items():
            having[pair].update(sample.labels)
    sentences = []
    for (name, value), classes in sorted(having.items()):
        label, count = classes.most_common(1)[0]
        if len(classes) == 1 and count > 1 and count >= MOST * images[label]:
            share = f"{100 * count / images[label]:.0f} %"
            sentences.append(
                f"{share} of class {label} are {value}, no image of another class is ({name})"
            )
    return sentences
