"""A certificate authority of the tests, and servers' certificates for whatever name is asked."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY: Final = datetime.timedelta(days=1)
#: First labels of names whose certificate is not right.
EXPIRED: Final = "expired"
WRONG_NAME: Final = "wrongname"
UNTRUSTED: Final = "untrusted"


@dataclass(slots=True)
class Authority:
    """Signs for every name; the node under test must trust :attr:`certificate`.

    Names that begin with ``expired.``, ``wrongname.`` or ``untrusted.`` get what these say.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    _directory: Path
    _contexts: dict[tuple[str, bool], ssl.SSLContext] = field(
        default_factory=dict[tuple[str, bool], ssl.SSLContext]
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def new(cls, directory: Path) -> Authority:
        """Makes one that keeps its servers' keys below a directory."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Authority of the tests")
        built = (
            _certificate(name, name, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        directory.mkdir(parents=True, exist_ok=True)
        return cls(built, key, directory)

    @property
    def pem(self) -> str:
        """The certificate that clients must trust."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def context(self, name: str, http2: bool) -> ssl.SSLContext:
        """TLS of a server of this name (or address); ``http2``: offered before HTTP/1.1."""
        with self._lock:
            found = self._contexts.get((name, http2))
            if found is None:
                found = self._make(name, http2)
                self._contexts[name, http2] = found
            return found

    def _make(self, name: str, http2: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
        with tempfile.NamedTemporaryFile(dir=self._directory, suffix=".pem") as chain:
            chain.write(self.issue(name))
            chain.flush()
            context.load_cert_chain(chain.name)
        return context

    def issue(self, name: str) -> bytes:
        """PEM of a certificate for a name or address, and of its key."""
        kind = name.partition(".")[0]
        signer = Authority.new(self._directory) if kind == UNTRUSTED else self
        shown = "another.example" if kind == WRONG_NAME else name
        key = ec.generate_private_key(ec.SECP256R1())
        valid = (-30 * _DAY, -_DAY) if kind == EXPIRED else (-_DAY, 30 * _DAY)
        issuer = signer.certificate.subject
        leaf = (
            _certificate(_name(shown[:60]), issuer, key, valid)
            .add_extension(x509.SubjectAlternativeName([_alternative(shown)]), critical=False)
            .sign(signer.key, hashes.SHA256())
        )
        return leaf.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    valid: tuple[datetime.timedelta, datetime.timedelta] = (-_DAY, 30 * _DAY),
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + valid[0])
        .not_valid_after(now + valid[1])
    )
