"""What happened on the way out, over the API: in pages, whole, or as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from starlette.responses import Response, StreamingResponse

from wardian.server.api.operations import Call, Operation, json
from wardian.server.errors import InvalidRequest
from wardian.server.keys.model import Scope
from wardian.server.node.egress_messages import Kind, Reason, Verdict
from wardian.server.sandboxes.records import SandboxRecord
from wardian.server.store.egress_events import EventFilter, NumberedEvent

_READ: tuple[Scope, ...] = ("sandboxes", "read")
_NDJSON = "application/x-ndjson"
_EVENT_STREAM = "text/event-stream"
_SILENCE_SECONDS = 15.0
_PAGE = 512

Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class ListEgressEvents(Struct, frozen=True, forbid_unknown_fields=True):
    """Which events; ``since`` only for streams: those of higher ids."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    cursor: Annotated[str, Meta(max_length=32)] | None = None
    verdict: Verdict | None = None
    kind: Kind | None = None
    host: Annotated[str, Meta(max_length=255)] | None = None
    since: Number | None = None


class EgressEvent(Struct, frozen=True):
    """One decision; ``sent`` and ``received`` in bytes, ``duration_ms`` in milliseconds."""

    id: int
    time: str
    kind: Kind
    verdict: Verdict
    rule: str | None
    reason: Reason | None
    host: str
    port: int
    address: str | None
    method: str | None
    path: str | None
    status: int | None
    sent: int
    received: int
    duration_ms: float
    secrets: list[str]
    handler: str | None


class EgressEventList(Struct, frozen=True):
    """Newest first; ``lost``: events of this node that found no room on their way to the record,
    since the control plane began.
    """

    events: list[EgressEvent]
    next_cursor: str | None
    lost: int


def _view(numbered: NumberedEvent) -> EgressEvent:
    event = numbered.event
    seconds, microseconds = divmod(event.time, 1_000_000)
    moment = datetime.fromtimestamp(min(seconds, 253402300799), UTC)
    return EgressEvent(
        id=numbered.number,
        time=f"{moment:%Y-%m-%dT%H:%M:%S}.{microseconds:06d}Z",
        kind=event.kind,
        verdict=event.verdict,
        rule=event.rule,
        reason=event.reason,
        host=event.host,
        port=event.port,
        address=event.address,
        method=event.method,
        path=event.path,
        status=event.status,
        sent=event.sent,
        received=event.received,
        duration_ms=event.duration_us / 1000,
        secrets=event.secrets,
        handler=event.handler,
    )


async def events(call: Call) -> Response:
    """Shows a page, exports all, or follows."""
    query: ListEgressEvents = call.query
    record = await call.services.lifecycle.get(call.key.tenant, call.path("sandbox"))
    wanted = EventFilter(query.verdict, query.kind, None if query.host is None else query.host)
    accepted = call.request.headers.get("accept", "")
    if _EVENT_STREAM in accepted:
        since = await _since(call, query)
        return StreamingResponse(
            _follow(call, record, wanted, since),
            media_type=_EVENT_STREAM,
            headers={"Cache-Control": "no-store"},
        )
    if query.since is not None:
        raise InvalidRequest(f"since needs Accept: {_EVENT_STREAM} - at `$.since`")
    if _NDJSON in accepted:
        return StreamingResponse(_export(call, record, wanted), media_type=_NDJSON)
    store = call.services.egress_record.store
    before = None if query.cursor is None else _read_cursor(query.cursor)
    found = await store.page(record.id, wanted, query.limit + 1, before)
    more = len(found) > query.limit
    shown = found[: query.limit]
    return json(
        EgressEventList(
            [_view(each) for each in shown],
            str(shown[-1].number) if more else None,
            call.services.egress_record.lost,
        )
    )


def _read_cursor(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**63):
        raise InvalidRequest("cursor is not one that this call returned - at `$.cursor`")
    return int(text)


async def _since(call: Call, query: ListEgressEvents) -> int:
    # What a browser's EventSource sends when it comes back.
    last = call.request.headers.get("last-event-id")
    if last is not None and query.since is None:
        return _read_cursor(last)
    if query.since is not None:
        return query.since
    return await call.services.egress_record.store.highest()


async def _export(call: Call, record: SandboxRecord, wanted: EventFilter) -> AsyncGenerator[bytes]:
    async with aclosing(call.services.egress_record.export(record.id, wanted)) as found:
        async for each in found:
            yield msgspec.json.encode(_view(each)) + b"\n"


async def _follow(
    call: Call, record: SandboxRecord, wanted: EventFilter, since: int
) -> AsyncGenerator[bytes]:
    store, lifecycle = call.services.egress_record.store, call.services.lifecycle
    with call.services.egress_record.followed(record.id) as news:
        # A first byte, so that whoever follows knows that nothing is missed from here on.
        yield b": following\n\n"
        while True:
            news.clear()
            while found := await store.after(record.id, wanted, _PAGE, since):
                for each in found:
                    data = msgspec.json.encode(_view(each))
                    yield b"event: egress\nid: %d\ndata: %b\n\n" % (each.number, data)
                since = found[-1].number
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    await news.wait()
            except TimeoutError:
                yield b": silence\n\n"
                # Of one that ended a while ago nothing more comes.
                if not (await lifecycle.get(record.tenant, record.id)).live:
                    return


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/sandboxes/{sandbox}/egress/events",
        name="listEgressEvents",
        summary="What a sandbox sent and tried to send: newest first in pages; with Accept"
        " application/x-ndjson all, oldest first; with text/event-stream as it happens.",
        handler=events,
        scopes=_READ,
        query=ListEgressEvents,
        answers={200: EgressEventList},
        streams={_NDJSON: EgressEvent},
        events={"egress": EgressEvent},
    ),
)
