"""A picture with heat for each part that is not OK, in a folder that a person looks through."""

from __future__ import annotations

import re
from pathlib import Path

from edge.inspect import overlay_of
from qc.bundle import Bundle
from qc.errors import FaultError
from qc.imageio import write_png
from qc.tables import Table
from qc.types import Inspection, Verdict


class Options(Table):
    """Keys of this sink in a line file; see `Sink`."""

    path: Path


class Sink:
    """Writes overlays of NG, REVIEW and FAULT inspections as `<verdict>_<part>_<id>.png`.

    Args:
        path: the folder; it is made.
        bundle: its overlay range is the scale of the heat.

    Raises:
        FaultError: the folder cannot be made.
    """

    def __init__(self, path: Path, bundle: Bundle) -> None:
        self.path = Path(path)
        self.bundle = bundle
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FaultError("the folder cannot be made", where=path, found=error) from error

    def write(self, inspection: Inspection) -> None:
        """Write one overlay; OK parts and faults without a picture leave no file.

        Raises:
            FaultError: the file cannot be written.
        """
        if inspection.verdict is Verdict.OK:
            return
        overlay = overlay_of(inspection, self.bundle.manifest)
        if overlay is not None:
            part = re.sub(r"[^A-Za-z0-9.-]+", "-", inspection.part_id or "part")[:80]
            name = f"{inspection.verdict.value}_{part}_{inspection.inspection_id[:8]}.png"
            write_png(self.path / name, overlay)

    def close(self) -> None:
        """Nothing is held open."""
