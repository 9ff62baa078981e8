"""The public port, before anyone has shown a key."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from wardian import Sandbox

from . import attack
from .raw_http import Answer, exchange, exchange_2, request

_PORT = 8100
_OWN = b"first"
_FOREIGN = b"second"


@dataclass(slots=True)
class Recorder:
    """A server in a sandbox that answers with its name and keeps each head it is sent."""

    sandbox: Sandbox
    host: str
    kept: str

    def heads(self) -> list[str]:
        """All heads since the last look."""
        lines = self.sandbox.files.read(self.kept).splitlines()
        self.sandbox.run(["truncate", "-s", "0", self.kept], user="root", check=True)
        return [json.loads(line) for line in lines]


@contextlib.contextmanager
def _recorder(sandbox: Sandbox, name: bytes) -> Iterator[Recorder]:
    kept = "/tmp/heads"
    path = attack.put(sandbox, "recorder.py")
    with attack.serving(sandbox, ["python3", path, str(_PORT), name.decode(), kept]):
        yield Recorder(sandbox, sandbox.host(_PORT), kept)


@pytest.fixture(scope="module")
def first(base: Sandbox) -> Iterator[Recorder]:
    with _recorder(base, _OWN) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def second(other: Sandbox) -> Iterator[Recorder]:
    with _recorder(other, _FOREIGN) as recorder:
        yield recorder


def _code(answer: Answer) -> str:
    return json.loads(answer.body)["error"]["code"]


# --- keys and tokens ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Bearer ")],
        [("Authorization", "Bearer e2b_" + "0" * 40)],
        [("Authorization", "Basic YTpi")],
        [("X-API-Key", "e2b_" + "f" * 40)],
        [("X-API-Key", "' or 1=1 --")],
        [("X-API-Key", "e2b_" + "f" * 30000)],
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/v1/sandboxes", "/v1/keys", "/v1/node", "/v1/templates"])
def test_the_control_plane_asks_for_a_key(
    node: Any, path: str, headers: list[tuple[str, str]]
) -> None:
    answer = request(node.port, path, headers=headers)
    assert answer.status == 401
    assert _code(answer) == "unauthorized"


_AGENT_CALLS = (
    ("GET", "/files?path=/etc/hostname", b""),
    ("POST", "/files?path=/tmp/x", b"x"),
    ("GET", "/envs", b""),
    ("GET", "/metrics", b""),
    ("POST", "/process.Process/List", b"{}"),
    ("POST", "/filesystem.Filesystem/ListDir", b'{"path":"/"}'),
)


@pytest.mark.parametrize("call", _AGENT_CALLS, ids=lambda call: call[1])
@pytest.mark.parametrize("token", ["none", "wrong", "foreign", "api key"])
def test_the_agent_asks_for_its_own_token(
    node: Any, base: Sandbox, other: Sandbox, call: tuple[str, str, bytes], token: str
) -> None:
    method, path, body = call
    headers = [*_agent(base), ("Content-Type", "application/json")]
    brought = {"wrong": "A" * 43, "foreign": _token(other), "api key": node.api_key}.get(token)
    if brought is not None:
        headers.append(("X-Access-Token", brought))
    answer = request(node.port, path, method=method, headers=headers, body=body)
    assert answer.status == 401


def _token(sandbox: Sandbox) -> str:
    access = sandbox.info().agent
    assert access is not None
    return access.token


def _agent(sandbox: Sandbox) -> list[tuple[str, str]]:
    return [("Wardian-Sandbox-Id", sandbox.id), ("Wardian-Sandbox-Port", "49983")]


@pytest.mark.parametrize(
    "path",
    [
        "/init", "/init/", "//init", "/INIT", "/%69nit", "/./init", "/x/../init", "/x/%2e%2e/init",
        "/init?x=1", "/init;x", "/%2finit", "/init%20", "/init%00", "/\\init", "/freeze",
        "/upgrade", "/%2569nit", "http://localhost/init", "/init#x",
    ],
)  # fmt: skip
def test_what_only_the_node_may_call_is_not_there(node: Any, base: Sandbox, path: str) -> None:
    """Whatever the path looks like, the agent's token and settings stay as they are."""
    own = ("X-Access-Token", _token(base))
    body = b'{"accessToken":"taken-over","envVars":{"TAKEN":"1"}}'
    host = "localhost" if path.startswith("http") else None
    for headers in (_agent(base), [*_agent(base), own]):
        headers = [*headers, ("Content-Type", "application/json")]
        answer = request(node.port, path, method="POST", headers=headers, body=body, host=host)
        assert answer.status in (400, 401, 404)
    taken = [*_agent(base), ("X-Access-Token", "taken-over")]
    assert request(node.port, "/envs", headers=taken).status == 401
    envs = request(node.port, "/envs", headers=[*_agent(base), own])
    assert envs.status == 200
    assert b"TAKEN" not in envs.raw


def test_a_private_port_asks_for_the_traffic_token(node: Any) -> None:
    with (
        Sandbox.create("base", traffic="private") as private,
        _recorder(private, b"private") as recorder,
    ):
        right = private.info().traffic_token
        assert right
        for headers in (
            [],
            [("E2b-Traffic-Access-Token", "wrong")],
            [("E2b-Traffic-Access-Token", right[:-1])],
            [("X-Access-Token", _token(private))],
            [("Authorization", f"Bearer {node.api_key}")],
            [("E2b-Traffic-Access-Token", "wrong"), ("E2b-Traffic-Access-Token", right)],
        ):
            answer = request(node.port, host=recorder.host, headers=headers)
            assert answer.status in (400, 403), headers
            assert right.encode() not in answer.raw
        assert recorder.heads() == []
        opening = [("E2b-Traffic-Access-Token", right)]
        assert request(node.port, host=recorder.host, headers=opening).status == 200
        assert right not in "".join(recorder.heads())


# --- whose request is it -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Wardian-Sandbox-Id", "E2b-Sandbox-Id", "X-Forwarded-Host", "X-Original-Host", "X-Host",
        "Forwarded", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Server", "Via",
    ],
)  # fmt: skip
def test_a_preview_is_not_led_elsewhere_by_a_header(
    node: Any, first: Recorder, second: Recorder, name: str
) -> None:
    value = second.sandbox.id if name.endswith("-Id") else second.host
    answer = request(node.port, host=first.host, headers=[(name, value)])
    assert (answer.status, answer.body) == (200, _OWN)
    assert second.heads() == []


def test_the_path_of_the_api_at_a_preview_is_the_sandboxs(node: Any, first: Recorder) -> None:
    for path in ("/v1/sandboxes", "/v1/keys", "//v1/keys", "/v1/../v1/health"):
        headers = [("Authorization", f"Bearer {node.api_key}")]
        answer = request(node.port, path, host=first.host, headers=headers)
        assert (answer.status, answer.body) == (200, _OWN)


def test_an_absolute_target_must_agree_with_the_host(
    node: Any, first: Recorder, second: Recorder
) -> None:
    for target in (f"http://{second.host}/", "http://localhost/v1/health", "http://api.localhost/"):
        assert request(node.port, target, host=first.host).status == 400
    agreed = request(node.port, f"http://{first.host}/x", host=first.host)
    assert (agreed.status, agreed.body) == (200, _OWN)
    assert [head.split()[1] for head in first.heads()] == ["/x"]


@pytest.mark.parametrize(
    "host_lines",
    [
        "Host: {own}\r\nHost: {foreign}",
        "Host: {own}\r\nHost: {own}",
        "Host: {own}\r\n Host: {foreign}",
        "Host:{own},{foreign}",
        "Host: {own} {foreign}",
        "Host: user@{own}",
        "Host: {own}/",
        "Host: {own}#",
        "Host: {own}?",
        "Host: {own}\\",
        "Host: [{own}]",
        "Host: {own}:",
        "Host: {own}:80:80",
        "Host: {own}:x",
        "Host:",
        "X: y",
        "Host: \xff",
        "Host: {own}\x00",
        "Host : {own}",
    ],
)
def test_only_one_plain_host_is_taken(
    node: Any, first: Recorder, second: Recorder, host_lines: str
) -> None:
    lines = host_lines.format(own=first.host, foreign=second.host)
    answer = exchange(
        node.port, f"GET / HTTP/1.1\r\n{lines}\r\nConnection: close\r\n\r\n".encode("latin-1")
    )
    if host_lines == "Host: {own}:":
        # An empty port is a port left out (RFC 3986, 3.2.3); either reading names the same.
        assert answer.status in (200, 400)
        return
    assert answer.status in (None, 400, 421)
    assert first.heads() == second.heads() == []


@pytest.mark.parametrize(
    "label",
    [
        "0-{id}", "65536-{id}", "08100-{id}", "+8100-{id}", "-8100-{id}", "8100-{id}x",
        "8100-{id}=", "8100-", "-{id}", "8100.{id}", "8100-{id}.evil", "8100-{id}-", "8100-{id}-a-b", "8100_{id}",
        "8100-{id}%00", "8100--{id}", "99999999999-{id}", "8100-..%2f{id}", "8100-'{id}'",
    ],
)  # fmt: skip
def test_a_name_that_is_nearly_a_preview_is_nobodys(node: Any, first: Recorder, label: str) -> None:
    host = label.format(id=first.sandbox.id) + ".localhost"
    assert request(node.port, host=host).status in (400, 421)
    assert first.heads() == []


@pytest.mark.parametrize(
    "value", ["../../x", "%2e%2e", "x" * 20, "A" * 20, "a" * 21, "a" * 30000, "", "a b", "'--", "*"]
)
def test_an_id_of_wrong_form_is_no_sandbox(node: Any, value: str) -> None:
    answer = request(node.port, headers=[("Wardian-Sandbox-Id", value)])
    assert answer.status in (400, 431, 502)
    key = [("Authorization", f"Bearer {node.api_key}")]
    for method in ("GET", "DELETE"):
        path = "/v1/sandboxes/" + (value.replace(" ", "%20") or "%20")
        assert request(node.port, path, method=method, headers=key).status in (400, 404, 414, 431)


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
    for target in ("169.254.169.254:80", "127.0.0.1:6379", first.host):
        answer = exchange(
            node.port, f"{method} {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode(), wait=2
        )
        assert answer.status is None or answer.status >= 400
    assert world.packets == []


# --- HTTP/2 -------------------------------------------------------------------------------------


def _fields(host: str, **changed: bytes) -> list[tuple[bytes, bytes]]:
    fields = {"method": b"GET", "scheme": b"http", "authority": host.encode(), "path": b"/"}
    return [(b":" + name.encode(), value) for name, value in (fields | changed).items()]


def test_http_2_reaches_the_same_sandbox(node: Any, first: Recorder) -> None:
    answer = exchange_2(node.port, _fields(first.host))
    assert (answer.status, answer.raw) == (200, _OWN)


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
        assert _FOREIGN not in answer.raw, name
    heads = "".join(first.heads() + second.heads())
    assert second.host not in heads
    assert second.heads() == []


def test_internal_paths_are_closed_over_http_2_too(node: Any, base: Sandbox) -> None:
    fields = [*_fields(f"127.0.0.1:{node.port}", method=b"POST", path=b"/%69nit"),
              (b"wardian-sandbox-id", base.id.encode()),
              (b"x-access-token", _token(base).encode())]  # fmt: skip
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


def test_slow_heads_hold_nobody_up(node: Any, first: Recorder) -> None:
    """Many clients that send half a head each: others are served, and they are cut off."""
    slow = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(300)]
    try:
        for index, stream in enumerate(slow):
            stream.sendall(b"GET / HTTP/1.1\r\nX" if index % 2 else b"PRI * HTTP/2.0\r\n")
        assert request(node.port, host=first.host).body == _OWN
        assert request(node.port, "/v1/health").status == 200
        # One byte now and then must not keep a connection alive for ever.
        for stream in slow:
            stream.settimeout(60)
        assert slow[1].recv(4096)[:12] in (b"", b"HTTP/1.1 408", b"HTTP/1.1 400")
        assert slow[0].recv(4096)[:12] in (b"", b"HTTP/1.1 408", b"HTTP/1.1 400")
    except ConnectionResetError:
        pass
    finally:
        for stream in slow:
            stream.close()


def test_an_endless_body_to_the_control_plane_is_cut(node: Any) -> None:
    key = f"Authorization: Bearer {node.api_key}\r\n"
    head = (
        f"POST /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\n{key}Transfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    answer = exchange(node.port, head.encode() + chunk * 40, wait=5)
    assert answer.status in (400, 413)
