"""Encryption of secrets at rest: AES-256-GCM under a key file that only this user can read.

A new key comes in three steps (``rotation.py``): it is written beside the old one, everything is
sealed anew under it, and it takes the old one's place. Wherever that is cut off, the file of the
new key says that it must be finished.
"""

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
_NEXT = ".next"


class Sealer:
    """Encrypts under one key; decrypts under that one, or the one before.

    Args:
        key: 32 bytes.
        path: where the key is kept; ``None``: nowhere.
        before: a key that may still have been used for what is opened.
    """

    def __init__(self, key: bytes, path: Path | None = None, before: bytes | None = None) -> None:
        self._key = key
        self._path = path
        # Used by the database's thread too: both at once, in one assignment.
        self._ciphers = tuple(AESGCM(each) for each in (key, before) if each is not None)

    @classmethod
    def from_file(cls, path: Path) -> Sealer:
        """Reads the key, or makes one at the first start.

        Raises:
            ConfigurationError: the file can't be read or made, or holds no key.
        """
        try:
            key = _read(path)
            if key is None:
                key = os.urandom(_KEY_BYTES)
                _write(path, key)
            following = _read(path.with_suffix(_NEXT))
        except OSError as error:
            raise ConfigurationError(f"can't use {path}: {error.strerror}") from error
        if following is None:
            return cls(key, path)
        return cls(following, path, before=key)

    @property
    def unfinished(self) -> bool:
        """Whether things may still be sealed under the key before."""
        return len(self._ciphers) > 1

    def begin(self) -> None:
        """Seals under a new key from now on, which is on the disk when this returns.

        Raises:
            WardianError: it can't be written; the old one stays.
        """
        key = os.urandom(_KEY_BYTES)
        if self._path is not None:
            try:
                _write(self._path.with_suffix(_NEXT), key)
            except OSError as error:
                raise WardianError(
                    f"the new key can't be written: {error.strerror}", "make room and try again"
                ) from error
        self._ciphers = (AESGCM(key), self._ciphers[0])
        self._key = key

    def finish(self) -> None:
        """Forgets the key before: nothing is sealed under it any more.

        Raises:
            WardianError: the new key can't take its place on the disk; both are kept.
        """
        if self._path is not None:
            try:
                self._path.with_suffix(_NEXT).rename(self._path)
                _sync(self._path.parent)
            except OSError as error:
                raise WardianError(
                    f"the new key can't take the old one's place: {error.strerror}",
                    "it does at the next start of the server",
                ) from error
        self._ciphers = self._ciphers[:1]

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
        sealed = nonce + self._ciphers[0].encrypt(nonce, plain, context.encode())
        return base64.b64encode(sealed).decode()

    def open(self, sealed: str, context: str) -> bytes:
        """Decrypts.

        Raises:
            WardianError: sealed under another key or context, or changed since.
        """
        return self._open(sealed, context)[0]

    def resealed(self, sealed: str, context: str) -> str | None:
        """The same under the new key; ``None``: it is already.

        Raises:
            WardianError: as :meth:`open`.
        """
        plain, which = self._open(sealed, context)
        return None if which == 0 else self.seal(plain, context)

    def _open(self, sealed: str, context: str) -> tuple[bytes, int]:
        cause: Exception | None = None
        for which, cipher in enumerate(self._ciphers):
            try:
                data = base64.b64decode(sealed, validate=True)
                nonce, rest = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
                return cipher.decrypt(nonce, rest, context.encode()), which
            except (InvalidTag, ValueError) as error:
                cause = error
        raise WardianError(
            f"the secrets of {context} can't be decrypted",
            "control/secret.key is not the one they were written with",
        ) from cause


def _read(path: Path) -> bytes | None:
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(
            f"{path} holds {len(key)} bytes instead of {_KEY_BYTES}: restore it from a backup"
        )
    return key


def _write(path: Path, key: bytes) -> None:
    # Written whole under another name first: a crash must not leave half a key behind.
    partial = path.with_name(f"{path.name}.new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
