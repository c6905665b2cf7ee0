"""A real mosquitto on loopback with TLS, user and password; it can be killed and started again."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion
from toy_line import wait_until

USER, PASSWORD = "line3", "not guessed"
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Certificates:
    """An authority, and one certificate for the server 127.0.0.1 and one for a client."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.ca = self._write("ca", self._sign(self._name, self._key, is_ca=True), self._key)[0]
        self.server, self.server_key = self._issue("server")
        self.client, self.client_key = self._issue("client")

    def _issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._write(name, self._sign(subject, key, is_ca=False), key)

    def _sign(self, subject: x509.Name, key: Any, *, is_ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        authority = self._key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )

    def _write(self, name: str, certificate: x509.Certificate, key: Any) -> tuple[Path, Path]:
        made, secret = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        made.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return made, secret


class Broker:
    """mosquitto with a TLS port; `topic` may be written by the user, nothing else."""

    def __init__(self, folder: Path, certificates: Certificates, topic: str = "plant") -> None:
        assert MOSQUITTO is not None
        self.certificates, self.topic = certificates, topic
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        users, rules, settings = folder / "users", folder / "rules", folder / "mosquitto.conf"
        users.touch(mode=0o600)
        subprocess.run(
            ["mosquitto_passwd", "-b", str(users), USER, PASSWORD], check=True, capture_output=True
        )
        rules.write_text(f"user {USER}\ntopic readwrite {topic}/#\n")
        rules.chmod(0o600)
        settings.write_text(
            f"listener {self.port} 127.0.0.1\n"
            f"cafile {certificates.ca}\ncertfile {certificates.server}\n"
            f"keyfile {certificates.server_key}\nrequire_certificate true\n"
            f"allow_anonymous false\npassword_file {users}\nacl_file {rules}\n"
            f"user root\npersistence true\npersistence_location {folder}/\n"
            "autosave_on_changes true\nautosave_interval 1\n"
        )

    def start(self) -> None:
        """Start, and wait until it listens."""
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._folder / "mosquitto.conf")],
            stdout=(self._folder / "log").open("ab"),
            stderr=subprocess.STDOUT,
        )
        wait_until(self._listens)

    def stop(self, number: signal.Signals) -> None:
        """Send it a signal; SIGSTOP and SIGCONT let it stand still for a time."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it as a power cut would, or by another signal."""
        if self._process is not None:
            self.stop(number)
            self._process.wait(10)
            self._process = None

    def _listens(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self.log()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self) -> str:
        return (self._folder / "log").read_text()


class Listener:
    """A subscriber that remembers what it was told; the broker keeps what it is away for."""

    def __init__(self, broker: Broker, name: str = "listener") -> None:
        made = broker.certificates
        self.parts: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        self._client.tls_set(str(made.ca), str(made.client), str(made.client_key))
        self._client.username_pw_set(USER, PASSWORD)
        self._client.reconnect_delay_set(0.2, 0.2)
        self._client.on_connect = lambda client, *_: client.subscribe(f"{broker.topic}/#", qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        assert self._ready.wait(5)

    @property
    def ids(self) -> list[str]:
        return [part["inspection_id"] for part in self.parts]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, client: Any, data: Any, message: Any) -> None:
        told = json.loads(message.payload)
        (self.states if message.topic.endswith("/state") else self.parts).append(told)
