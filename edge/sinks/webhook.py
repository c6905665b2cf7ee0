"""Each inspection as one signed HTTP POST, told again until the receiver has taken it.

The body is the JSON form of `edge.message`. Headers: `X-QC-Inspection` (the inspection_id: a
receiver that has seen it drops the duplicate), `X-QC-Timestamp` (seconds since 1970) and, with a
secret, `X-QC-Signature: sha256=<hex>`: the HMAC-SHA256 (RFC 2104) of timestamp, a full stop and
body. A receiver computes it anew, compares in constant time, and refuses an old timestamp.

Any 2xx is taken. 400, 409, 413, 415, 422 and other 4xx say that this message is at fault; it is put
aside. What says that the receiver, its address or the login is not ready (401, 403, 404, 405, 407,
408, 421, 423, 425, 429, any 3xx and 5xx, no answer) is tried again for ever.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from edge.message import Message, state_bytes
from edge.posting import Poster, http_url
from edge.secrets import secret
from qc.bundle import Bundle
from qc.linefile import Action
from qc.tables import Table
from qc.types import utc_now


class Options(Table):
    """Keys of this sink in a line file; see `Sink`."""

    url: Annotated[str, AfterValidator(http_url)]
    secret_env: str = ""
    ca: Path | None = None
    timeout_s: float = Field(default=10.0, gt=0, le=300)


class Sink:
    """Posts messages to one URL.

    Args:
        url: https://..., or http://... where the network may read along.
        bundle: that the line starts with.
        secret_env: environment variable with the secret of the signature; "": not signed.
        ca: PEM file of the authority that the receiver's certificate is checked against; None:
            those of the system.
        timeout_s: seconds to wait for a connection, and for an answer.

    Raises:
        UsageError: the environment variable is not set.
        FaultError: the file of the authority cannot be read.
    """

    def __init__(
        self,
        url: str,
        bundle: Bundle,
        secret_env: str = "",
        ca: Path | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self.url = url
        self.bundle = bundle
        self._line = ""
        self._poster = Poster(url, secret("secret_env", secret_env), ca, timeout_s)

    def open(self, line: str, fault_action: Action) -> None:
        """Remember the line's name for `fail_safe`; nothing is sent."""
        self._line = line

    def write(self, message: Message) -> None:
        """Post one message; returns when the receiver has taken it.

        Raises:
            DataError: the receiver refuses this message.
            FaultError: the receiver cannot be reached or is not ready.
        """
        self._poster.post(message.as_bytes(), {"X-QC-Inspection": message.row.inspection_id})

    def fail_safe(self, action: Action, why: str) -> None:
        """Post the state "fail_safe"; raises as `write`."""
        self._poster.post(state_bytes(self._line, "fail_safe", action, why, utc_now()))

    def resume(self) -> None:
        """Post the state "running"; raises as `write`."""
        self._poster.post(state_bytes(self._line, "running", None, "", utc_now()))

    def close(self) -> None:
        """Close the connection."""
        self._poster.close()
