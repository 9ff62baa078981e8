"""The server-sent events of a pull."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from wardian.sdk._errors import ApiError, ProtocolError
from wardian.sdk._models import Template
from wardian.sdk._sync.transport import Response

_EVENT_LIMIT = 1024 * 1024


class _Progress(msgspec.Struct):
    layer: str
    index: int
    count: int
    bytes: int
    total: int | None = None


class _Done(msgspec.Struct):
    template: Template


class _Error(msgspec.Struct):
    code: str
    message: str
    hint: str | None = None


def events(response: Response) -> Iterator[tuple[str, bytes]]:
    """Name and data of each event, as they come.

    Raises:
        ProtocolError: An event is longer than 1 MiB.
    """
    waiting = b""
    name, data = "message", b""
    while piece := response.receive():
        waiting += piece
        *lines, waiting = waiting.split(b"\n")
        if len(waiting) + len(data) > _EVENT_LIMIT:
            response.close()
            raise ProtocolError("an event of the server is too long")
        for line in (line.removesuffix(b"\r") for line in lines):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"event":
                name = value.decode("utf-8", "replace")
            elif field == b"data":
                data += value
            elif not line and data:
                yield name, data
                name, data = "message", b""


def follow_pull(response: Response, advance: Callable[[str, int, int | None], None]) -> Template:
    """Show a pull's progress until it is done.

    Args:
        response: The stream of `Client.pull_template`.
        advance: Told label, bytes done and total of each layer.

    Raises:
        ApiError: The pull failed.
        ProtocolError: The stream ended without saying how.
    """
    try:
        for name, data in events(response):
            if name == "progress":
                at = msgspec.json.decode(data, type=_Progress)
                label = f"{at.index + 1}/{at.count} {at.layer.removeprefix('sha256:')[:12]}"
                advance(label, at.bytes, at.total)
            elif name == "done":
                return msgspec.json.decode(data, type=_Done).template
            elif name == "error":
                error = msgspec.json.decode(data, type=_Error)
                raise ApiError(error.message, status=200, code=error.code, hint=error.hint)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"an event of the server is not what it should be: {error}") from error
    finally:
        response.close()
    raise ProtocolError("the pull was cut off", hint="is the server still running?")
