"""Occlusion maps of a journal's parts: drawn when a person asks, and never taken for the model's.

The station has no model; one is handed in, with a bundle that has no map of its own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from edge.occlusion import SCALE, Occluder
from edge.station import views
from qc.errors import DataError, QCError
from qc.journal import Journal, Row
from qc.manifest import Manifest
from qc.overlay import Level, occlusion_words

_KEPT = 32
"""Maps that are kept: the page and its picture ask for the same one."""


class Occluded:
    """The maps of one journal.

    Args:
        journal: has the pictures.
        occluder: draws; None: nothing is offered.
    """

    def __init__(self, journal: Journal, occluder: Occluder | None) -> None:
        self._journal = journal
        self._occluder = occluder
        self._level = lru_cache(_KEPT)(self._drawn)

    def facts(self, row: Row, manifest: Manifest | None, asked: bool) -> dict[str, Any]:
        """`views.map_facts`, and whether an occlusion map is offered; or that map where asked."""
        own = {**views.map_facts(row, manifest), "kind": "model", "words": "", "offer": False}
        if self._occluder is None or row.evidence is not None or row.defect_class is None:
            return own
        if row.bundle_id != self._occluder.bundle_id:
            judged, here = row.bundle_id or "none", self._occluder.bundle_id
            why = f"No occlusion map: bundle {judged} judged this part, and the station has {here}."
            return own | {"why": f"{own['why']} {why}", "key": ""}
        if not asked:
            return own | {"offer": views.picture_file(self._journal, row) is not None}
        try:
            level = self._level(row.inspection_id)
        except QCError as error:
            return own | {"why": f"No occlusion map: {error.message}", "key": ""}
        low, high = SCALE
        drawn = {"shown": True, "why": "", "lo": low, "hi": high, "kind": "occlusion"}
        return own | drawn | {"words": occlusion_words(level).capitalize()}

    def png(self, row: Row, notice: views.Notice | None = None) -> bytes:
        """The occlusion map as PNG with alpha, of the picture's size.

        Raises:
            DataError: none can be drawn of this part.
            QCError: drawing failed.
        """
        facts = self.facts(row, None, asked=False)
        if not facts["offer"]:
            raise DataError(facts["why"] or "there is no occlusion map", where=row.inspection_id)
        height, width = views.read_picture(self._journal, row).shape[:2]
        return views.layer_png(self._level(row.inspection_id), (height, width), notice)

    def _drawn(self, inspection_id: str) -> Level:
        row = self._journal.get(inspection_id)
        if self._occluder is None or row.defect_class is None or row.defect_score is None:
            raise DataError("there is no occlusion map", where=inspection_id)
        picture = views.read_picture(self._journal, row)
        return self._occluder.level(picture, row.defect_class, row.defect_score)
