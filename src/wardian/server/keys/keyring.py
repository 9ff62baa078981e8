"""Making, checking and deleting API keys."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path

from wardian.server.configuration import ConfigurationError
from wardian.server.errors import KeyNotFound, Unauthorized
from wardian.server.keys.model import DEFAULT_TENANT, ApiKey, Scope
from wardian.server.sandboxes.records import now_ms
from wardian.server.store.keys import KeyStore

_KEY = re.compile(r"e2b_[0-9a-f]{40}")
_MOST_CACHED = 1024


class Keyring:
    """The keys of this node.

    A key is 160 random bits, so an unsalted fast hash is enough at rest: there is nothing to guess.
    """

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._cache: OrderedDict[str, ApiKey] = OrderedDict()
        self._deletions = 0

    async def authenticate(self, text: str) -> ApiKey:
        """The key whose text this is.

        Raises:
            Unauthorized: there is none.
        """
        if _KEY.fullmatch(text) is None:
            raise Unauthorized(
                "the API key has not the form of one", "expected e2b_ + 40 hex digits"
            )
        digest = _digest(text)
        deletions = self._deletions
        key = self._cache.get(digest)
        if key is None:
            key = await self._store.by_hash(digest)
        if key is None or not hmac.compare_digest(key.hash, digest):
            raise Unauthorized("this API key is not known", "it may have been deleted")
        # One that was deleted while it was being looked up must not stay.
        if deletions == self._deletions:
            self._remember(key)
        return key

    async def find(self, tenant: str, key_id: str) -> ApiKey | None:
        """A tenant's key by its id; ``None``: there is none, or it was deleted."""
        return await self._store.by_id(tenant, key_id)

    async def create(self, tenant: str, name: str, scopes: Collection[Scope]) -> tuple[ApiKey, str]:
        """Makes a key; its text is returned this once and kept nowhere."""
        text = "e2b_" + secrets.token_hex(20)
        key = ApiKey(
            id="key_" + secrets.token_hex(8),
            tenant=tenant,
            name=name,
            scopes=frozenset(scopes),
            hash=_digest(text),
            created_at=now_ms(),
        )
        await self._store.add(key)
        return key, text

    async def list(self, tenant: str) -> list[ApiKey]:
        """A tenant's keys, oldest first."""
        return await self._store.list(tenant)

    async def delete(self, tenant: str, key_id: str) -> None:
        """Deletes a key; it is refused from now on.

        Raises:
            KeyNotFound: the tenant has no such key.
        """
        digest = await self._store.delete(tenant, key_id, now_ms())
        if digest is None:
            raise KeyNotFound(key_id)
        self._deletions += 1
        self._cache.pop(digest, None)

    async def import_first(self, path: Path) -> bool:
        """Takes the key that set-up made, by its hash, if it is not known yet.

        Args:
            path: file with the SHA-256 of the key's text, hexadecimal.

        Raises:
            ConfigurationError: the file is there but holds no such hash.
        """
        digest = _read_digest(path)
        if digest is None:
            return False
        first = ApiKey(
            id="key_" + secrets.token_hex(8),
            tenant=DEFAULT_TENANT,
            name="first",
            scopes=frozenset({"admin"}),
            hash=digest,
            created_at=now_ms(),
        )
        return await self._store.add(first)

    def _remember(self, key: ApiKey) -> None:
        self._cache[key.hash] = key
        self._cache.move_to_end(key.hash)
        if len(self._cache) > _MOST_CACHED:
            self._cache.popitem(last=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read_digest(path: Path) -> str | None:
    try:
        digest = path.read_text("ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"can't read {path}") from error
    if re.fullmatch(r"[0-9a-f]{64}", digest) is None:
        raise ConfigurationError(f"{path}: expected 64 hexadecimal digits")
    return digest
