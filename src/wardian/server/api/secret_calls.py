"""Secrets over the API: set, listed by name, deleted; never shown."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct, field
from starlette.responses import Response

from wardian.server.api import views
from wardian.server.api.operations import Call, Operation, json
from wardian.server.egress import destinations
from wardian.server.egress.model import SecretName
from wardian.server.errors import InvalidRequest
from wardian.server.keys.model import Scope
from wardian.server.secrets.model import MOST_BYTES, Secret

_SCOPES: tuple[Scope, ...] = ("secrets",)


class PutSecret(Struct, frozen=True, forbid_unknown_fields=True):
    """A secret to set; ``hosts``: the only ones it may be sent to, empty: any a rule names."""

    value: Annotated[
        str, Meta(description="1 byte to 64 KiB, without control characters; never shown again.")
    ]
    hosts: Annotated[list[str], Meta(max_length=64)] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        # Never with the value in the message.
        if not 1 <= len(self.value.encode()) <= MOST_BYTES:
            raise ValueError(f"value: expected 1 to {MOST_BYTES} bytes")
        if any(character < " " or "\x7f" <= character <= "\x9f" for character in self.value):
            raise ValueError("value: holds a control character")
        hosts: list[str] = []
        for index, host in enumerate(self.hosts):
            try:
                hosts.append(destinations.host_pattern(host))
            except ValueError as error:
                raise ValueError(f"hosts[{index}]: {error}") from error
        msgspec.structs.force_setattr(self, "hosts", list(dict.fromkeys(hosts)))

    def __repr__(self) -> str:
        return f"PutSecret(hosts={self.hosts!r})"


class SecretView(Struct, frozen=True):
    """A secret without its value."""

    name: str
    hosts: list[str]
    created_at: str
    updated_at: str


class SecretList(Struct, frozen=True):
    """A tenant's secrets, by name."""

    secrets: list[SecretView]


class RotationView(Struct, frozen=True):
    """How many things were sealed anew: secrets, and what sandboxes and exposures keep sealed."""

    secrets: int


def _name(call: Call) -> str:
    try:
        return msgspec.convert(call.path("name"), SecretName)
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            "a secret's name is 1 to 64 characters of A-Z, 0-9 and _, beginning with a letter"
        ) from error


def _view(secret: Secret) -> SecretView:
    return SecretView(
        secret.name,
        list(secret.hosts),
        views.timestamp(secret.created_at),
        views.timestamp(secret.updated_at),
    )


async def put(call: Call) -> Response:
    """Sets a secret."""
    body: PutSecret = call.body
    made, new = await call.services.secrets.put(
        call.key.tenant, _name(call), body.value, tuple(body.hosts)
    )
    return json(_view(made), 201 if new else 200)


async def list_all(call: Call) -> Response:
    """Lists secrets."""
    found = call.services.secrets.list(call.key.tenant)
    return json(SecretList([_view(secret) for secret in found]))


async def remove(call: Call) -> Response:
    """Deletes a secret."""
    await call.services.secrets.delete(call.key.tenant, _name(call))
    return Response(status_code=204)


async def rotate(call: Call) -> Response:
    """Seals everything anew under a new key."""
    services = call.services
    count = await services.rotation.run()
    services.tickets.renew(services.sealer.derive("tickets"))
    return json(RotationView(count))


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/secrets",
        name="listSecrets",
        summary="List secrets by name, without their values.",
        handler=list_all,
        scopes=_SCOPES,
        answers={200: SecretList},
    ),
    Operation(
        method="PUT",
        path="/v1/secrets/{name}",
        name="putSecret",
        summary="Set a secret; sandboxes that use it do so with the new value when this returns.",
        handler=put,
        scopes=_SCOPES,
        body=PutSecret,
        answers={200: SecretView, 201: SecretView},
    ),
    Operation(
        method="DELETE",
        path="/v1/secrets/{name}",
        name="deleteSecret",
        summary="Delete a secret that no live sandbox uses.",
        handler=remove,
        scopes=_SCOPES,
        answers={204: None},
    ),
    Operation(
        method="POST",
        path="/v1/secrets/rotate-key",
        name="rotateKey",
        summary="Seal everything in the database anew under a new key; tickets become void.",
        handler=rotate,
        scopes=("admin",),
        answers={200: RotationView},
    ),
)
