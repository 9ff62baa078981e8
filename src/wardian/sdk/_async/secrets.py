"""Credentials that never enter a sandbox: setting them, and what there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .._egress_answers import SecretInfo
from .api import AsyncClient


class AsyncSecrets:
    """A server's secrets. Values go in and never come out again; rules of egress name them.

    Args:
        url: The server; WARDIAN_URL if not given, else this machine's.
        api_key: A key with the scope `secrets`; WARDIAN_API_KEY if not given, else a key file's.
    """

    def __init__(self, url: str | None = None, api_key: str | None = None) -> None:
        self._client = AsyncClient(url, api_key)

    async def set(
        self, name: str, value: str, *, hosts: str | Iterable[str] | None = None
    ) -> SecretInfo:
        """Set a secret. A new value is used from the next request on, in every sandbox.

        Args:
            name: Capitals, digits and `_`, such as `GITHUB`.
            value: 1 byte to 64 KiB without control characters.
            hosts: Only rules whose hosts these cover may use it: `api.github.com`,
                `*.example.com`. Any rule if not given.

        Raises:
            ValueError: The name can't be one.
            InvalidRequest: The value or a host can't be used.
            SecretHostMismatch: A sandbox that lives uses it for other hosts than these.
        """
        return await self._client.set_secret(name, value, hosts)

    async def list(self) -> Sequence[SecretInfo]:
        """What there are, by name; never their values."""
        return await self._client.list_secrets()

    async def delete(self, name: str) -> None:
        """Forget a secret.

        Raises:
            SecretNotFound: There is none of that name.
            SecretInUse: A sandbox that lives has a policy that names it.
        """
        await self._client.delete_secret(name)

    async def rotate_key(self) -> int:
        """Seal all of them anew under a new key; takes an API key with the scope `admin`.

        Returns:
            How many there are.
        """
        return await self._client.rotate_secrets_key()
