"""Each inspection as one MQTT message of QoS 1; the next goes out when the broker has taken it.

Under `topic` stand the messages (the JSON form of `edge.message`), under `topic`/state, retained,
what becomes of the line: "running", "fail_safe", "stopped", and "lost", the last will, which the
broker tells by itself where the line vanishes. With "fail_safe", "stopped" and "lost" comes the
action for parts without a verdict. MQTT 3.1.1 and 5 (OASIS).

One message is on its way at a time, so the order holds through every fault: at a round trip of
10 ms that is 100 messages a second.
"""

from __future__ import annotations

import ssl
import sys
import threading
from pathlib import Path
from typing import Annotated, Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode
from pydantic import AfterValidator, Field

from edge.message import Message, State, state_bytes
from edge.secrets import secret
from qc.bundle import Bundle
from qc.errors import DataError, FaultError
from qc.linefile import Action
from qc.tables import Table
from qc.types import utc_now

MESSAGE_AT_FAULT = frozenset({0x95, 0x99})
"""Reason codes of MQTT 5 that blame the message: packet too large, payload format invalid."""

LOST = "the line is gone without a word"
_RETRY_S = (1, 10)
_CLOSE_S = 2.0
_PROTOCOLS = {"3.1.1": paho.MQTTv311, "5": paho.MQTTv5}


def _plain(topic: str) -> str:
    if not topic or topic.startswith(("$", "/")) or topic.endswith("/") or set("+#\0") & {*topic}:
        raise ValueError(
            "a topic without +, # or $ that neither begins nor ends with / is expected"
        )
    return topic


class Options(Table):
    """Keys of this sink in a line file; see `Sink`."""

    host: str
    topic: Annotated[str, AfterValidator(_plain)]
    port: int | None = Field(default=None, ge=1, le=65535)
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    user_env: str = ""
    password_env: str = ""
    client_id: str = ""
    keepalive_s: int = Field(default=30, ge=5, le=3600)
    timeout_s: float = Field(default=10.0, gt=0, le=300)


class Sink:
    """Publishes to one broker.

    Args:
        host: name or address of the broker.
        topic: where the messages go; the state goes to `topic`/state.
        bundle: that the line starts with.
        port: None: 8883 with TLS, else 1883.
        protocol: "3.1.1" or "5".
        tls: encrypt, and check the broker's certificate; a `ca` or `cert` asks for it too.
        ca: PEM file of the authority; None: those of the system.
        cert, key: PEM files by which this client is known to the broker.
        user_env, password_env: environment variables with user and password; "": none. Without TLS
            anyone on the network can read them.
        client_id: "": one that nobody else has.
        keepalive_s: seconds of silence after which the broker tells the last will, at 1.5 times.
        timeout_s: seconds to wait for a connection, and for the broker to take a message.

    Raises:
        UsageError: an environment variable is not set.
        FaultError: a certificate or key cannot be read.
    """

    def __init__(
        self,
        host: str,
        topic: str,
        bundle: Bundle,
        port: int | None = None,
        protocol: Literal["3.1.1", "5"] = "3.1.1",
        tls: bool = False,
        ca: Path | None = None,
        cert: Path | None = None,
        key: Path | None = None,
        user_env: str = "",
        password_env: str = "",
        client_id: str = "",
        keepalive_s: int = 30,
        timeout_s: float = 10.0,
    ) -> None:
        self.host, self.topic, self.bundle = host, topic, bundle
        self.keepalive_s, self.timeout_s = keepalive_s, timeout_s
        tls = tls or ca is not None or cert is not None
        self.port = port or (8883 if tls else 1883)
        five = protocol == "5"
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if five else True,
            protocol=_PROTOCOLS[protocol],
        )
        if tls:
            self._client.tls_set_context(_context(ca, cert, key))
        user, password = secret("user_env", user_env), secret("password_env", password_env)
        if user is not None:
            self._client.username_pw_set(user, password)
        self._client.connect_timeout = min(timeout_s, 5.0)
        self._client.reconnect_delay_set(*_RETRY_S)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._changed = threading.Condition()
        self._connected = False
        self._started = False
        self._why = "not connected yet"
        self._taken: dict[int, ReasonCode] = {}
        self._pending: tuple[bytes, int] | None = None
        self._line = ""
        self._fault_action: Action = "hold"
        self._state: tuple[State, Action | None, str] = ("running", None, "")

    def open(self, line: str, fault_action: Action) -> None:
        """Deposit the last will and connect.

        Raises:
            FaultError: there is no connection in time; it is still sought.
        """
        if not self._started:
            self._line, self._fault_action = line, fault_action
            will = state_bytes(line, "lost", fault_action, LOST)
            self._client.will_set(f"{self.topic}/state", will, qos=1, retain=True)
            self._client.connect_async(self.host, self.port, self.keepalive_s)
            self._client.loop_start()
            self._started = True
        with self._changed:
            self._changed.wait_for(lambda: self._connected, self.timeout_s)
            self._require_connection()

    def write(self, message: Message) -> None:
        """Publish one message; returns when the broker has taken it.

        Raises:
            DataError: the broker finds this message at fault.
            FaultError: the broker cannot be reached, refuses, or does not answer in time.
        """
        self._publish(self.topic, message.as_bytes(), self.timeout_s)

    def fail_safe(self, action: Action, why: str) -> None:
        """Publish the state "fail_safe", retained; raises as `write`."""
        self._tell_state("fail_safe", action, why, self.timeout_s)

    def resume(self) -> None:
        """Publish the state "running", retained; raises as `write`."""
        self._tell_state("running", None, "", self.timeout_s)

    def close(self) -> None:
        """Publish the state "stopped" and disconnect: no last will is told.

        Raises:
            FaultError: "stopped" could not be published.
        """
        if not self._started:
            return
        self._started = False
        try:
            self._tell_state("stopped", self._fault_action, "", min(_CLOSE_S, self.timeout_s))
        finally:
            self._client.disconnect()
            self._client.loop_stop()

    def _tell_state(self, state: State, action: Action | None, why: str, timeout_s: float) -> None:
        self._state = (state, action, why)
        self._publish(f"{self.topic}/state", self._state_bytes(), timeout_s, retain=True)

    def _state_bytes(self) -> bytes:
        state, action, why = self._state
        return state_bytes(self._line, state, action, why, utc_now())

    def _publish(self, topic: str, body: bytes, timeout_s: float, retain: bool = False) -> None:
        """Publish and wait; told again, what has no answer yet is waited for, not published anew.

        paho sends it again by itself when the connection is mended, as the standard asks.
        """
        with self._changed:
            self._require_connection()
        if self._pending is None or self._pending[0] != body:
            with self._changed:
                self._taken.clear()
            info = self._client.publish(topic, body, qos=1, retain=retain)
            self._pending = (body, info.mid)
        mid = self._pending[1]
        with self._changed:
            done = self._changed.wait_for(
                lambda: mid in self._taken or not self._connected, timeout_s
            )
            reason = self._taken.get(mid)
            if reason is None and done:
                self._require_connection()
        if reason is None:
            raise self._fault("the broker did not take it", f"an answer within {timeout_s:g} s")
        self._pending = None
        if reason.is_failure:
            if reason.value in MESSAGE_AT_FAULT:
                raise DataError("the broker finds it at fault", where=self.host, found=reason)
            raise self._fault("the broker refused it", "leave to publish", reason)

    def _require_connection(self) -> None:
        if not self._connected:
            raise self._fault("there is no connection", "a broker", self._why)

    def _fault(self, what: str, expected: str, found: object = "nothing") -> FaultError:
        return FaultError(what, where=f"{self.host}:{self.port}", expected=expected, found=found)

    # by paho's network thread

    def _on_connect(
        self, client: paho.Client, data: Any, flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            self._set_connected(False, str(reason))
            return
        # the broker may have told the last will meanwhile: what holds is said anew
        client.publish(f"{self.topic}/state", self._state_bytes(), qos=1, retain=True)
        self._set_connected(True, "")

    def _on_connect_fail(self, client: paho.Client, data: Any) -> None:
        error = sys.exc_info()[1]  # paho calls this while it handles the error
        self._set_connected(False, str(error) if error else "no connection")

    def _on_disconnect(
        self, client: paho.Client, data: Any, flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        with self._changed:
            why = str(reason) if self._connected else self._why
        self._set_connected(False, why)

    def _on_publish(
        self, client: paho.Client, data: Any, mid: int, reason: ReasonCode, properties: Any
    ) -> None:
        with self._changed:
            self._taken[mid] = reason
            self._changed.notify_all()

    def _set_connected(self, connected: bool, why: str) -> None:
        with self._changed:
            self._connected, self._why = connected, why
            self._changed.notify_all()


def _context(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
        if cert is not None:
            context.load_cert_chain(str(cert), None if key is None else str(key))
    except OSError as error:
        where = ", ".join(str(p) for p in (ca, cert, key) if p is not None)
        raise FaultError("a certificate cannot be read", where=where, found=error) from error
    return context
