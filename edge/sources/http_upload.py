"""Pictures that another machine sends: `POST /inspect`, answered with the verdict.

The body is an image file, or a form with one. Part and lot come in the query or in headers:
`?part_id=` or `X-Part-Id`, `?lot=` or `X-Lot`. The answer is JSON; with `?overlay=1` the overlay is
in it, and with `Accept: image/png` it is the answer. Every verdict is answered with 200, FAULT too.

    curl --data-binary @part.png 'http://127.0.0.1:8401/inspect?part_id=42'
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from pydantic import Field

from edge.channel import Channel, ChannelClosedError
from edge.serving import Server
from edge.sources._frames import frame_id
from qc.bundle import Bundle
from qc.tables import Table
from qc.types import Deep, Frame, Image, Inspection, utc_now


class Options(Table):
    """Keys of this source in a line file; see `Source`."""

    host: str = "127.0.0.1"
    port: int = Field(default=8401, ge=0, le=65535)
    token_env: str | None = None
    max_mb: float = Field(default=32.0, gt=0)
    queue: int = Field(default=8, ge=1, le=1024)
    timeout_s: float = Field(default=10.0, gt=0)


class Source:
    """Uploaded pictures; a context manager that yields frames until it is stopped.

    Args:
        host: address to listen on; beyond this machine only with a token.
        port: TCP port; 0: any free one.
        token_env: environment variable with the token that a caller sends as
            `Authorization: Bearer ...`; None: none is asked for.
        max_mb: megabytes that an upload may have.
        queue: uploads that may be under way; more are refused with 429.
        timeout_s: how long an upload may take (408), and then its verdict (503).
        source_id: the name of this source in the journal.
    """

    is_live = True
    expects_frames = False

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 8401,
        token_env: str | None = None,
        max_mb: float = 32.0,
        queue: int = 8,
        timeout_s: float = 10.0,
        source_id: str = "http_upload",
    ) -> None:
        self.host, self.port, self.token_env = host, port, token_env
        self.max_bytes = int(max_mb * 1e6)
        self.queue, self.timeout_s = queue, timeout_s
        self.source_id = source_id
        self.bundle: Bundle | None = None
        self._taken: Channel[Frame] = Channel(queue, "wait")
        self._waiting: dict[str, Future[Inspection]] = {}
        self._lock = threading.Lock()
        self._count = 0
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """Where it listens; "" while it is closed."""
        return self._server.url if self._server else ""

    def begin(self, bundle: Bundle) -> None:
        """Told which bundle judges: its class names and the range of its overlay."""
        self.bundle = bundle

    def __enter__(self) -> Self:
        """Listen.

        Raises:
            FaultError: the extra `live` is not installed, or the token is not in the environment.
            UsageError: the address cannot be had, or is not of this machine alone and has no token.
        """
        from edge.sources._upload_answer import Uploads

        self._server = Server(
            "/inspect",
            Uploads(self).inspect,
            host=self.host,
            port=self.port,
            token_env=self.token_env,
            what=f"source '{self.source_id}'",
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Listen no more; who still waits is answered with 503."""
        self.stop()
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            future.cancel()
        if self._server is not None:
            self._server.stop()

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._taken)

    def stop(self) -> None:
        """Take no more uploads, so that iterating ends; from any thread."""
        self._taken.close()

    def take(
        self, image: Image, deep: Deep | None, part_id: str | None, lot: str | None
    ) -> tuple[Frame, Future[Inspection]] | None:
        """Hand a picture to the line; None where it takes no more.

        Args:
            image: RGB `(H, W, 3)` uint8.
            deep: grey `(H, W)` uint16 that it was made of, or None.
            part_id, lot: as the caller names them.
        """
        at, monotonic_ns = utc_now(), time.monotonic_ns()
        with self._lock:
            self._count += 1
            number = self._count
        frame = Frame(
            image=image,
            frame_id=frame_id(at, number),
            source_id=self.source_id,
            captured_at=at,
            monotonic_ns=monotonic_ns,
            part_id=part_id,
            lot=lot,
            deep=deep,
        )
        future: Future[Inspection] = Future()
        with self._lock:
            self._waiting[frame.frame_id] = future
        try:
            if self._taken.put(frame, timeout_s=0):
                return frame, future
        except ChannelClosedError:
            pass
        self.forget(frame)
        return None

    def forget(self, frame: Frame) -> None:
        """Nobody waits for the verdict of this frame any more."""
        with self._lock:
            self._waiting.pop(frame.frame_id, None)

    def answered(self, inspection: Inspection) -> None:
        """Told of a verdict; who sent its picture gets it."""
        with self._lock:
            future = self._waiting.pop(inspection.frame_id, None)
        if future is not None and future.set_running_or_notify_cancel():
            future.set_result(inspection)
