"""The public port and clients who do not keep to HTTP: hidden, malformed and endless requests."""

from __future__ import annotations

from typing import Any

import pytest

from wardian import Sandbox

from .attack import token_of
from .raw_http import exchange, exchange_2, request
from .recorder import FOREIGN, OWN, Recorder

# --- framing ------------------------------------------------------------------------------------


_SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"
_FRAMINGS = {
    "length and coding": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 0\r\nContent-Length: 40\r\n\r\n",
    "list of lengths": "Content-Length: 0, 40\r\n\r\n",
    "signed length": "Content-Length: +0\r\n\r\n",
    "negative length": "Content-Length: -1\r\n\r\n",
    "hexadecimal length": "Content-Length: 0x0\r\n\r\n",
    "huge length": "Content-Length: 99999999999999999999\r\n\r\n",
    "spaced length": "Content-Length : 0\r\n\r\n",
    "two codings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "unknown coding": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked not last": "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "spaced coding": "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "folded coding": "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "vertical tab": "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "nul in a value": "X: a\x00b\r\n\r\n",
    "bare carriage return": "X: a\rContent-Length: 40\r\n\r\n",
    "huge chunk": "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n\r\n",
    "signed chunk": "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
    "chunk without end": "Transfer-Encoding: chunked\r\n\r\n1\r\nab0\r\n\r\n",
}


@pytest.mark.parametrize("framing", _FRAMINGS)
def test_no_second_request_hides_in_a_first(node: Any, first: Recorder, framing: str) -> None:
    """The sandbox's server must see no request that the edge did not see as one."""
    text = f"POST /outer HTTP/1.1\r\nHost: {first.host}\r\n{_FRAMINGS[framing]}"
    text += _SMUGGLED.format(host=first.host)
    answer = exchange(node.port, text.encode("latin-1"), wait=2, close=True)
    heads = first.heads()
    smuggled = [head for head in heads if head.startswith("GET /smuggled")]
    # An edge that reads two requests gives two answers; one that refuses gives none but 4xx.
    assert len(smuggled) == max(0, answer.statuses.count(200) - 1)
    assert smuggled == []
    for head in heads:
        lower = head.lower()
        assert lower.count("content-length:") + lower.count("transfer-encoding:") <= 1
    if "length and coding" in framing or "coding and length" in framing:
        # RFC 9112 lets the coding win, as long as nothing that follows is read as a request.
        assert answer.statuses in ([], [400], [200])
        return
    assert answer.status in (None, 400, 411, 413, 501, 502)


def test_a_good_request_after_a_good_one_is_served(node: Any, first: Recorder) -> None:
    """The control for the test above: what is refused there is refused for its framing."""
    text = f"POST /outer HTTP/1.1\r\nHost: {first.host}\r\nContent-Length: 0\r\n\r\n"
    text += _SMUGGLED.format(host=first.host)
    assert exchange(node.port, text.encode(), wait=2).statuses == [200, 200]
    assert len(first.heads()) == 2


def test_who_called_is_said_by_the_edge_alone(node: Any, first: Recorder) -> None:
    claims = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "gopher"),
              ("X-Forwarded-Host", "evil"), ("Forwarded", "for=6.6.6.6"),
              ("X-Real-IP", "6.6.6.6"), ("Connection", "x-forwarded-for, host")]  # fmt: skip
    assert request(node.port, host=first.host, headers=claims).status == 200
    (head,) = first.heads()
    assert "6.6.6.6" not in head
    assert "gopher" not in head
    assert "evil" not in head
    assert "x-forwarded-for: 127.0.0.1" in head.lower()
    assert f"host: {first.host}" in head.lower()


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "CONNECT-UDP"])
def test_the_edge_is_no_open_proxy(node: Any, world: Any, first: Recorder, method: str) -> None:
    world.packets.clear()
    for target in ("169.254.169.254:80", "127.0.0.1:6379", "http://192.0.2.1/"):
        answer = exchange(
            node.port,
            f"{method} {target} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n".encode(),
            wait=2,
        )
        assert answer.status is None or answer.status >= 400
    assert world.packets == []


# --- HTTP/2 -------------------------------------------------------------------------------------


def _fields(host: str, **changed: bytes) -> list[tuple[bytes, bytes]]:
    fields = {"method": b"GET", "scheme": b"http", "authority": host.encode(), "path": b"/"}
    return [(b":" + name.encode(), value) for name, value in (fields | changed).items()]


def test_http_2_reaches_the_same_sandbox(node: Any, first: Recorder) -> None:
    answer = exchange_2(node.port, _fields(first.host))
    assert (answer.status, answer.raw) == (200, OWN)


def test_pseudo_headers_cannot_lead_elsewhere(node: Any, first: Recorder, second: Recorder) -> None:
    plain, foreign = _fields(first.host), second.host.encode()
    tricks = {
        "host differs": [*plain, (b"host", foreign)],
        "two authorities": [*plain[:3], (b":authority", foreign), *plain[3:]],
        "two paths": [*plain, (b":path", b"/other")],
        "late pseudo header": [*plain[:3], (b"x", b"y"), plain[3]],
        "authority with user": _fields(f"a@{first.host}"),
        "authority with space": _fields(f"{first.host} {second.host}"),
        "absolute path": _fields(first.host, path=b"http://" + foreign + b"/"),
        "path with line": _fields(first.host, path=b"/ HTTP/1.1\r\nHost: " + foreign),
        "path with space": _fields(first.host, path=b"/ HTTP/1.1"),
        "no path": _fields(first.host, path=b""),
        "method with line": _fields(first.host, method=b"GET / HTTP/1.1\r\nX: y\r\n\r\nGET"),
        "value with line": [*plain, (b"x", b"a\r\nhost: " + foreign)],
        "name with line": [*plain, (b"x: a\r\nhost", foreign)],
        "name in capitals": [*plain, (b"Host", foreign)],
        "connection header": [*plain, (b"connection", b"host")],
        "transfer coding": [*plain, (b"transfer-encoding", b"chunked")],
        "connect": [(b":method", b"CONNECT"), (b":authority", foreign)],
        "extended connect": [*_fields(first.host, method=b"CONNECT"), (b":protocol", b"websocket")],
        "false length": [*plain, (b"content-length", b"100")],
    }
    for name, fields in tricks.items():
        answer = exchange_2(node.port, fields)
        assert answer.status is None or answer.status >= 400, name
        assert FOREIGN not in answer.raw, name
    heads = "".join(first.heads() + second.heads())
    assert second.host not in heads
    assert second.heads() == []


def test_internal_paths_are_closed_over_http_2_too(node: Any, base: Sandbox) -> None:
    fields = [*_fields(f"127.0.0.1:{node.port}", method=b"POST", path=b"/%69nit"),
              (b"wardian-sandbox-id", base.id.encode()),
              (b"x-access-token", token_of(base).encode())]  # fmt: skip
    assert exchange_2(node.port, fields, body=b"{}").status == 404


# --- too much -----------------------------------------------------------------------------------


@pytest.mark.parametrize("many", [False, True], ids=["one long line", "many lines"])
def test_oversized_heads_are_refused(node: Any, first: Recorder, many: bool) -> None:
    lines = "".join(f"X-{n}: y\r\n" for n in range(20_000)) if many else f"X: {'y' * 900_000}\r\n"
    text = f"GET / HTTP/1.1\r\nHost: {first.host}\r\n{lines}\r\n"
    answer = exchange(node.port, text.encode(), wait=5)
    assert answer.status in (None, 400, 431)
    assert first.heads() == []
    assert exchange(node.port, b"GET " + b"/" * 900_000 + b" HTTP/1.1\r\n\r\n").status in (
        None, 400, 414, 431,
    )  # fmt: skip


def test_an_endless_body_to_the_control_plane_is_cut(node: Any) -> None:
    key = f"Authorization: Bearer {node.api_key}\r\n"
    head = (
        f"POST /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\n{key}Transfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    answer = exchange(node.port, head.encode() + chunk * 40, wait=1)
    assert answer.status in (400, 413)
