"""HTTP/1 as no honest client sends it: no request goes out that was not decided."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from doubles.outside import Outside

from . import campaign
from .campaign import Campaign
from .confined import ALLOWED, ALLOWED_ADDRESS, LEAK, OPENED, OTHER, Confined, Talk
from .conftest import Confine

_HIDDEN = f"GET /{LEAK} HTTP/1.1\r\nHost: {OTHER}\r\n\r\n"
_FRAMINGS = {
    "length and coding": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 0\r\nContent-Length: 60\r\n\r\n",
    "list of lengths": "Content-Length: 0, 60\r\n\r\n",
    "signed length": "Content-Length: +0\r\n\r\n",
    "negative length": "Content-Length: -1\r\n\r\n",
    "hexadecimal length": "Content-Length: 0x0\r\n\r\n",
    "huge length": "Content-Length: 99999999999999999999\r\n\r\n",
    "spaced length": "Content-Length : 60\r\n\r\n",
    "empty length": "Content-Length:\r\n\r\n",
    "two codings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "unknown coding": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked not last": "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "spaced coding": "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "folded coding": "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "folded line": "X: a\r\n Content-Length: 60\r\n\r\n",
    "vertical tab": "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "quoted coding": 'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "nul in a value": "X: a\x00b\r\n\r\n",
    "nul in a name": "Content\x00-Length: 60\r\n\r\n",
    "bare carriage return": "X: a\rContent-Length: 60\r\n\r\n",
    "bare line feed": "X: a\nContent-Length: 0\n\n",
    "huge chunk": "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n\r\n",
    "signed chunk": "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
    "negative chunk": "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "chunk of 0x": "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "chunk without end": "Transfer-Encoding: chunked\r\n\r\n1\r\nab0\r\n\r\n",
    "chunk with bare line feed": "Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\n0\r\n\r\n",
    "trailing length": "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 60\r\n\r\n",
    "no name": ": chunked\r\n\r\n",
    "no colon": "Transfer-Encoding chunked\r\n\r\n",
    "space before the first line": " Content-Length: 60\r\n\r\n",
}


_SECURED = {"plain": False, "tls": True}


@pytest.fixture(scope="module", params=_SECURED)
def framings(request: Any, api: httpx.Client, outside: Outside) -> Campaign:
    """All of them, on a plain connection and inside TLS."""
    head = f"POST /outer HTTP/1.1\r\nHost: {ALLOWED}\r\n"
    talks = {
        way: _said(head + framing + _HIDDEN, _SECURED[request.param])
        for way, framing in _FRAMINGS.items()
    }
    return campaign.run(api, outside, OPENED, talks)


def _said(text: str, secured: bool) -> Talk:
    if not secured:
        # A client that ends its half has left; what nobody waits for may go unread, and untold.
        return Talk(ALLOWED, 80, [text])
    return Talk(ALLOWED, 443, [text], tls={"name": ALLOWED, "alpn": ["http/1.1"]})


@pytest.mark.parametrize("way", _FRAMINGS)
def test_no_request_hides_in_another(framings: Campaign, way: str) -> None:
    outcome = framings[way]
    assert outcome.heard.status in (None, 200, 400, 403, 413, 431, 501, 502), outcome.heard
    for request in outcome.requests:
        assert request.target == "/outer"
        assert [*request.all("host"), *request.all(":authority")] == [outcome.host]
        framed = request.all("content-length") + request.all("transfer-encoding")
        assert len(framed) <= 1
    outcome.nothing_leaked()


_HEADS = {
    "no host": f"GET /{LEAK} HTTP/1.1\r\n\r\n",
    "another host": f"GET /{LEAK} HTTP/1.1\r\nHost: {OTHER}\r\n\r\n",
    "two hosts": f"GET /{LEAK} HTTP/1.1\r\nHost: {ALLOWED}\r\nHost: {OTHER}\r\n\r\n",
    "the same host twice": f"GET /{LEAK} HTTP/1.1\r\nHost: {ALLOWED}\r\nHost: {ALLOWED}\r\n\r\n",
    "hosts in a list": f"GET /{LEAK} HTTP/1.1\r\nHost: {ALLOWED}, {OTHER}\r\n\r\n",
    "an empty host": f"GET /{LEAK} HTTP/1.1\r\nHost:\r\n\r\n",
    "a host with a user": f"GET /{LEAK} HTTP/1.1\r\nHost: {ALLOWED}@{OTHER}\r\n\r\n",
    "a host with a path": f"GET /{LEAK} HTTP/1.1\r\nHost: {ALLOWED}/{OTHER}\r\n\r\n",
    "a host with a space": f"GET /{LEAK} HTTP/1.1\r\nHost: {ALLOWED} {OTHER}\r\n\r\n",
    "a host with nul": f"GET /{LEAK} HTTP/1.1\r\nHost: {ALLOWED}\0{OTHER}\r\n\r\n",
    "a host with another port": f"GET /{LEAK} HTTP/1.1\r\nHost: {ALLOWED}:8443\r\n\r\n",
    "a host with a port that is none": f"GET /{LEAK} HTTP/1.1\r\nHost: {ALLOWED}:x\r\n\r\n",
    "a folded host": f"GET /{LEAK} HTTP/1.1\r\nHost: {ALLOWED}\r\n {OTHER}\r\n\r\n",
    "a host with a spaced colon": f"GET /{LEAK} HTTP/1.1\r\nHost : {OTHER}\r\n\r\n",
    "another host below": f"GET /{LEAK} HTTP/1.1\r\nHost: x.{ALLOWED}\r\n\r\n",
    "the address as host": f"GET /{LEAK} HTTP/1.1\r\nHost: {ALLOWED_ADDRESS}\r\n\r\n",
    "absolute form": f"GET http://{OTHER}/{LEAK} HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n",
    "absolute form in both": f"GET http://{OTHER}/{LEAK} HTTP/1.1\r\nHost: {OTHER}\r\n\r\n",
    "absolute form with a user": (
        f"GET http://{ALLOWED}@{OTHER}/{LEAK} HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n"
    ),
    "absolute form, another scheme": (
        f"GET ftp://{ALLOWED}/{LEAK} HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n"
    ),
    "http 0.9": f"GET /{LEAK}\r\n\r\n",
    "http 1.0 without host": f"GET /{LEAK} HTTP/1.0\r\n\r\n",
    "http 3.0": f"GET /{LEAK} HTTP/3.0\r\nHost: {ALLOWED}\r\n\r\n",
    "lower-case method": f"get /{LEAK} HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n",
    "another method": f"DELETE /{LEAK} HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n",
    "a made-up method": f"GETX /{LEAK} HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n",
    "trace": f"TRACE /{LEAK} HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n",
    "connect": f"CONNECT {OTHER}:443 HTTP/1.1\r\nHost: {OTHER}:443\r\n\r\n{LEAK}",
    "connect to the same": f"CONNECT {ALLOWED}:443 HTTP/1.1\r\nHost: {ALLOWED}:443\r\n\r\n{LEAK}",
    "connect without host": f"CONNECT {OTHER}:443 HTTP/1.1\r\n\r\n{LEAK}",
    "two spaces": f"GET  /{LEAK}  HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n",
    "a space in the path": f"GET /{LEAK} x HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n",
    "line end in the path": f"GET /{LEAK}\nHost:{OTHER} HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n",
    "a path without its slash": f"GET {LEAK} HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n",
    "upgrade to h2c": (
        f"GET /{LEAK} HTTP/1.1\r\nHost: {OTHER}\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    ),
    "upgrade to something": (
        f"GET /{LEAK} HTTP/1.1\r\nHost: {ALLOWED}\r\nConnection: upgrade\r\nUpgrade: tunnel\r\n\r\n"
    ),
    "host as a hop": (f"GET /{LEAK} HTTP/1.1\r\nHost: {OTHER}\r\nConnection: host, close\r\n\r\n"),
    "a head of 70,000 bytes": (
        f"GET /{LEAK} HTTP/1.1\r\nHost: {ALLOWED}\r\nX: {'x' * 70000}\r\n\r\n"
    ),
    "a head of 200 lines": (
        f"GET /{LEAK} HTTP/1.1\r\nHost: {ALLOWED}\r\n" + "X: y\r\n" * 200 + "\r\n"
    ),
    "a target of 70,000 bytes": f"GET /{LEAK}{'x' * 70000} HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n",
    "a proxy's line first": (
        f"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET /{LEAK} HTTP/1.1\r\nHost: {OTHER}\r\n\r\n"
    ),
    "empty lines first": f"\r\n\r\nGET /{LEAK} HTTP/1.1\r\nHost: {OTHER}\r\n\r\n",
    "one byte first": f"\0GET /{LEAK} HTTP/1.1\r\nHost: {OTHER}\r\n\r\n",
    "a space first": f" GET /{LEAK} HTTP/1.1\r\nHost: {OTHER}\r\n\r\n",
}


@pytest.fixture(scope="module", params=_SECURED)
def heads(request: Any, api: httpx.Client, outside: Outside) -> Campaign:
    """All of them, on a plain connection and inside TLS."""
    talks = {way: _said(head, _SECURED[request.param]) for way, head in _HEADS.items()}
    return campaign.run(api, outside, OPENED, talks)


@pytest.mark.parametrize("way", _HEADS)
def test_no_head_misleads(heads: Campaign, way: str) -> None:
    outcome = heads[way]
    assert outcome.heard.refused, outcome.heard
    assert outcome.requests == []
    outcome.nothing_leaked()
    outcome.told(
        verdict="denied",
        reason={"host_mismatch", "malformed", "tunnel", "too_large", "no_rule", "not_http"},
    )


@pytest.mark.parametrize("way", ["lower-case method", "empty lines first", "a space first"])
def test_a_spliced_rule_still_reads_what_is_http(confine: Confine, way: str) -> None:
    """What a lenient server would take for HTTP must not pass as some other protocol."""
    inside = confine([{"action": "allow", "host": ALLOWED}])
    attack = _HEADS[way].replace(f"Host: {ALLOWED}", f"Host: {OTHER}")
    assert inside.say(Talk(ALLOWED, 80, [attack], end=True)).refused
    assert inside.outside.record.requests == []
    inside.nothing_got_out(but={ALLOWED_ADDRESS})


def _only_the_outer(inside: Confined) -> None:
    assert {each.target for each in inside.outside.record.requests} <= {"/outer"}
    inside.nothing_got_out(but={ALLOWED_ADDRESS})


_FIRST = f"GET /outer HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n"


@pytest.mark.parametrize("gap", [0, 0.3], ids=["pipelined", "kept"])
@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
def test_the_second_request_is_decided_too(confine: Confine, gap: float, secured: bool) -> None:
    inside = confine([{"action": "allow", "host": ALLOWED, "methods": ["GET"]}] if secured else
                     [{"action": "allow", "host": ALLOWED}])  # fmt: skip
    tls = {"name": ALLOWED} if secured else None
    talk = Talk(
        ALLOWED, 443 if secured else 80, [_FIRST, _HIDDEN], tls=tls, gap=gap, enough=" 403 "
    )
    heard = inside.say(talk)
    assert heard.status == 200
    assert "HTTP/1.1 403 " in heard.received
    assert "wardian-egress: denied" in heard.received.lower()
    _only_the_outer(inside)
    inside.told(verdict="denied", reason="host_mismatch", kind="request")
    inside.told(verdict="allowed", kind="request", path="/outer", status=200)


def test_a_tunnel_opens_only_when_the_server_says_so(confine: Confine) -> None:
    """An upgrade the server does not take, with a request hidden behind it."""
    inside = confine([{"action": "allow", "host": ALLOWED, "methods": ["GET"]}])
    # The double takes every upgrade of a request it reads; this one answers before it looks.
    upgrade = (
        f"GET /outer HTTP/1.1\r\nHost: {ALLOWED}\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
    )
    heard = inside.say(Talk(ALLOWED, 80, [upgrade, _HIDDEN], gap=0.3, enough=" 403 "))
    assert "101" not in heard.received.split("\r\n")[0]
    assert all(each.target == "/outer" for each in inside.outside.record.requests)
    inside.nothing_got_out(but={ALLOWED_ADDRESS})


def test_a_websocket_carries_messages(confine: Confine) -> None:
    inside = confine([{"action": "allow", "host": ALLOWED, "methods": ["GET"]}])
    upgrade = (
        f"GET /websocket HTTP/1.1\r\nHost: {ALLOWED}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    message = b"\x81\x85\0\0\0\0hello"
    talk = Talk(
        f"one.{ALLOWED}", 443, [upgrade.replace(ALLOWED, f"one.{ALLOWED}"), message],
        tls={"name": f"one.{ALLOWED}"}, gap=0.3, enough="\x81\x05hello",
    )  # fmt: skip
    inside.outside.names.set(f"one.{ALLOWED}", ALLOWED_ADDRESS)
    inside.allow([{"action": "allow", "host": f"*.{ALLOWED}", "methods": ["GET"]}])
    heard = inside.say(talk)
    assert heard.status == 101
    assert heard.received.endswith("\x81\x05hello")
