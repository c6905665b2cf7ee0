"""The pictures of a part, each a layer of its own: picture, heat, outline, occlusion map, mask."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Response
from numpy.typing import NDArray

from edge.station import views
from edge.station.refusal import Refused
from edge.station.research import noticed
from edge.station.station import IMAGE_HEADERS, Station
from edge.station.users import require
from qc.imageio import read_image
from qc.journal import Journal
from qc.journal_masks import kept_mask

Digest = Annotated[str, Query(pattern="^[0-9a-f]{64}$")]
Grey = Annotated[int, Query(ge=-(2**16), le=2**17)]
"""An end of a window over 16 bit; it may lie beyond what a pixel can be."""


def mask_of(book: Journal, inspection_id: str, sha256: str) -> NDArray[np.bool_]:
    """A kept mask of a part, `(H, W)`.

    Raises:
        DataError: there is no such part or mask, or it is not the one that was reviewed.
    """
    row = book.get(inspection_id)
    return np.asarray(read_image(kept_mask(book.path, row.inspection_id, sha256))[..., 0] > 127)


def router(station: Station) -> APIRouter:
    """The routes of the pictures."""
    pages = APIRouter(dependencies=[Depends(require("look"))])
    book = station.journal
    notice = noticed if station.research else None

    def png(data: bytes) -> Response:
        return Response(data, media_type="image/png", headers=IMAGE_HEADERS)

    @pages.get("/part/{inspection_id}/image.png")
    def image(inspection_id: str) -> Response:
        return png(views.picture_png(book, book.get(inspection_id)))

    @pages.get("/part/{inspection_id}/thumb.png")
    def thumb(inspection_id: str) -> Response:
        return png(views.picture_png(book, book.get(inspection_id), thumb=True))

    @pages.get("/part/{inspection_id}/grey.png")
    def grey(inspection_id: str, low: Grey, high: Grey) -> Response:
        if low >= high:
            raise Refused(422, "refused.window", low=low, high=high)
        return png(views.grey_png(book, book.get(inspection_id), low, high))

    @pages.get("/part/{inspection_id}/heat.png")
    def heat(inspection_id: str) -> Response:
        row = book.get(inspection_id)
        level, size_hw = views.level_of(book, row, views.manifest_of(book, row))
        return png(views.layer_png(level, size_hw, notice))

    @pages.get("/part/{inspection_id}/contour.png")
    def contour(inspection_id: str) -> Response:
        row = book.get(inspection_id)
        level, size_hw = views.level_of(book, row, views.manifest_of(book, row))
        return png(views.contour_png(level, size_hw, notice))

    @pages.get("/part/{inspection_id}/occlusion.png")
    def occlusion(inspection_id: str) -> Response:
        return png(station.occluded.png(book.get(inspection_id), notice))

    @pages.get("/part/{inspection_id}/mask.png")
    def mask(inspection_id: str, sha: Digest) -> Response:
        return png(views.mask_png(mask_of(book, inspection_id, sha)))

    @pages.get("/scale.png")
    def scale() -> Response:
        return png(views.scale_png())

    return pages
