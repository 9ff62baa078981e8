"""Handlers of test_egress_handlers.py, one for each thing that is tried."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator

from wardian.handlers import Refuse, Request, Response, Sandbox, UpstreamFailed, handler


@handler("own")
async def own(request: Request, sandbox: Sandbox) -> Response:
    return Response(201, {"X-Own": "yes"}, json={"asked": request.url, "pid": os.getpid()})


@handler("facts")
async def facts(request: Request, sandbox: Sandbox) -> Response:
    told = {
        "id": sandbox.id,
        "name": sandbox.name,
        "labels": dict(sandbox.labels),
        "parameters": dict(request.parameters),
        "authorization": request.headers.get("Authorization"),
    }
    return Response(json=told)


@handler("adds")
async def adds(request: Request, sandbox: Sandbox) -> Request:
    request.headers["X-Seen"] = request.headers.get("Authorization", "nothing")
    return request


@handler("refuses")
async def refuses(request: Request, sandbox: Sandbox) -> Request:
    raise Refuse(451, "not from here")


@handler("refuses-answer")
async def refuses_answer(request: Request, sandbox: Sandbox) -> Response:
    await request.send()
    raise Refuse(403, "not into here")


@handler("moves")
async def moves(request: Request, sandbox: Sandbox) -> Request:
    return request.replace(url=request.url.replace("/v1/", "/admin/"))


@handler("sleeps")
async def sleeps(request: Request, sandbox: Sandbox) -> Request:
    await asyncio.sleep(3600)
    return request


@handler("sleeps-over-answer")
async def sleeps_over_answer(request: Request, sandbox: Sandbox) -> Response:
    response = await request.send()
    await asyncio.sleep(3600)
    return response


@handler("blocks")
async def blocks(request: Request, sandbox: Sandbox) -> Request:
    # What no handler should do: nothing else runs meanwhile, nor is it told that time is up.
    time.sleep(1)  # noqa: ASYNC251
    return request


@handler("dies")
async def dies(request: Request, sandbox: Sandbox) -> Request:
    os._exit(3)


@handler("raises")
async def raises(request: Request, sandbox: Sandbox) -> Request:
    raise ValueError("the-operators-own-words")


@handler("breaks-off")
async def breaks_off(request: Request, sandbox: Sandbox) -> Response:
    async def some() -> AsyncIterator[bytes]:
        yield b"the first half"
        raise ValueError("the-operators-own-words")

    return Response(body=some())


@handler("falls-back")
async def falls_back(request: Request, sandbox: Sandbox) -> Response:
    try:
        return await request.send()
    except UpstreamFailed:
        return Response(200, body="kept from before")


@handler("holds")
async def holds(request: Request, sandbox: Sandbox) -> Request:
    return request.replace(body=(await request.body()).upper())


@handler("counts")
async def counts(request: Request, sandbox: Sandbox) -> Response:
    seen = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal seen
        async for piece in request.stream():
            seen += len(piece)
            yield piece

    response = await request.replace(body=counted()).send()
    response.headers["X-Counted"] = str(seen)
    return response
