"""A picture with heat for each part that is not OK, in a folder that a person looks through."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from edge.message import Message, NeverTakenError
from qc.bundle import Bundle
from qc.errors import FaultError
from qc.imageio import read_image, write_jpeg
from qc.overlay import draw_overlay, scale_map
from qc.tables import Table
from qc.types import Image, Verdict


class Options(Table):
    """Keys of this sink in a line file; see `Sink`."""

    path: Path


class Sink:
    """Writes overlays of NG, REVIEW and FAULT inspections as `<verdict>_<part>_<id>.jpg`.

    The picture is the one that was kept beside the journal; the scale of the heat is that of the
    bundle that judged the part.

    Args:
        path: the folder; it is made.
        bundle: that the line starts with.

    Raises:
        FaultError: the folder cannot be made.
    """

    verdicts = (Verdict.NG, Verdict.REVIEW, Verdict.FAULT)

    def __init__(self, path: Path, bundle: Bundle) -> None:
        self.path = Path(path)
        self.bundle = bundle
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FaultError("the folder cannot be made", where=path, found=error) from error

    def write(self, message: Message) -> None:
        """Write one overlay; OK parts and faults without a picture leave no file.

        Raises:
            NeverTakenError: the picture was not kept, or is gone.
            DataError: the picture cannot be read, or the journal knows no such bundle.
            FaultError: the file cannot be written.
        """
        row = message.row
        if row.verdict not in self.verdicts:
            return
        if row.verdict is Verdict.FAULT and row.image_path is None:
            return  # most faults are a capture that gave no picture
        part = re.sub(r"[^A-Za-z0-9.-]+", "-", row.part_id or "part")[:80]
        name = f"{row.verdict.value}_{part}_{row.inspection_id[:8]}.jpg"
        write_jpeg(self.path / name, _overlay(message))

    def close(self) -> None:
        """Nothing is held open."""


def _overlay(message: Message) -> Image:
    """The kept picture with the heat of its most likely defect class."""
    row, file = message.row, message.image_file
    if file is None:
        raise NeverTakenError(
            "there is no picture to draw on",
            where=f"inspection {row.inspection_id}",
            expected="the kept picture",
            found="none was kept" if row.image_path is None else f"{row.image_path} is gone",
        )
    level = None
    if row.evidence is not None and np.isfinite(row.evidence).all():
        scale = message.manifest().overlay
        level = scale_map(row.evidence, scale.lo, scale.hi)
    return draw_overlay(
        read_image(file),
        level,
        verdict=row.verdict,
        defect_class=row.defect_class,
        score=row.defect_score,
        part_id=row.part_id,
        note=row.reason,
    )
