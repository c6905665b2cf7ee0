"""One conversion: the samples, the folder they are written into, and what is said of it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from qc import imageio
from qc.types import Sample

Tell = Callable[[int, int], None]


@dataclass
class Job:
    """What a writer is given, and what it leaves for the result.

    Args:
        samples: in the order of their dataset.
        root: the empty folder to write into.
        format: the layout that must read it back; a writer may name a closer one.
        good: the class that means that nothing is there, as the user said; None: not said.
        tell: told of images done and images in all.
        boxes, polygons, masks: how many were written.
        paths: of the images below `root`, one a sample.
        labels: of each image as they will be read, by its path.
        notes: what a person must know, with how often; `{n}` in it stands for that number.
    """

    samples: Sequence[Sample]
    root: Path
    format: str
    good: str | None = None
    tell: Tell = lambda done, total: None
    boxes: int = 0
    polygons: int = 0
    masks: int = 0
    paths: list[PurePosixPath] = field(default_factory=list)
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def has_splits(self) -> bool:
        """Whether every sample has a split."""
        return all(s.split is not None for s in self.samples)

    def images(self) -> Iterator[tuple[Sample, PurePosixPath, tuple[int, int]]]:
        """Write each image: its sample, its path below `root`, its height and width.

        Raises:
            DataError: an image cannot be read.
            FaultError, OSError: it cannot be written.
        """
        pairs = zip(self.samples, self.paths, strict=True)
        for done, (sample, path) in enumerate(pairs, 1):
            yield sample, path, self._write(sample, self.root / path)
            self.tell(done, len(self.samples))

    def _write(self, sample: Sample, target: Path) -> tuple[int, int]:
        """Copy an image file byte for byte, or write the picture of another source as PNG."""
        pixels = imageio.read_sample(sample)  # a file too: a damaged one is not handed on
        target.parent.mkdir(parents=True, exist_ok=True)
        if sample.source is None:
            shutil.copyfile(sample.image_path, target)
        else:
            imageio.write_png(target, pixels)
            self.notes["{n} picture(s) that are no image files became PNG files"] += 1
        height, width = pixels.shape[:2]
        return height, width

    def lines(self) -> list[str]:
        """The notes for a person, with their numbers."""
        return [text.replace("{n}", str(n)) for text, n in self.notes.items() if n]
