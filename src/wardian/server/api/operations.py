"""One API call: what it takes, what it gives, who may; and the way through it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_origin

import msgspec
from msgspec import UNSET, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wardian.server.api.authentication import authorise
from wardian.server.api.models import ErrorBody, ErrorDetail
from wardian.server.errors import InvalidRequest, TooLarge, WardianError
from wardian.server.keys.model import ApiKey, Scope
from wardian.server.services import Services

MOST_BODY_BYTES = 1024 * 1024

Model = TypeVar("Model", bound=Struct)


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way through an operation."""

    request: Request
    services: Services
    key: ApiKey
    query: Any
    body: Any

    def path(self, name: str) -> str:
        """A part of the path."""
        return self.request.path_params[name]


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """A call of the API.

    Args:
        scopes: any one of them is enough; empty: open to all.
        query: its query parameters; ``None``: none are taken.
        body: its JSON body.
        uploads: media types of a body that the handler reads itself.
        answers: what comes back, by status; ``None``: no content.
        events: what an event stream holds, by name, when it answers with one.
        streams: what each line holds, by media type, when it answers with such a stream.
        headers: request headers it looks at, with their description.
    """

    method: str
    path: str
    name: str
    summary: str
    handler: Handler
    scopes: tuple[Scope, ...]
    answers: dict[int, type[Struct] | None]
    query: type[Struct] | None = None
    body: type[Struct] | None = None
    uploads: tuple[str, ...] = ()
    events: dict[str, type[Any]] = field(default_factory=dict[str, type[Any]])
    streams: dict[str, type[Struct]] = field(default_factory=dict[str, type[Struct]])
    headers: dict[str, str] = field(default_factory=dict[str, str])


# Open operations look at no key.
NOBODY = ApiKey(id="", tenant="", name="", scopes=frozenset(), hash="", created_at=0)


def json(value: Any, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def error_response(error: WardianError) -> Response:
    """An error as the native API shows it."""
    hint = UNSET if error.hint is None else error.hint
    response = json(ErrorBody(ErrorDetail(error.code, error.message, hint)), error.status)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def route(operation: Operation, services: Services) -> Route:
    """The operation as Starlette serves it."""
    decoder = None if operation.body is None else msgspec.json.Decoder(operation.body)

    async def endpoint(request: Request) -> Response:
        key = NOBODY
        if operation.scopes:
            key = await authorise(request, services.keyring, operation.scopes)
        query = read_query(request, operation.query)
        body = None
        if decoder is not None:
            body = decode_body(await read_body(request), decoder)
        return await operation.handler(Call(request, services, key, query, body))

    return Route(operation.path, endpoint, methods=[operation.method], name=operation.name)


async def read_body(request: Request, most: int = MOST_BODY_BYTES) -> bytes:
    """The whole body.

    Raises:
        TooLarge: it is longer than ``most`` bytes.
    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise TooLarge(f"the body is longer than {most} bytes")
    return bytes(body)


def decode_body(body: bytes, decoder: msgspec.json.Decoder[Model]) -> Model:
    """The body as what the call takes; an empty one is ``{}``.

    Raises:
        InvalidRequest: it is not JSON, or a field is wrong; the message names the field.
    """
    try:
        return decoder.decode(body or b"{}")
    except msgspec.MsgspecError as error:
        raise InvalidRequest(str(error)) from error
    except UnicodeDecodeError as error:
        raise InvalidRequest("the body is not UTF-8") from error


def read_query(request: Request, model: type[Struct] | None) -> Struct | None:
    """The query parameters as what the call takes.

    Raises:
        InvalidRequest: one is unknown, repeated or wrong; the message names it.
    """
    lists: set[str] = set()
    if model is not None:
        lists = {item.name for item in msgspec.structs.fields(model) if _is_list(item.type)}
    values: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if model is None:
            raise InvalidRequest(f"this call takes no query parameter {name!r}")
        if name in lists:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise InvalidRequest(f"query parameter {name!r} is given more than once")
        else:
            values[name] = value
    if model is None:
        return None
    try:
        return msgspec.convert(values, model, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error)) from error


def _is_list(annotation: Any) -> bool:
    # Annotated[list[...], ...] keeps the list as its first argument.
    inner = getattr(annotation, "__origin__", annotation)
    return get_origin(annotation) is list or get_origin(inner) is list
