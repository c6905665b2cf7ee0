"""A webhook that is told of each decision, after it is journaled and without making anybody wait.

One thread posts from a bounded queue, in order, and tries again while the receiver is not ready.
What the queue does not hold, or the receiver refuses, is lost to it and counted: the journal has
all of it, and `GET /api/v1/parts?decision=any` gives it.
"""

from __future__ import annotations

import json
import queue
import threading
from typing import Any

from edge.posting import Poster, http_url
from edge.secrets import secret
from qc.errors import DataError, FaultError, UsageError
from qc.journal import Row
from qc.reviewed import TAKEN_BACK
from qc.types import Review, utc_now

DEPTH = 1000
"""Decisions that wait at most: an hour of a quick reviewer."""

_WAITS_S = (1.0, 5.0, 30.0, 60.0)
"""Before another try; the last one again and again."""

_STOP_S = 5.0


def decision_bytes(row: Row, review: Review, notice: str = "") -> bytes:
    """What is posted of one decision, or of taking one back (`taken_back`, decision REVIEW).

    Args:
        row: what was decided on.
        review: the decision.
        notice: what it is not for, put first; "": nothing.
    """
    facts: dict[str, Any] = ({"notice": notice} if notice else {}) | {
        "kind": "decision",
        "inspection_id": row.inspection_id,
        "part_id": row.part_id,
        "lot": row.lot,
        "source_id": row.source_id,
        "captured_at": row.captured_at.isoformat(timespec="milliseconds"),
        "verdict": row.verdict.value,
        "bundle_id": row.bundle_id,
        "decision": review.decision.value,
        "taken_back": review.decision is TAKEN_BACK,
        "defect_class": review.defect_class,
        "reviewer": review.reviewer,
        "role": review.role,
        "note": review.note,
        "blind": review.blind,
        "at": review.at.isoformat(timespec="milliseconds"),
        "sent_at": utc_now().isoformat(timespec="milliseconds"),
    }
    return json.dumps(facts, ensure_ascii=False).encode("utf-8", "replace")


def webhook_to(url: str, secret_env: str = "") -> Webhook:
    """The webhook to one URL.

    Args:
        url: https://host/path, or http://... where the network may read along.
        secret_env: environment variable with the secret of the signature; "": not signed.

    Raises:
        UsageError: not a URL, or the variable is not set.
    """
    try:
        http_url(url)
    except ValueError as error:
        raise UsageError("--webhook is not an address", expected=error, found=url) from error
    return Webhook(Poster(url, secret("--webhook-secret-env", secret_env)))


class Webhook:
    """Tells one URL of decisions; the thread runs from `start` to `stop`.

    Args:
        poster: to where; its thread is its only user.
        depth: decisions that wait at most.
        waits_s: before another try, the last one again and again.
    """

    def __init__(
        self, poster: Poster, depth: int = DEPTH, waits_s: tuple[float, ...] = _WAITS_S
    ) -> None:
        self._poster = poster
        self._waits_s = waits_s
        self._waiting: queue.Queue[tuple[str, bytes]] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._lock = threading.Lock()
        self._counts = {"sent": 0, "refused": 0, "overflow": 0, "unsent": 0}
        self._last = ""

    def start(self) -> None:
        """Begin to post."""
        self._thread.start()

    def tell(self, row: Row, review: Review, notice: str = "") -> None:
        """Put a decision behind the others, with what it is not for; never waits."""
        try:
            self._waiting.put_nowait((row.inspection_id, decision_bytes(row, review, notice)))
        except queue.Full:
            self._count("overflow", "the queue is full")

    def facts(self) -> dict[str, Any]:
        """How many were sent, refused or lost, how many wait, and what went wrong last."""
        with self._lock:
            return {**self._counts, "waiting": self._waiting.qsize(), "last_error": self._last}

    def stop(self) -> None:
        """Post what waits where the receiver takes it at once, and end within seconds."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        try:
            while True:
                try:
                    name, body = self._waiting.get(timeout=0.1)
                except queue.Empty:
                    if self._stop.is_set():
                        return
                    continue
                self._send(name, body)
        finally:
            self._poster.close()

    def _send(self, name: str, body: bytes) -> None:
        tries = 0
        while True:
            try:
                self._poster.post(body, {"X-QC-Inspection": name})
            except DataError as error:
                return self._count("refused", str(error))
            except FaultError as error:
                with self._lock:
                    self._last = str(error)
            else:
                return self._count("sent")
            wait_s = self._waits_s[min(tries, len(self._waits_s) - 1)]
            tries += 1
            if self._stop.wait(wait_s):
                return self._count("unsent", "the station stopped")

    def _count(self, what: str, why: str = "") -> None:
        with self._lock:
            self._counts[what] += 1
            self._last = why or self._last
