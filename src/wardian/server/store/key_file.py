"""The file of the key that secrets are sealed under: as it is, or wrapped under a passphrase that
lies elsewhere, so that a copy of the disk or a backup opens nothing.

Wrapped, it is a mark, the salt of scrypt (RFC 7914), a nonce, and the key under AES-256-GCM.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from wardian.server.configuration import ConfigurationError

KEY_BYTES = 32
_MARK = b"wardian-wrapped-key-1\n"
_SALT_BYTES = 16
_NONCE_BYTES = 12
_TAG_BYTES = 16
_WRAPPED_BYTES = len(_MARK) + _SALT_BYTES + _NONCE_BYTES + KEY_BYTES + _TAG_BYTES
# 64 MiB for each guess, and 0.17 s where it was measured.
_COST, _BLOCK, _PARALLEL = 1 << 16, 8, 1
_SHORTEST = 12
_MOST_BYTES = 4096


class KeyFile:
    """One key's file, and beside it that of its successor while a rotation is unfinished.

    Args:
        path: the file.
        passphrases: the one it is wrapped under, then one that it may have been before; none: it
            is not wrapped.
    """

    def __init__(self, path: Path, passphrases: Sequence[bytes] = ()) -> None:
        self._path = path
        self._next = path.with_suffix(".next")
        self._passphrases = tuple(passphrases)

    def read(self) -> bytes:
        """The key; made at the first start, wrapped anew where the passphrase is another now.

        Raises:
            ConfigurationError: the file can't be used, or the passphrase is not its own.
        """
        return self._read(self._path) or self._write(self._path, os.urandom(KEY_BYTES))

    def read_next(self) -> bytes | None:
        """The key that a rotation has begun with.

        Raises:
            ConfigurationError: as :meth:`read`.
        """
        return self._read(self._next)

    def write_next(self, key: bytes) -> None:
        """Begins with a new key; it is on the disk when this returns.

        Raises:
            OSError: it can't be written.
        """
        self._write(self._next, key)

    def advance(self) -> None:
        """Puts the new key in the old one's place.

        Raises:
            OSError: it can't be; both are there still.
        """
        self._next.rename(self._path)
        _sync(self._path.parent)

    def _read(self, path: Path) -> bytes | None:
        try:
            held = path.read_bytes()
        except FileNotFoundError:
            return None
        if len(held) == KEY_BYTES:
            return self._write(path, held) if self._passphrases else held
        if len(held) != _WRAPPED_BYTES or not held.startswith(_MARK):
            raise ConfigurationError(
                f"{path} holds {len(held)} bytes that are no key: restore it from a backup"
            )
        if not self._passphrases:
            raise ConfigurationError(
                f"{path} is wrapped under a passphrase: name its file with --passphrase-file"
            )
        for which, passphrase in enumerate(self._passphrases):
            key = _unwrapped(held, passphrase)
            if key is not None:
                return key if which == 0 else self._write(path, key)
        raise ConfigurationError(f"{path} is wrapped under another passphrase")

    def _write(self, path: Path, key: bytes) -> bytes:
        held = _wrapped(key, self._passphrases[0]) if self._passphrases else key
        # Written whole under another name first: a crash must not leave half a key behind.
        partial = path.with_name(f"{path.name}.new")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(held)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        _sync(path.parent)
        return key


def read_passphrases(path: Path) -> list[bytes]:
    """Reads a file of passphrases: the first line's, and on a second line the one before.

    Args:
        path: the file; spaces within a line count, those around it do not.

    Raises:
        ConfigurationError: it can't be read, or does not hold one or two lines of at least 12
            characters.
    """
    try:
        with path.open("rb") as file:
            held = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"can't read the passphrase: {path}: {error.strerror}") from error
    lines = [line.strip() for line in held.splitlines() if line.strip()]
    if len(held) > _MOST_BYTES or len(lines) not in (1, 2) or min(map(len, lines)) < _SHORTEST:
        raise ConfigurationError(
            f"{path} must hold a passphrase of at least {_SHORTEST} characters on one line, and on "
            "a second line the one before, where it changes"
        )
    return lines


def _cipher(passphrase: bytes, salt: bytes) -> AESGCM:
    return AESGCM(Scrypt(salt, KEY_BYTES, _COST, _BLOCK, _PARALLEL).derive(passphrase))


def _wrapped(key: bytes, passphrase: bytes) -> bytes:
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    return _MARK + salt + nonce + _cipher(passphrase, salt).encrypt(nonce, key, _MARK)


def _unwrapped(held: bytes, passphrase: bytes) -> bytes | None:
    rest = held.removeprefix(_MARK)
    salt, rest = rest[:_SALT_BYTES], rest[_SALT_BYTES:]
    try:
        cipher = _cipher(passphrase, salt)
        return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], _MARK)
    except InvalidTag:
        return None


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
