"""Encryption of secrets at rest: AES-256-GCM under the key of a file that only this user can read.

A new key comes in three steps (``rotation.py``): it is written beside the old one, everything is
sealed anew under it, and it takes the old one's place. Wherever that is cut off, the file of the
new key says that it must be finished.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from wardian.server.configuration import ConfigurationError
from wardian.server.errors import WardianError
from wardian.server.store.key_file import KEY_BYTES, KeyFile

_NONCE_BYTES = 12


class Sealer:
    """Encrypts under one key; decrypts under that one, or the one before.

    Args:
        key: 32 bytes.
        file: where the key is kept; ``None``: nowhere.
        before: a key that may still have been used for what is opened.
    """

    def __init__(
        self, key: bytes, file: KeyFile | None = None, before: bytes | None = None
    ) -> None:
        self._key = key
        self._file = file
        # Used by the database's thread too: both at once, in one assignment.
        self._ciphers = tuple(AESGCM(each) for each in (key, before) if each is not None)

    @classmethod
    def from_file(cls, path: Path, passphrases: Sequence[bytes] = ()) -> Sealer:
        """Reads the key, or makes one at the first start.

        Args:
            path: the key's file.
            passphrases: what it is wrapped under, as :class:`KeyFile` takes them.

        Raises:
            ConfigurationError: the file can't be read or made, holds no key, or is wrapped under
                another passphrase.
        """
        file = KeyFile(path, passphrases)
        try:
            key, following = file.read(), file.read_next()
        except OSError as error:
            raise ConfigurationError(f"can't use {path}: {error.strerror}") from error
        if following is None:
            return cls(key, file)
        return cls(following, file, before=key)

    @property
    def unfinished(self) -> bool:
        """Whether things may still be sealed under the key before."""
        return len(self._ciphers) > 1

    def begin(self) -> None:
        """Seals under a new key from now on, which is on the disk when this returns.

        Raises:
            WardianError: it can't be written; the old one stays.
        """
        key = os.urandom(KEY_BYTES)
        if self._file is not None:
            try:
                self._file.write_next(key)
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
        if self._file is not None:
            try:
                self._file.advance()
            except OSError as error:
                raise WardianError(
                    f"the new key can't take the old one's place: {error.strerror}",
                    "it does at the next start of the server",
                ) from error
        self._ciphers = self._ciphers[:1]

    def derive(self, purpose: str) -> bytes:
        """A key of 32 bytes for another purpose; which key it came from can't be told from it."""
        return HKDF(hashes.SHA256(), KEY_BYTES, None, purpose.encode()).derive(self._key)

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
