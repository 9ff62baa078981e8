"""HTTP/2 as no honest client sends it, over TLS and by prior knowledge on a plain connection."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from doubles.outside import Outside

from . import campaign, frames
from .campaign import Campaign
from .confined import ALLOWED, ALLOWED_ADDRESS, LEAK, OPENED, OTHER, Talk
from .conftest import Confine

_PATH = f"/{LEAK}".encode()
_ALLOWED, _OTHER = ALLOWED.encode(), OTHER.encode()


def _fields(
    *more: tuple[bytes, bytes],
    authority: bytes | None = _ALLOWED,
    path: bytes = _PATH,
    method: bytes = b"GET",
    scheme: bytes = b"https",
) -> frames.Fields:
    fields = [(b":method", method), (b":scheme", scheme), (b":path", path)]
    if authority is not None:
        fields.append((b":authority", authority))
    return [*fields, *more]


_REQUESTS: dict[str, frames.Fields] = {
    "another authority": _fields(authority=_OTHER),
    "no authority": _fields(authority=None),
    "an empty authority": _fields(authority=b""),
    "two authorities": _fields((b":authority", _OTHER)),
    "the same authority twice": _fields((b":authority", _ALLOWED)),
    "another host": _fields((b"host", _OTHER)),
    "two hosts": _fields((b"host", _ALLOWED), (b"host", _OTHER), authority=None),
    "only another host": _fields((b"host", _OTHER), authority=None),
    "a user in the authority": _fields(authority=_ALLOWED + b"@" + _OTHER),
    "another port": _fields(authority=_ALLOWED + b":8443"),
    "authorities in a list": _fields(authority=_ALLOWED + b"," + _OTHER),
    "nul in the authority": _fields(authority=_ALLOWED + b"\0" + _OTHER),
    "line end in the authority": _fields(authority=_ALLOWED + b"\r\nHost: " + _OTHER),
    "line end in a value": _fields((b"x", b"a\r\nHost: " + _OTHER)),
    "line feed in a value": _fields((b"x", b"a\nhost: " + _OTHER)),
    "nul in a value": _fields((b"x", b"a\0b")),
    "line end in a name": _fields((b"x: a\r\nhost", _OTHER)),
    "colon in a name": _fields((b"host: x", _OTHER)),
    "upper-case name": _fields((b"Host", _OTHER)),
    "upper-case pseudo": [*_fields(authority=None), (b":Authority", _OTHER)],
    "space in a name": _fields((b"host ", _OTHER)),
    "an empty name": _fields((b"", _OTHER)),
    "line end in the path": _fields(path=_PATH + b" HTTP/1.1\r\nHost: " + _OTHER),
    "space in the path": _fields(path=_PATH + b" x"),
    "an absolute path": _fields(path=b"https://" + _OTHER + _PATH),
    "an empty path": _fields((b"x", LEAK.encode()), path=b""),
    "a path without its slash": _fields(path=LEAK.encode()),
    "no path": [each for each in _fields((b"x", LEAK.encode())) if each[0] != b":path"],
    "two paths": _fields((b":path", b"/another")),
    "line end in the method": _fields(
        method=b"GET /x HTTP/1.1\r\nHost: " + _OTHER + b"\r\n\r\nGET"
    ),
    "space in the method": _fields(method=b"GET /x"),
    "another method": _fields(method=b"DELETE"),
    "lower-case method": _fields(method=b"get"),
    "no method": [each for each in _fields() if each[0] != b":method"],
    "two methods": _fields((b":method", b"POST")),
    "no scheme": [each for each in _fields() if each[0] != b":scheme"],
    "a scheme with more": _fields(scheme=b"https://" + _OTHER + b"/"),
    "a pseudo after a field": [(b"x", b"y"), *_fields()],
    "a made-up pseudo": _fields((b":made-up", b"x")),
    "a status": _fields((b":status", b"200")),
    "connect": [(b":method", b"CONNECT"), (b":authority", _OTHER + b":443"), (b"x", LEAK.encode())],
    "extended connect": _fields((b":protocol", b"websocket"), method=b"CONNECT"),
    "extended connect elsewhere": _fields(
        (b":protocol", b"websocket"), method=b"CONNECT", authority=_OTHER
    ),
    "transfer coding": _fields((b"transfer-encoding", b"chunked"), method=b"POST"),
    "connection": _fields((b"connection", b"keep-alive")),
    "upgrade": _fields((b"connection", b"upgrade"), (b"upgrade", b"h2c")),
    "a length that is not so": _fields((b"content-length", b"60"), method=b"GET"),
    "two lengths": _fields((b"content-length", b"0"), (b"content-length", b"60")),
    "a head of 70,000 bytes": _fields(*[(b"x", b"y" * 1000)] * 70),
    "a head of 2,000 lines": _fields(*[(b"x", b"y")] * 2000),
}


_SECURED = {"plain": False, "tls": True}


@pytest.fixture(scope="module", params=_SECURED)
def requests(request: Any, api: httpx.Client, outside: Outside) -> Campaign:
    """All of them, on a plain connection and inside TLS."""
    secured = _SECURED[request.param]
    tls = {"name": ALLOWED, "alpn": ["h2"]} if secured else None
    talks: dict[str, Talk] = {}
    for way, written in _REQUESTS.items():
        fields = [(n, b"http" if v == b"https" and not secured else v) for n, v in written]
        data = frames.begin() + _in_frames(fields)
        talks[way] = Talk(ALLOWED, 443 if secured else 80, [data], tls=tls, wait=1.5)
    return campaign.run(api, outside, OPENED, talks)


@pytest.mark.parametrize("way", _REQUESTS)
def test_no_request_misleads(requests: Campaign, way: str) -> None:
    outcome = requests[way]
    statuses = frames.statuses(outcome.heard.received.encode("latin-1"))
    assert all(status in (400, 403, 413, 431) for status in statuses.values()), statuses
    assert outcome.requests == []
    outcome.nothing_leaked()


def _in_frames(fields: frames.Fields) -> bytes:
    """Headers of any size: what is beyond one frame goes into continuations."""
    whole = frames.block(fields)
    pieces = [whole[at : at + 16384] for at in range(0, len(whole), 16384)]
    first, *rest = pieces
    last = frames.END_HEADERS
    sent = frames.frame(frames.HEADERS, frames.END_STREAM | (0 if rest else last), 1, first)
    for place, piece in enumerate(rest, 1):
        flags = last if place == len(rest) else 0
        sent += frames.frame(frames.CONTINUATION, flags, 1, piece)
    return sent


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
def test_each_request_of_a_connection_is_decided(confine: Confine, secured: bool) -> None:
    """One that may pass opens no door for the next."""
    inside = confine(OPENED)
    scheme = b"https" if secured else b"http"
    data = frames.begin()
    data += frames.request(_fields(path=b"/outer", scheme=scheme), stream=1)
    data += frames.request(_fields(authority=_OTHER, scheme=scheme), stream=3)
    data += frames.request(_fields(method=b"DELETE", scheme=scheme), stream=5)
    data += frames.request(_fields(path=b"/outer", scheme=scheme), stream=7)
    tls = {"name": ALLOWED, "alpn": ["h2"]} if secured else None
    heard = inside.say(Talk(ALLOWED, 443 if secured else 80, [data], tls=tls, wait=1))
    statuses = frames.statuses(heard.received.encode("latin-1"))
    assert statuses == {1: 200, 3: 403, 5: 403, 7: 200}
    assert [each.target for each in inside.outside.record.requests] == ["/outer", "/outer"]
    inside.nothing_got_out(but={ALLOWED_ADDRESS})
    inside.told(verdict="denied", reason="host_mismatch", kind="request")
    inside.told(verdict="denied", reason="no_rule", kind="request", method="DELETE")


def test_trailers_bring_no_pseudo_fields(confine: Confine) -> None:
    inside = confine(OPENED)
    data = frames.begin() + frames.frame(
        frames.HEADERS, frames.END_HEADERS, 1, frames.block(_fields(method=b"POST", path=b"/outer"))
    )
    trailers = frames.block([(b":authority", _OTHER), (b"host", _OTHER), (b"x", LEAK.encode())])
    data += frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, trailers)
    inside.say(Talk(ALLOWED, 443, [data], tls={"name": ALLOWED, "alpn": ["h2"]}, wait=0.7))
    inside.nothing_got_out(but={ALLOWED_ADDRESS})


@pytest.mark.parametrize(
    ("alpn", "said"),
    [
        (["h2"], f"GET /{LEAK} HTTP/1.1\r\nHost: {OTHER}\r\n\r\n".encode()),
        (["http/1.1"], frames.begin() + frames.request(_fields(authority=_OTHER))),
        ([], frames.begin() + frames.request(_fields(authority=_OTHER))),
    ],
    ids=["1 where 2 was agreed", "2 where 1 was agreed", "2 where nothing was agreed"],
)
def test_another_version_than_agreed_gets_nowhere(
    confine: Confine, alpn: list[str], said: bytes
) -> None:
    inside = confine(OPENED)
    inside.say(Talk(ALLOWED, 443, [said], tls={"name": ALLOWED, "alpn": alpn}, wait=0.7))
    assert inside.outside.record.requests == []
    inside.nothing_got_out(but={ALLOWED_ADDRESS})


_FLOODS = {
    "resets": b"".join(
        frames.request(_fields(path=b"/outer"), body=None, stream=n)
        + frames.frame(frames.RESET, 0, n, b"\0\0\0\x08")
        for n in range(1, 4001, 2)
    ),
    "settings": frames.frame(frames.SETTINGS, 0, 0, b"\0\x04\0\0\xff\xff") * 20000,
    "pings": frames.frame(frames.PING, 0, 0, b"attacker") * 20000,
    "continuations": frames.frame(frames.HEADERS, 0, 1, b"")
    + frames.frame(frames.CONTINUATION, 0, 1, b"") * 20000,
    "empty data": frames.frame(
        frames.HEADERS, frames.END_HEADERS, 1, frames.block(_fields(method=b"POST", path=b"/outer"))
    )
    + frames.frame(frames.DATA, 0, 1, b"") * 20000,
}


@pytest.mark.parametrize("flood", _FLOODS)
def test_floods_harm_nobody_else(confine: Confine, flood: str) -> None:
    inside = confine(OPENED)
    tls = {"name": ALLOWED, "alpn": ["h2"]}
    honest = Talk(
        ALLOWED, 443, [f"GET /outer HTTP/1.1\r\nHost: {ALLOWED}\r\nConnection: close\r\n\r\n"],
        tls={"name": ALLOWED}, wait=10,
    )  # fmt: skip
    _, heard = inside.talk(
        Talk(ALLOWED, 443, [frames.begin() + _FLOODS[flood]], tls=tls, wait=0.5), honest
    )
    assert heard.status == 200, heard
