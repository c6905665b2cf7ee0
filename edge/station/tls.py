"""The certificate of a station that is reached from other machines: made once, signed by itself.

It keeps passwords and pictures from being read on the way. That the browser talks to this station
and not to another, a person checks once, by the fingerprint that the terminal printed.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from qc.errors import DataError, FaultError
from qc.types import utc_now

VALID = timedelta(days=825)
"""The longest that browsers accept."""

_EARLY = timedelta(days=14)
"""A certificate of our own that ends sooner is replaced at the start of the station."""


def own_certificate(journal: Path, host: str) -> tuple[Path, Path]:
    """The certificate and the key beside a journal, made where there are none yet.

    Args:
        journal: whose station it is.
        host: address that is bound; named in the certificate beside the names of this machine.

    Raises:
        DataError: what lies there is no certificate.
        FaultError: it cannot be made.
    """
    certificate = journal.with_name(f"{journal.name}.tls.crt")
    key = journal.with_name(f"{journal.name}.tls.key")
    if certificate.exists() and key.exists() and _lasts(certificate):
        return certificate, key
    made, private = _make(host, utc_now())
    try:
        _write(key, private)
        _write(certificate, made.public_bytes(serialization.Encoding.PEM))
    except OSError as error:
        raise FaultError(
            "the certificate cannot be kept", where=certificate, found=error.strerror or error
        ) from error
    return certificate, key


def load_certificate(path: Path) -> x509.Certificate:
    """Read a certificate.

    Raises:
        DataError: there is none.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            "there is no certificate", where=path, expected="a PEM file", found=error
        ) from error


def fingerprint(path: Path) -> str:
    """SHA-256 of a certificate as browsers show it: pairs of digits with colons."""
    return load_certificate(path).fingerprint(hashes.SHA256()).hex(":").upper()


def _lasts(certificate: Path) -> bool:
    return load_certificate(certificate).not_valid_after_utc > utc_now() + _EARLY


def _make(host: str, now: datetime) -> tuple[x509.Certificate, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    machine = socket.gethostname() or "localhost"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"review station {machine}"[:64])])
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=False, crl_sign=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now - timedelta(hours=1) + VALID)
        .add_extension(x509.SubjectAlternativeName(_names(host, machine)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made, private


def _names(host: str, machine: str) -> list[x509.GeneralName]:
    """What the station may be called: what is bound, and the names and addresses of the machine."""
    found = dict.fromkeys([host, machine, "localhost", "127.0.0.1", "::1"])
    try:
        addresses = socket.getaddrinfo(machine, None)
    except OSError:
        addresses = []  # a machine that does not know its own name
    found |= dict.fromkeys(str(address[4][0]).partition("%")[0] for address in addresses)
    names: list[x509.GeneralName] = []
    for text in found:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            if text.isascii():
                names.append(x509.DNSName(text))
            continue
        if not address.is_unspecified:
            names.append(x509.IPAddress(address))
    return names


def _write(path: Path, data: bytes) -> None:
    """For the owner alone from its first moment."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    number = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(number, "wb") as stream:
        stream.write(data)
    fresh.replace(path)
