"""Encryption of secrets at rest: AES-256-GCM under a key file that only this user can read."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from wardian.server.configuration import ConfigurationError
from wardian.server.errors import WardianError

_KEY_BYTES = 32
_NONCE_BYTES = 12


class Sealer:
    """Encrypts and decrypts under one key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._key = key

    @classmethod
    def from_file(cls, path: Path) -> Sealer:
        """Reads the key, or makes one at the first start.

        Raises:
            ConfigurationError: the file can't be read or made, or holds no key.
        """
        try:
            key = _read_or_make(path)
        except OSError as error:
            raise ConfigurationError(f"can't use {path}: {error.strerror}") from error
        if len(key) != _KEY_BYTES:
            raise ConfigurationError(
                f"{path} holds {len(key)} bytes instead of {_KEY_BYTES}: restore it from a backup"
            )
        return cls(key)

    def derive(self, purpose: str) -> bytes:
        """A key of 32 bytes for another purpose; which key it came from can't be told from it."""
        return HKDF(hashes.SHA256(), _KEY_BYTES, None, purpose.encode()).derive(self._key)

    def seal(self, plain: bytes, context: str) -> str:
        """Encrypts.

        Args:
            plain: the secret.
            context: what it belongs to; the same must be given to open it, so that a sealed text
                can't be moved to another record.
        """
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, plain, context.encode())
        return base64.b64encode(sealed).decode()

    def open(self, sealed: str, context: str) -> bytes:
        """Decrypts.

        Raises:
            WardianError: sealed under another key or context, or changed since.
        """
        try:
            data = base64.b64decode(sealed, validate=True)
            return self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError) as error:
            raise WardianError(
                f"the secrets of {context} can't be decrypted",
                "control/secret.key is not the one they were written with",
            ) from error


def _read_or_make(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        key = os.urandom(_KEY_BYTES)
    # Written whole under another name first: a crash must not leave half a key behind.
    partial = path.with_suffix(".new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    return key
