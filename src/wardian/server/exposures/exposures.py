"""Exposing ports, and taking that back."""

from __future__ import annotations

import hmac
import logging
import secrets

from wardian.server.errors import (
    ExposureNotFound,
    InvalidRequest,
    SandboxEnded,
    TokenTaken,
    TooManyExposures,
)
from wardian.server.exposures.model import (
    AUTO,
    MOST_PER_SANDBOX,
    Exposure,
    ExposureSecrets,
    WantedExposure,
)
from wardian.server.node.edge_link import EdgeLink
from wardian.server.node.protocol import AGENT_PORT
from wardian.server.sandboxes.changes import Changes
from wardian.server.sandboxes.identifiers import ALPHABET
from wardian.server.sandboxes.records import SandboxRecord, now_ms
from wardian.server.sandboxes.routes import Routes
from wardian.server.store.exposures import ExposureStore
from wardian.server.store.sandboxes import SandboxStore

log = logging.getLogger(__name__)

_TOKEN_LENGTH = 16


class Exposures:
    """What is exposed. A change is in force at the edge when the call that makes it returns."""

    def __init__(
        self,
        store: ExposureStore,
        sandboxes: SandboxStore,
        routes: Routes,
        edge: EdgeLink,
        changes: Changes,
    ) -> None:
        self._store = store
        self._sandboxes = sandboxes
        self._routes = routes
        self._edge = edge
        self._changes = changes

    async def expose(self, record: SandboxRecord, wanted: WantedExposure) -> tuple[Exposure, bool]:
        """Exposes a port, or changes how it is exposed; says whether it is new.

        Raises:
            SandboxEnded: the sandbox has ended.
            InvalidRequest: the port is the agent's.
            TokenTaken: another port of the sandbox has the token.
            TooManyExposures: there are as many as there may be.
        """
        if wanted.port == AGENT_PORT:
            raise InvalidRequest(
                f"port {AGENT_PORT} is the agent's", "it is reached through the API"
            )
        async with self._changes.of(record.id):
            current = await self._live(record.id)
            known = {each.port for each in await self._store.of(record.id)}
            made, everything = await self._store.put(
                record.id, lambda there: _decide(record.id, wanted, there)
            )
            self._routes.set_exposures(record.id, everything)
            await self._edge.put(self._routes.of(current))
        log.info("exposed", extra={"sandbox": record.id, "port": made.port})
        return made, made.port not in known

    async def unexpose(self, record: SandboxRecord, port: int) -> None:
        """Takes an exposure back and cuts what is open through it; there may be none."""
        async with self._changes.of(record.id):
            current = await self._sandboxes.by_id(record.id)
            if current is None or not current.live:
                # Nothing is reached there, and the address stays known as one that was.
                return
            self._routes.set_exposures(record.id, await self._store.delete(record.id, port))
            await self._edge.put(self._routes.of(current))
        log.info("no longer exposed", extra={"sandbox": record.id, "port": port})

    async def of(self, record: SandboxRecord) -> list[Exposure]:
        """A sandbox's exposures, by port."""
        return await self._store.of(record.id)

    async def get(self, record: SandboxRecord, port: int) -> Exposure:
        """One exposure.

        Raises:
            ExposureNotFound: the port is not exposed.
        """
        for exposure in await self._store.of(record.id):
            if exposure.port == port:
                return exposure
        raise ExposureNotFound(record.id, port)

    async def existed(self, sandbox: str, port: int, token: str) -> bool:
        """Whether this was the address of an exposure of a sandbox that has ended."""
        record = await self._sandboxes.by_id(sandbox)
        if record is None or record.live:
            return False
        return any(
            exposure.port == port
            and hmac.compare_digest(exposure.secrets.token.encode(), token.encode())
            for exposure in await self._store.of(sandbox)
        )

    async def _live(self, sandbox: str) -> SandboxRecord:
        record = await self._sandboxes.by_id(sandbox)
        if record is None or not record.live or record.ending is not None:
            raise SandboxEnded(sandbox)
        return record


def _decide(sandbox: str, wanted: WantedExposure, there: list[Exposure]) -> Exposure:
    before = next((each for each in there if each.port == wanted.port), None)
    if before is None and len(there) >= MOST_PER_SANDBOX:
        raise TooManyExposures(sandbox, MOST_PER_SANDBOX)
    taken = {each.secrets.token: each.port for each in there if each.port != wanted.port}
    kept = before is not None and wanted.token in (AUTO, before.secrets.token)
    if before is not None and kept:
        kept_secrets, created_at = before.secrets, before.created_at
    else:
        token = _new_token(taken) if wanted.token == AUTO else wanted.token
        kept_secrets, created_at = ExposureSecrets(token, secrets.token_hex(32)), now_ms()
    if kept_secrets.token in taken:
        raise TokenTaken(taken[kept_secrets.token])
    return Exposure(
        sandbox=sandbox,
        port=wanted.port,
        name=wanted.name,
        visibility=wanted.visibility,
        host_header=wanted.host_header,
        secrets=kept_secrets,
        created_at=created_at,
    )


def _new_token(taken: dict[str, int]) -> str:
    while True:
        token = "".join(secrets.choice(ALPHABET) for _ in range(_TOKEN_LENGTH))
        if token not in taken and token != AUTO:
            return token
