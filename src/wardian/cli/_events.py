"""The server-sent events of a pull."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from wardian.sdk._errors import ApiError, ProtocolError
from wardian.sdk._events import Event, EventDecoder
from wardian.sdk._models import Template
from wardian.sdk._sync.transport import Response


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


def events(response: Response) -> Iterator[Event]:
    """The events of a stream, as they come.

    Raises:
        ProtocolError: An event is too long.
    """
    decoder = EventDecoder()
    while piece := response.receive():
        yield from decoder.feed(piece)


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
        for event in events(response):
            name, data = event.name, event.data
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
