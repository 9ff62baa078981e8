"""The registry client against servers that behave as real ones do on a bad day, or lie."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from aiohttp import web

from wardian.server.errors import (
    Forbidden,
    InvalidRequest,
    NotFound,
    Unavailable,
    Unsupported,
    WardianError,
)
from wardian.server.templates import oci_image, oci_registry
from wardian.server.templates.model import PullRequest
from wardian.server.templates.oci_documents import Descriptor
from wardian.server.templates.oci_registry import OciRegistry
from wardian.server.templates.registry_auth import parse_challenge

BLOB = bytes(range(256)) * 4096
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Server:
    """Serves what a test puts in; ``guard`` may answer first."""

    documents: dict[str, tuple[str, bytes]] = field(default_factory=dict[str, tuple[str, bytes]])
    blobs: dict[str, bytes] = field(default_factory=dict[str, bytes])
    guard: Answer | None = None
    blob_answer: Answer | None = None
    seen: list[web.Request] = field(default_factory=list[web.Request])
    address: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        if self.guard is not None:
            answer = await self.guard(request)
            if answer.status != 599:
                return answer
        if request.path == "/v2/":
            return web.Response()
        kind, _, name = request.path.removeprefix("/v2/team/app/").partition("/")
        if kind == "manifests" and name in self.documents:
            media_type, data = self.documents[name]
            return web.Response(body=data, content_type=media_type)
        if kind == "blobs" and self.blob_answer is not None:
            return await self.blob_answer(request)
        if kind == "blobs" and name in self.blobs:
            return web.Response(body=self.blobs[name])
        return web.Response(status=404)

    def image(self, *, os: str = "linux", tag: str = "1") -> Descriptor:
        """Puts a whole image of one layer in under ``tag``."""
        config = json.dumps(
            {"os": os, "rootfs": {"type": "layers", "diff_ids": [digest(BLOB)]}}
        ).encode()
        prefix = "application/vnd.oci.image"
        layer = {"mediaType": f"{prefix}.layer.v1.tar", "digest": digest(BLOB), "size": len(BLOB)}
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "config": {
                    "mediaType": f"{prefix}.config.v1+json",
                    "digest": digest(config),
                    "size": len(config),
                },
                "layers": [layer],
            }
        ).encode()
        self.blobs |= {digest(config): config, digest(BLOB): BLOB}
        for name in (tag, digest(manifest)):
            self.documents[name] = (f"{prefix}.manifest.v1+json", manifest)
        return Descriptor(f"{prefix}.manifest.v1+json", digest(manifest), len(manifest))

    def request(self, tag: str = ":1", **more: str) -> PullRequest:
        return PullRequest(f"{self.address}/team/app{tag}", plain_http=True, **more)


async def go_on(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=599)


async def start(server: Server) -> web.AppRunner:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.address = f"127.0.0.1:{runner.addresses[0][1]}"
    return runner


@pytest_asyncio.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(oci_registry, "_FIRST_PAUSE", 0.001)
    made = Server()
    runner = await start(made)
    yield made
    await runner.cleanup()


async def fetch(request: PullRequest) -> bytes:
    async with OciRegistry.open(request) as registry:
        image = await oci_image.resolve(registry, await registry.top())
        return b"".join([chunk async for chunk in registry.blob(image.layers[0].descriptor)])


async def test_an_image_by_tag_and_by_digest(server: Server) -> None:
    manifest = server.image()
    assert await fetch(server.request()) == BLOB
    assert await fetch(server.request(f"@{manifest.digest}")) == BLOB
    assert await fetch(server.request(f":1@{manifest.digest}")) == BLOB


async def test_a_loopback_registry_needs_no_plain_http(server: Server) -> None:
    server.image()
    assert await fetch(PullRequest(f"{server.address}/team/app:1")) == BLOB


async def test_a_registry_that_sends_another_image_than_the_digest_says(server: Server) -> None:
    server.image()
    wanted = digest(b"another")
    server.documents[wanted] = server.documents["1"]
    with pytest.raises(InvalidRequest, match="another image"):
        await fetch(server.request(f"@{wanted}"))


@pytest.mark.parametrize("tag", [":2", f"@{digest(b'x')}"])
async def test_an_image_that_is_not_there(server: Server, tag: str) -> None:
    server.image()
    with pytest.raises(NotFound, match="team/app"):
        await fetch(server.request(tag))


async def test_an_index_leads_to_this_machines_image(server: Server) -> None:
    mine = server.image()
    platform = {"os": "linux", "architecture": oci_image.architecture()}
    other = {"os": "linux", "architecture": "s390x"}
    entry = {"mediaType": mine.media_type, "digest": mine.digest, "size": mine.size}
    wrong = entry | {"digest": digest(b"x"), "platform": other}
    kind = "application/vnd.oci.image.index.v1+json"
    both = json.dumps({"schemaVersion": 2, "manifests": [wrong, entry | {"platform": platform}]})
    server.documents["1"] = (kind, both.encode())
    assert await fetch(server.request()) == BLOB
    server.documents["1"] = (kind, json.dumps({"schemaVersion": 2, "manifests": [wrong]}).encode())
    with pytest.raises(Unsupported, match="linux/"):
        await fetch(server.request())


async def test_an_image_for_another_system(server: Server) -> None:
    server.image(os="windows")
    with pytest.raises(Unsupported, match="windows"):
        await fetch(server.request())


@pytest.mark.parametrize(
    ("media_type", "data"),
    [("application/vnd.oci.image.manifest.v1+json", b"{}"),
     ("application/vnd.oci.image.manifest.v1+json", b"<html>"),
     ("application/vnd.oci.image.manifest.v1+json", b"[" * 100_000),
     ("application/vnd.oci.image.manifest.v1+json", b" " * 5_000_000),
     ("application/vnd.oci.image.index.v1+json", b'{"manifests": []}'),
     ("text/html", b"{}")],
    ids=["empty", "html", "deep", "huge", "nothing", "unknown"],
)  # fmt: skip
async def test_documents_that_are_none(server: Server, media_type: str, data: bytes) -> None:
    server.documents["1"] = (media_type, data)
    with pytest.raises((InvalidRequest, Unsupported)):
        await fetch(server.request())


async def test_a_download_goes_on_where_it_stopped(server: Server) -> None:
    server.image()
    ranges: list[str | None] = []

    async def half(request: web.Request) -> web.StreamResponse:
        if digest(BLOB) not in request.path:
            return web.Response(body=server.blobs[request.path.rpartition("/")[2]])
        ranges.append(request.headers.get("Range"))
        begin = int((ranges[-1] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        part = BLOB[begin : begin + 300_000]
        answer = web.StreamResponse(status=206 if begin else 200)
        answer.content_length = len(BLOB) - begin
        answer.headers["Content-Range"] = f"bytes {begin}-{len(BLOB) - 1}/{len(BLOB)}"
        await answer.prepare(request)
        await answer.write(part)
        if begin + len(part) < len(BLOB) and request.transport is not None:
            request.transport.close()
        return answer

    server.blob_answer = half
    assert await fetch(server.request()) == BLOB
    assert ranges[0] is None and len(ranges) > 2


async def test_a_server_without_ranges_is_read_anew(server: Server) -> None:
    server.image()
    tries: list[int] = []

    async def once_short(request: web.Request) -> web.StreamResponse:
        data = server.blobs[request.path.rpartition("/")[2]]
        if len(data) < 10_000 or tries:
            return web.Response(body=data)
        tries.append(1)
        answer = web.StreamResponse()
        answer.content_length = len(data)
        await answer.prepare(request)
        await answer.write(data[:500_000])
        if request.transport is not None:
            request.transport.close()
        return answer

    server.blob_answer = once_short
    assert await fetch(server.request()) == BLOB
    assert tries


async def test_a_server_that_never_sends_all_is_given_up(server: Server) -> None:
    server.image()

    async def short(request: web.Request) -> web.StreamResponse:
        data = server.blobs[request.path.rpartition("/")[2]]
        return web.Response(body=data if len(data) < 10_000 else b"")

    server.blob_answer = short
    with pytest.raises(Unavailable, match="lost"):
        await fetch(server.request())


async def test_a_blob_longer_than_said_is_cut(server: Server) -> None:
    server.image()
    server.blobs[digest(BLOB)] = BLOB * 3
    with pytest.raises(InvalidRequest, match="larger"):
        await fetch(server.request())


async def test_a_token_is_fetched_with_the_login_and_sent_only_home(server: Server) -> None:
    server.image()
    elsewhere = Server(blobs=server.blobs)
    runner = await start(elsewhere)
    login = "Basic " + base64.b64encode("näme:pass word".encode()).decode()

    async def guard(request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            assert request.query["scope"] == "repository:team/app:pull"
            assert request.query["service"] == "it, self"
            right = request.headers.get("Authorization") == login
            return web.json_response({"token": "t0ken"}) if right else web.Response(status=401)
        if request.headers.get("Authorization") == "Bearer t0ken":
            if "blobs" in request.path:
                place = f"http://{elsewhere.address}{request.path}"
                return web.Response(status=307, headers={"Location": place})
            return await go_on(request)
        realm = f'Bearer realm="http://{server.address}/token",service="it, self",scope="x"'
        return web.Response(status=401, headers={"WWW-Authenticate": realm})

    server.guard = guard
    try:
        assert await fetch(server.request(username="näme", password="pass word")) == BLOB
        assert elsewhere.seen
        assert all("Authorization" not in request.headers for request in elsewhere.seen)
        with pytest.raises(Forbidden) as refused:
            await fetch(server.request(username="näme", password="s3cret-wrong"))
        assert "s3cret" not in str(refused.value) + repr(server.request(password="s3cret-wrong"))
    finally:
        await runner.cleanup()


async def test_basic_login(server: Server) -> None:
    server.image()

    async def guard(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") == "Basic dTpw":
            return await go_on(request)
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    server.guard = guard
    assert await fetch(server.request(username="u", password="p")) == BLOB
    with pytest.raises(Forbidden, match="login"):
        await fetch(server.request())
    with pytest.raises(Forbidden):
        await fetch(server.request(username="u", password="wrong"))


@pytest.mark.parametrize("place", ["/v2/team/app/manifests/1", "file:///etc/passwd", "gopher://x/"])
async def test_redirects_end(server: Server, place: str) -> None:
    async def guard(request: web.Request) -> web.StreamResponse:
        if request.path == "/v2/":
            return await go_on(request)
        return web.Response(status=302, headers={"Location": place})

    server.guard = guard
    with pytest.raises(Unavailable, match="redirects"):
        await fetch(server.request())
    assert len(server.seen) < 12


@pytest.mark.parametrize("status", [400, 429, 500, 503])
async def test_a_registry_that_fails(server: Server, status: int) -> None:
    async def guard(request: web.Request) -> web.StreamResponse:
        return await go_on(request) if request.path == "/v2/" else web.Response(status=status)

    server.guard = guard
    with pytest.raises(WardianError, match=str(status)):
        await fetch(server.request())


async def test_nobody_is_there() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 does not answer"):
        await fetch(PullRequest("127.0.0.1:1/team/app:1", plain_http=True))


@pytest.mark.parametrize(
    ("header", "scheme", "parameters"),
    [
        ('Bearer realm="https://a/b?c=d,e",service=x', "bearer",
         {"realm": "https://a/b?c=d,e", "service": "x"}),
        ("BASIC", "basic", {}),
        ('Bearer Realm="a" , scope="b c"', "bearer", {"realm": "a", "scope": "b c"}),
    ],
)  # fmt: skip
def test_challenges(header: str, scheme: str, parameters: dict[str, str]) -> None:
    found = parse_challenge(header)
    assert found is not None
    assert (found.scheme, found.parameters) == (scheme, parameters)


def test_a_challenge_that_makes_no_sense() -> None:
    assert parse_challenge("") is None
    assert parse_challenge("123 x") is None
