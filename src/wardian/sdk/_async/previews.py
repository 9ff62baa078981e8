"""What lets others in: the part of a sandbox that is about previews and tickets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from .._previews import ExposureInfo, HostHeader, SignedUrl, Ticket, Visibility
from .api import AsyncClient


class AsyncExposure:
    """A port of a sandbox with an address of its own.

    Attributes:
        info: What the server said of it.
    """

    def __init__(self, client: AsyncClient, sandbox_id: str, info: ExposureInfo) -> None:
        self.sandbox_id = sandbox_id
        self.info = info
        self._client = client

    @property
    def port(self) -> int:
        """The port in the sandbox."""
        return self.info.port

    @property
    def name(self) -> str | None:
        """The name it was given."""
        return self.info.name

    @property
    def url(self) -> str:
        """The address.

        Raises:
            ValueError: The key may only read, and is not told.
        """
        if self.info.url is None:
            raise ValueError("this key may only read: it is not told addresses")
        return self.info.url

    @property
    def token(self) -> str | None:
        """The last part of the address; a secret."""
        return self.info.token

    @property
    def visibility(self) -> str:
        """`public` or `private`."""
        return self.info.visibility

    @property
    def host_header(self) -> str:
        """`preserve` or `localhost`."""
        return self.info.host_header

    @property
    def created_at(self) -> datetime:
        """When the address was made."""
        return self.info.created_at

    async def signed_url(self, expires_in: float = 3600) -> SignedUrl:
        """An address that lets whoever visits it into a private exposure, as in a browser.

        Args:
            expires_in: Seconds it works, 60 to 604800.

        Raises:
            ExposureNotFound: It was taken back.
        """
        return await self._client.sign_exposure(self.sandbox_id, self.port, expires_in)

    async def remove(self) -> None:
        """Take the address back and cut what is open through it."""
        await self._client.delete_exposure(self.sandbox_id, self.port)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} port {self.port} of {self.sandbox_id} {self.visibility}>"


class AsyncPreviews:
    """How a sandbox is made reachable for those who hold no key."""

    id: str
    _client: AsyncClient

    async def expose(
        self,
        port: int,
        name: str | None = None,
        *,
        token: str = "auto",
        visibility: Visibility = "private",
        host_header: HostHeader = "preserve",
    ) -> AsyncExposure:
        """Give a port an address of its own. One that has it keeps it.

        Servers that listen on 127.0.0.1 or ::1 alone are reached too.

        Args:
            port: The port in the sandbox.
            name: A word for it.
            token: The last part of the address, 8 to 32 of a-z and 0-9; `auto` makes one.
            visibility: `public`: whoever knows the address may visit. `private`: asks for an API
                key or a signed address besides.
            host_header: `localhost` for servers that take requests for localhost only.

        Raises:
            InvalidRequest: An argument is out of range.
            TokenTaken: Another port of the sandbox has the token.
            Conflict: The sandbox has ended, or has as many exposures as it may.
        """
        info = await self._client.create_exposure(
            self.id,
            port,
            name=name,
            token=token,
            visibility=visibility,
            host_header=host_header,
        )
        return AsyncExposure(self._client, self.id, info)

    async def exposures(self) -> Sequence[AsyncExposure]:
        """What is exposed, by port."""
        found = await self._client.list_exposures(self.id)
        return [AsyncExposure(self._client, self.id, info) for info in found]

    async def unexpose(self, port: int) -> None:
        """Take an address back and cut what is open through it. There may be none."""
        await self._client.delete_exposure(self.id, port)

    async def ticket(self, service: str, path: str = "", *, expires_in: float = 3600) -> Ticket:
        """Make a ticket: it stands for the key where no header can be sent, as in a browser.

        Args:
            service: What it is good for: `sessions`, `processes`, `run`, `terminals`, `files`,
                `watch` or `git`.
            path: Only this path of the service, and what is below it, such as a terminal's name.
            expires_in: Seconds it lasts, 60 to 604800; it also ends with the sandbox and with the
                key it was made with.

        Raises:
            InvalidRequest: There is no such service, or an argument is out of range.
            Conflict: The sandbox has ended.
        """
        return await self._client.create_ticket(self.id, service, path, expires_in)
