"""Calls on keys and on the node itself."""

from __future__ import annotations

from starlette.responses import Response

import wardian.server
from wardian.server.api import models, views
from wardian.server.api.operations import Call, Operation, json
from wardian.server.sandboxes.records import ISOLATION_CLASSES


async def create_key(call: Call) -> Response:
    """Makes a key."""
    body: models.CreateKey = call.body
    key, text = await call.services.keyring.create(call.key.tenant, body.name, body.scopes)
    return json(views.key(key, text), 201)


async def list_keys(call: Call) -> Response:
    """Lists keys."""
    keys = await call.services.keyring.list(call.key.tenant)
    return json(models.KeyList([views.key(key) for key in keys]))


async def delete_key(call: Call) -> Response:
    """Deletes a key."""
    await call.services.keyring.delete(call.key.tenant, call.path("key"))
    return Response(status_code=204)


async def health(call: Call) -> Response:
    """Says whether the parts are there, without asking them."""
    launcher = call.services.reconciler.launcher_watched
    edge = call.services.edge.connected
    status = "ok" if launcher and edge else "degraded"
    return json(models.Health(status=status, launcher=launcher, edge=edge))


async def node(call: Call) -> Response:
    """Says what this node can do and holds."""
    services = call.services
    hello = await services.launcher.hello()
    return json(
        models.Node(
            version=wardian.server.version(),
            domain=services.configuration.domain,
            classes=list(ISOLATION_CLASSES),
            cgroups=hello.cgroups,
            storage=models.Storage(
                kind=hello.storage,
                disk_limits=hello.disk_limits,
                bytes_total=hello.pool_bytes_total,
                bytes_free=hello.pool_bytes_free,
            ),
            edge_connected=services.edge.connected,
            sandboxes=await services.lifecycle.count(),
        )
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/v1/keys",
        name="createKey",
        summary="Make an API key; its text is shown this once.",
        handler=create_key,
        scopes=("admin",),
        body=models.CreateKey,
        answers={201: models.Key},
    ),
    Operation(
        method="GET",
        path="/v1/keys",
        name="listKeys",
        summary="List API keys, without their text.",
        handler=list_keys,
        scopes=("admin",),
        answers={200: models.KeyList},
    ),
    Operation(
        method="DELETE",
        path="/v1/keys/{key}",
        name="deleteKey",
        summary="Delete an API key by its id; it is refused from then on.",
        handler=delete_key,
        scopes=("admin",),
        answers={204: None},
    ),
    Operation(
        method="GET",
        path="/v1/health",
        name="getHealth",
        summary="Whether the parts of the node are there; needs no key.",
        handler=health,
        scopes=(),
        answers={200: models.Health},
    ),
    Operation(
        method="GET",
        path="/v1/node",
        name="getNode",
        summary="What this node can do and holds.",
        handler=node,
        scopes=("sandboxes", "templates", "read"),
        answers={200: models.Node},
    ),
)
