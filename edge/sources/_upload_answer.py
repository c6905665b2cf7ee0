"""What a request with a picture is answered: the verdict, or one error that says what is wrong."""

from __future__ import annotations

import asyncio
import base64
from email.parser import BytesParser
from email.policy import HTTP
from typing import TYPE_CHECKING, Any

import cv2
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from edge.inspect import overlay_of
from edge.serving import Refused, named_in, problem
from qc.errors import DataError, QCError
from qc.imageio import decode_deep
from qc.types import Frame, Inspection, Verdict

if TYPE_CHECKING:
    from edge.sources.http_upload import Source

_NO_BUNDLE = "there is no overlay: the source was not told which bundle judges"


class Uploads:
    """Answers the requests of one source."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.under_way = 0

    async def inspect(self, request: Request) -> Response:
        """`POST /inspect`: a picture in, its verdict out."""
        full = self.under_way >= self.source.queue
        self.under_way += 1
        try:
            if full:
                raise Refused(429, "full", f"{self.source.queue} uploads are under way")
            return await self._inspect(request)
        except Refused as no:
            headers = {"Retry-After": "1"} if no.status in (429, 503) else None
            return JSONResponse(problem(no.kind, no.message), no.status, headers)
        finally:
            self.under_way -= 1

    async def _inspect(self, request: Request) -> Response:
        source = self.source
        wants_png = "image/png" in request.headers.get("accept", "")
        wants_overlay = wants_png or request.query_params.get("overlay", "0") not in ("", "0")
        if wants_overlay and source.bundle is None:
            raise Refused(501, "usage", _NO_BUNDLE)
        part_id, lot = named_in(request)
        data = _picture(request.headers.get("content-type", ""), await self._body(request))
        try:
            pixels = await run_in_threadpool(decode_deep, data, "the upload", listen=True)
        except DataError as error:
            raise Refused(400, error.kind, str(error)) from error
        taken = source.take(*pixels, part_id, lot)
        if taken is None:
            raise Refused(429, "full", "the line takes no more pictures now")
        frame, future = taken
        try:
            inspection = await asyncio.wait_for(asyncio.wrap_future(future), source.timeout_s)
        except TimeoutError:
            return _late(frame, f"no verdict within {source.timeout_s:g} s")
        except asyncio.CancelledError:
            if not future.cancelled():
                raise
            return _late(frame, "the line was stopped")
        finally:
            source.forget(frame)
        return await run_in_threadpool(self._answer, inspection, wants_overlay, wants_png)

    async def _body(self, request: Request) -> bytes:
        limit = self.source.max_bytes
        too_large = Refused(413, "data", f"the upload has more than {limit / 1e6:g} MB")
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self.source.timeout_s):
                async for piece in request.stream():
                    body += piece
                    if len(body) > limit:
                        raise too_large
        except TimeoutError as error:
            raise Refused(408, "data", "the upload did not come to its end in time") from error
        except ClientDisconnect as error:
            raise Refused(400, "data", "the upload was broken off") from error
        return bytes(body)

    def _answer(self, inspection: Inspection, wants_overlay: bool, wants_png: bool) -> Response:
        png, why = self._overlay(inspection) if wants_overlay else (None, None)
        if wants_png and png is not None:
            headers = {"X-Verdict": inspection.verdict, "X-Inspection-Id": inspection.inspection_id}
            return Response(png, media_type="image/png", headers=headers)
        facts = self._facts(inspection)
        facts["overlay"] = None if png is None else base64.b64encode(png).decode()
        return JSONResponse(facts | ({"overlay_why": why} if why else {}))

    def _overlay(self, inspection: Inspection) -> tuple[bytes | None, str | None]:
        """The overlay as PNG, or why there is none."""
        bundle = self.source.bundle
        if bundle is None:
            return None, _NO_BUNDLE
        try:
            overlay = overlay_of(inspection, bundle.manifest)
        except (QCError, ValueError) as error:  # the bundle was changed meanwhile
            return None, f"the overlay cannot be drawn: {error}"
        if overlay is None:
            return None, "the picture was not kept"
        return cv2.imencode(".png", cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))[1].tobytes(), None

    def _facts(self, inspection: Inspection) -> dict[str, Any]:
        score, bundle = None, self.source.bundle
        if inspection.prediction is not None and bundle is not None:
            names = bundle.manifest.class_names
            score = dict(zip(names, map(float, inspection.prediction.score), strict=False))
        return {
            "inspection_id": inspection.inspection_id,
            "frame_id": inspection.frame_id,
            "source_id": inspection.source_id,
            "part_id": inspection.part_id,
            "lot": inspection.lot,
            "captured_at": inspection.captured_at.isoformat(),
            "verdict": inspection.verdict.value,
            "reason": inspection.reason,
            "class": inspection.defect_class,
            "defect_score": inspection.defect_score,
            "score": score,
            "bundle_id": inspection.bundle_id,
            "timings_ms": dict(inspection.timings_ms),
        }


def _late(frame: Frame, why: str) -> Response:
    """FAULT for the caller; what the journal says of the frame later is the last word."""
    facts = {
        "frame_id": frame.frame_id,
        "part_id": frame.part_id,
        "verdict": Verdict.FAULT.value,
        "reason": why,
    }
    return JSONResponse(problem("fault", why, **facts), 503, {"Retry-After": "1"})


def _picture(content_type: str, body: bytes) -> bytes:
    """The image file of a request: its body, or the first file of a form."""
    kind = content_type.split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        head = b"Content-Type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n"
        for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
            found = part.get_payload(decode=True) if part.get_filename() is not None else None
            if isinstance(found, bytes):
                return found
        raise Refused(400, "data", "there is no file in the form")
    if kind and not kind.startswith("image/") and kind not in _ANY:
        raise Refused(415, "data", f"expected an image or a form with one, found {kind}")
    if not body:
        raise Refused(400, "data", "there is no image: the body is empty")
    return body


_ANY = ("application/octet-stream", "application/x-www-form-urlencoded", "binary/octet-stream")
"""What programs say that say nothing; the second is what curl says with --data-binary."""
