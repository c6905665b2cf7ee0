"""The machine says that a part is there: `POST /trigger`, with part and lot where it knows them.

Each one fires for the next frame that was captured at or after it came. Where none comes in time,
the part is not forgotten: it becomes a frame with a fault.

    curl -X POST 'http://127.0.0.1:8402/trigger?part_id=42&lot=7'
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import Field

from edge.serving import Refused, Server, named_in, problem
from qc.tables import Table
from qc.types import Frame, utc_now

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


class Options(Table):
    """Keys of this trigger in a line file; see `Trigger`."""

    host: str = "127.0.0.1"
    port: int = Field(default=8402, ge=0, le=65535)
    token_env: str | None = None
    timeout_s: float = Field(default=2.0, gt=0)
    queue: int = Field(default=64, ge=1)


@dataclass(frozen=True, slots=True)
class _Part:
    number: int
    at: datetime
    monotonic_ns: int
    part_id: str | None
    lot: str | None


class Trigger:
    """Fires once for each part that was announced.

    Args:
        host: address to listen on; beyond this machine only with a token.
        port: TCP port; 0: any free one.
        token_env: environment variable with the token that a caller sends as
            `Authorization: Bearer ...`; None: none is asked for.
        timeout_s: seconds after which a part without a frame is a fault.
        queue: parts that may wait for their frame; more are refused with 429.

    Raises:
        FaultError: the extra `live` is not installed, or the token is not in the environment.
        UsageError: the address cannot be had, or is not of this machine alone and has no token.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 8402,
        token_env: str | None = None,
        timeout_s: float = 2.0,
        queue: int = 64,
    ) -> None:
        self.timeout_s, self.queue = timeout_s, queue
        self._parts: deque[_Part] = deque()
        self._count = 0
        self._lock = threading.Lock()
        self._fired: _Part | None = None
        self._server = Server(
            "/trigger",
            self._announce,
            host=host,
            port=port,
            token_env=token_env,
            what="trigger 'http'",
        )
        self.url = self._server.url

    def fires(self, frame: Frame) -> bool:
        """Whether a part is judged by this frame; `named` then tells which."""
        with self._lock:
            self._fired = next((p for p in self._parts if self._is_for(p, frame)), None)
            if self._fired is not None:
                self._parts.remove(self._fired)
            return self._fired is not None

    def named(self, frame: Frame) -> Frame:
        """The frame that fired last, with the part and lot that were announced."""
        part = self._fired
        if part is None:
            return frame
        return replace(frame, part_id=part.part_id or frame.part_id, lot=part.lot or frame.lot)

    def overdue(self, source_id: str) -> list[Frame]:
        """A frame with a fault for each part whose frame did not come in time; each once.

        Args:
            source_id: the source that did not give it.
        """
        return self._lost(source_id, time.monotonic_ns() - int(self.timeout_s * 1e9))

    def close(self, source_id: str = "") -> list[Frame]:
        """Listen no more; what was announced and has no frame is a fault too."""
        self._server.stop()
        return self._lost(source_id, time.monotonic_ns())

    def _is_for(self, part: _Part, frame: Frame) -> bool:
        return 0 <= frame.monotonic_ns - part.monotonic_ns <= self.timeout_s * 1e9

    def _lost(self, source_id: str, before_ns: int) -> list[Frame]:
        with self._lock:
            lost = [p for p in self._parts if p.monotonic_ns <= before_ns]
            self._parts = deque(p for p in self._parts if p.monotonic_ns > before_ns)
        return [
            Frame(
                image=None,
                frame_id=f"{part.at:%Y%m%dT%H%M%S.%f}-trigger-{part.number}",
                source_id=source_id,
                captured_at=part.at,
                monotonic_ns=part.monotonic_ns,
                part_id=part.part_id,
                lot=part.lot,
                fault=f"the part was announced and no frame of it came within {self.timeout_s:g} s",
            )
            for part in lost
        ]

    async def _announce(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        at, monotonic_ns = utc_now(), time.monotonic_ns()
        try:
            part_id, lot = named_in(request)
        except Refused as no:
            return JSONResponse(problem(no.kind, no.message), no.status)
        with self._lock:
            if len(self._parts) >= self.queue:
                message = f"{self.queue} parts wait for their frames"
                return JSONResponse(problem("full", message), 429, {"Retry-After": "1"})
            self._count += 1
            self._parts.append(_Part(self._count, at, monotonic_ns, part_id, lot))
            waiting = len(self._parts)
        return JSONResponse({"part_id": part_id, "lot": lot, "waiting": waiting}, 202)
