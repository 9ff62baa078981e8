"""Certificates: what servers out there are verified against, and what sandboxes must trust."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path

from wardian.server.configuration import Configuration, ConfigurationError

log = logging.getLogger(__name__)

SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
# What an operator of a Debian machine adds to the public bundle lies here.
LOCAL_DIRECTORY = Path("/usr/local/share/ca-certificates")

_MOST_BYTES = 4 * 1024 * 1024
_MOST_INSIDE = 256 * 1024
_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----"
)


def upstream(configuration: Configuration) -> str:
    """What servers out there are verified against, PEM: the files of ``node.json``, or the
    system's, and what the operator put beside them.

    Raises:
        ConfigurationError: a file of ``node.json`` can't be read, or there is no certificate.
    """
    if configuration.trust:
        bundle = [each for name in configuration.trust for each in _read(Path(name))]
    else:
        bundle = _read(SYSTEM_BUNDLE) if SYSTEM_BUNDLE.exists() else []
    text = _joined([*bundle, *_local(configuration)])
    if len(text) > _MOST_BYTES:
        raise ConfigurationError(f"trust: the certificates are longer than {_MOST_BYTES} bytes")
    return text


def inside(configuration: Configuration, authority: str) -> str:
    """What sandboxes must trust beside the public authorities, PEM: the edge's, and those the
    operator added to the node's.
    """
    text = _joined([*_CERTIFICATE.findall(authority), *_local(configuration)])
    if len(text) <= _MOST_INSIDE:
        return text
    log.warning("too many local certificates: sandboxes get none but the edge's")
    return authority


def _local(configuration: Configuration) -> list[str]:
    files = [*LOCAL_DIRECTORY.rglob("*.crt"), *(Path(configuration.home) / "trust").glob("*")]
    found: list[str] = []
    for path in sorted(files):
        try:
            found += _read(path)
        except ConfigurationError as error:
            log.warning("a certificate is left out", extra={"cause": str(error)})
    return found


def _read(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"trust: can't read {path}: {error.strerror}") from error
    if len(data) > _MOST_BYTES:
        raise ConfigurationError(f"trust: {path} is longer than {_MOST_BYTES} bytes")
    return _CERTIFICATE.findall(data.decode("utf-8", "replace"))


def _joined(certificates: Iterable[str]) -> str:
    return "".join(f"{each}\n" for each in dict.fromkeys(certificates))
