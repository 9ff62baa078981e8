"""Calls on templates."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec import UNSET
from starlette.responses import Response, StreamingResponse

from wardian.server.api import models, views
from wardian.server.api.operations import Call, Operation, json
from wardian.server.egress.grants import refuse_private
from wardian.server.egress.model import Egress, PresetName, meant
from wardian.server.errors import InvalidRequest, WardianError
from wardian.server.keys.model import Scope
from wardian.server.templates.model import PullDone, PullProgress, PullRequest, TemplateMetadata

log = logging.getLogger(__name__)

_READ: tuple[Scope, ...] = ("templates", "sandboxes", "read")
_WRITE: tuple[Scope, ...] = ("templates",)
_TAR = "application/x-tar"
_OCI = "application/vnd.oci.image.layout.v1+tar"
_ENCODINGS = ("zstd", "gzip")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")


def _new_name(call: Call) -> str:
    try:
        return msgspec.convert(call.path("template"), models.TemplateName)
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            "a template's name is 1 to 63 characters of a-z, 0-9, '.', '_' and '-',"
            " beginning and ending with a letter or digit"
        ) from error


async def list_all(call: Call) -> Response:
    """Lists templates."""
    templates = await call.services.templates.list()
    return json(models.TemplateList([views.template(template, call.key) for template in templates]))


async def get(call: Call) -> Response:
    """Shows a template."""
    return json(views.template(await call.services.templates.get(call.path("template")), call.key))


async def remove(call: Call) -> Response:
    """Removes a template."""
    await call.services.templates.remove(call.path("template"))
    return Response(status_code=204)


async def put(call: Call) -> Response:
    """Imports a template from the body."""
    name = _new_name(call)
    query: models.PutTemplate = call.query
    headers = call.request.headers
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = headers.get("content-encoding")
    if encoding not in (None, "identity", *_ENCODINGS):
        raise InvalidRequest(
            f"Content-Encoding {encoding!r} is not understood", f"one of {', '.join(_ENCODINGS)}"
        )
    chunks = call.request.stream()
    if media_type == _TAR:
        metadata = TemplateMetadata(
            user=query.user,
            workdir=query.workdir,
            env=_environment(query.env),
            start_command=query.start_command,
            egress=_egress(call, query.egress),
        )
        wanted = None if encoding == "identity" else encoding
        template, changed = await call.services.templates.import_rootfs_tar(
            name, chunks, wanted, metadata
        )
    elif media_type == _OCI:
        _refuse_metadata(call, encoding)
        template, changed = await call.services.templates.import_oci_archive(
            name, chunks, _egress(call, query.egress)
        )
    else:
        raise InvalidRequest(
            f"Content-Type {media_type!r} is not understood", f"send {_TAR} or {_OCI}"
        )
    return json(views.template(template, call.key), 201 if changed else 200)


def _refuse_metadata(call: Call, encoding: str | None) -> None:
    if call.request.query_params.keys() - {"egress"} or encoding in _ENCODINGS:
        raise InvalidRequest(
            "an OCI archive brings its own metadata and compression",
            "leave out Content-Encoding, and query parameters but egress",
        )


def _environment(pairs: list[str]) -> dict[str, str]:
    env: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or _ENV_NAME.fullmatch(name) is None:
            raise InvalidRequest(f"env {pair!r} is not of the form NAME=value - at `$.env`")
        env[name] = value
    try:
        models.check_env(env)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    return env


def _egress(call: Call, text: str | None) -> Egress | None:
    if text is None:
        return None
    try:
        egress = meant(msgspec.json.decode(text, type=PresetName | Egress))
    except msgspec.MsgspecError as error:
        # A name may also stand there without the quotes of JSON.
        try:
            egress = meant(msgspec.convert(text, PresetName))
        except msgspec.ValidationError:
            raise InvalidRequest(f"egress: {error} - at `$.egress`") from error
    for name in egress.presets:
        call.services.policies.presets.get(name)
    if not call.key.may("admin"):
        refuse_private(egress.rules)
    return egress


async def pull(call: Call) -> Response:
    """Fetches an image and tells how far it is."""
    name = _new_name(call)
    body: models.PullTemplate = call.body
    request = PullRequest(body.reference, body.username, body.password, body.plain_http)
    return StreamingResponse(
        _pull_events(call, name, request),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
    )


async def _pull_events(call: Call, name: str, request: PullRequest) -> AsyncGenerator[bytes]:
    try:
        async with aclosing(call.services.templates.pull(name, request)) as events:
            async for event in events:
                match event:
                    case PullProgress():
                        yield _event("progress", event)
                    case PullDone(template):
                        yield _event("done", models.PullResult(views.template(template, call.key)))
    except WardianError as error:
        hint = UNSET if error.hint is None else error.hint
        yield _event("error", models.ErrorDetail(error.code, error.message, hint))
    except Exception:
        # The status is sent already; the caller must still learn that it did not work.
        log.exception("pull failed", extra={"template": name})
        yield _event("error", models.ErrorDetail("internal", "the pull failed; see the log"))


def _event(name: str, data: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


_ONE = "/v1/templates/{template}"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/templates",
        name="listTemplates",
        summary="List templates, by name.",
        handler=list_all,
        scopes=_READ,
        answers={200: models.TemplateList},
    ),
    Operation(
        method="GET",
        path=_ONE,
        name="getTemplate",
        summary="Show a template.",
        handler=get,
        scopes=_READ,
        answers={200: models.TemplateView},
    ),
    Operation(
        method="PUT",
        path=_ONE,
        name="putTemplate",
        summary="Import a root filesystem as a tar, or an OCI image layout as a tar.",
        handler=put,
        scopes=_WRITE,
        query=models.PutTemplate,
        uploads=(_TAR, _OCI),
        answers={200: models.TemplateView, 201: models.TemplateView},
        headers={"Content-Encoding": "Of a plain tar: zstd or gzip."},
    ),
    Operation(
        method="DELETE",
        path=_ONE,
        name="deleteTemplate",
        summary="Remove a template that no sandbox uses.",
        handler=remove,
        scopes=_WRITE,
        answers={204: None},
    ),
    Operation(
        method="POST",
        path=_ONE + "/pull",
        name="pullTemplate",
        summary="Fetch an image from a registry as a template.",
        handler=pull,
        scopes=_WRITE,
        body=models.PullTemplate,
        answers={},
        events={
            "progress": PullProgress,
            "done": models.PullResult,
            "error": models.ErrorDetail,
        },
    ),
)
