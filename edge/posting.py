"""JSON told to one URL, signed: what the webhook of a line and that of the station have in common.

Headers: `X-QC-Timestamp` (seconds since 1970) and, with a secret, `X-QC-Signature: sha256=<hex>`:
the HMAC-SHA256 (RFC 2104) of timestamp, a full stop and body. A receiver computes it anew, compares
in constant time, and refuses an old timestamp.

Any 2xx is taken. 400, 409, 413, 415, 422 and other 4xx say that this message is at fault. What says
that the receiver, its address or the login is not ready (401, 403, 404, 405, 407, 408, 421, 423,
425, 429, any 3xx and 5xx, no answer) is worth another try.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
import time
from pathlib import Path
from urllib.parse import urlsplit

import urllib3

from qc.errors import DataError, FaultError

NOT_READY = frozenset({401, 403, 404, 405, 407, 408, 421, 423, 425, 429})
"""Answers of 4xx that blame the receiver and not the message."""

_MAX_ANSWER = 4096


def http_url(url: str) -> str:
    """The URL itself, where it is one to post to; raises ValueError where it is not."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username:
        raise ValueError("a URL https://host/path without a login is expected")
    return url


class Poster:
    """Posts JSON to one URL over a connection that is kept.

    Args:
        url: https://..., or http://... where the network may read along.
        key: the secret of the signature; None: not signed.
        ca: PEM file of the authority that the receiver's certificate is checked against; None:
            those of the system.
        timeout_s: seconds to wait for a connection, and for an answer.

    Raises:
        FaultError: the file of the authority cannot be read.
    """

    def __init__(
        self, url: str, key: str | None = None, ca: Path | None = None, timeout_s: float = 10.0
    ) -> None:
        self.url = url
        self._key = key
        try:
            context = ssl.create_default_context(cafile=None if ca is None else str(ca))
        except OSError as error:
            raise FaultError("the authority cannot be read", where=ca, found=error) from error
        self._pool = urllib3.PoolManager(
            maxsize=1, retries=False, timeout=urllib3.Timeout(timeout_s), ssl_context=context
        )

    def post(self, body: bytes, more: dict[str, str] | None = None) -> None:
        """Post one message; returns when the receiver has taken it.

        Args:
            body: JSON.
            more: further headers.

        Raises:
            DataError: the receiver refuses this message.
            FaultError: the receiver cannot be reached or is not ready.
        """
        headers = {"Content-Type": "application/json", **sign(self._key, body), **(more or {})}
        try:
            answer = self._pool.request(
                "POST", self.url, body=body, headers=headers, redirect=False, preload_content=False
            )
            said = answer.read(_MAX_ANSWER).decode("utf-8", "replace")[:200]
            answer.close()  # a longer answer costs the connection, a shorter one does not
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise FaultError("there is no answer", where=self.url, found=error) from error
        if 200 <= answer.status < 300:
            return
        at_fault = 400 <= answer.status < 500 and answer.status not in NOT_READY
        kind = DataError if at_fault else FaultError
        raise kind(
            "the receiver did not take it",
            where=self.url,
            expected="an answer of 2xx",
            found=f"{answer.status} {said}".strip(),
        )

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()


def sign(key: str | None, body: bytes, now: float | None = None) -> dict[str, str]:
    """The headers with the time and, where there is a key, the signature.

    Args:
        key: the secret, or None.
        body: what is posted.
        now: seconds since 1970; None: the present.
    """
    stamp = str(int(time.time() if now is None else now))
    if key is None:
        return {"X-QC-Timestamp": stamp}
    mac = hmac.new(key.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"X-QC-Timestamp": stamp, "X-QC-Signature": f"sha256={mac}"}
