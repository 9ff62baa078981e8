"""A web server in a sandbox is reached at an address of its own through the one public port."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from wardian import Sandbox

from .conftest import Make
from .waiting import until

SERVER = (Path(__file__).parent / "programs" / "preview_server.py").read_text()
PORT = 8000


@pytest.fixture(scope="module")
def web(node: Any) -> Iterator[Sandbox]:
    """A sandbox with a server that says what it was asked."""
    with Sandbox.create("base", timeout=1200) as sandbox:
        _serve(sandbox, node)
        yield sandbox


def test_a_request_arrives_as_it_was_sent(node: Any, web: Sandbox) -> None:
    body = os.urandom(5_000_000)
    answer = _ask(
        node,
        web,
        PORT,
        "/a%20b/..%2f?q=1&q=2",
        method="POST",
        content=body,
        headers={"X-Mine": "ü".encode()},
    )
    seen = answer.json()
    assert (seen["method"], seen["path"]) == ("POST", "/a%20b/..%2f?q=1&q=2")
    assert seen["body"] == hashlib.sha256(body).hexdigest()
    assert seen["headers"]["host"] == web.host(PORT)


def test_what_the_client_claims_about_itself_is_replaced(node: Any, web: Sandbox) -> None:
    claims = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "gopher",
        "X-Forwarded-Host": "evil.example",
    }
    headers = _ask(node, web, PORT, headers=claims).json()["headers"]
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-forwarded-host"] == web.host(PORT)


def test_a_routing_header_can_not_lead_elsewhere(node: Any, web: Sandbox, make: Make) -> None:
    other = make()
    for prefix in ("Wardian", "E2b"):
        routing = {f"{prefix}-Sandbox-Id": other.id, f"{prefix}-Sandbox-Port": "49983"}
        seen = _ask(node, web, PORT, headers=routing).json()
        assert seen["headers"]["host"] == web.host(PORT)
        assert not [name for name in seen["headers"] if "sandbox" in name]


def test_a_routing_header_leads_there_where_no_address_does(node: Any, web: Sandbox) -> None:
    for prefix in ("Wardian", "E2b"):
        routing = {f"{prefix}-Sandbox-Id": web.id, f"{prefix}-Sandbox-Port": str(PORT)}
        answer = httpx.get(f"{node.url}/by-header", headers=routing, trust_env=False)
        assert answer.json()["path"] == "/by-header"


def test_the_address_is_the_same_in_capitals(node: Any, web: Sandbox) -> None:
    answer = httpx.get(node.url, headers={"Host": web.host(PORT).upper()}, trust_env=False)
    assert answer.status_code == 200


def test_a_port_nobody_listens_on(node: Any, web: Sandbox) -> None:
    answer = _ask(node, web, 8999)
    assert answer.status_code == 502
    assert answer.json() == {
        "sandboxId": web.id,
        "message": "The sandbox is running but port is not open",
        "port": 8999,
        "code": 502,
    }


def test_a_sandbox_that_is_not_there(node: Any, make: Make) -> None:
    ended = make()
    ended.kill()
    for nobody in (ended.id, "a" * 20):
        answer = httpx.get(node.url, headers={"Host": f"8000-{nobody}.localhost"}, trust_env=False)
        assert answer.status_code == 502
        assert answer.json() == {
            "sandboxId": nobody,
            "message": "The sandbox was not found",
            "code": 502,
        }


def test_a_browser_gets_a_page_to_read(node: Any, web: Sandbox) -> None:
    answer = _ask(node, web, 8999, headers={"Accept": "text/html,*/*"})
    assert answer.status_code == 502
    assert answer.headers["content-type"].startswith("text/html")
    assert "8999" in answer.text


def test_a_host_that_is_none_of_ours_is_misdirected(node: Any) -> None:
    for host in (
        "evil.example",
        "localhost.evil.example",
        "x.localhost",
        f"0-{'a' * 20}.localhost",
    ):
        answer = httpx.get(f"{node.url}/v1/health", headers={"Host": host}, trust_env=False)
        assert answer.status_code == 421, host
        assert answer.json()["error"]["code"] == "misdirected"


def test_the_agents_own_doors_are_shut(node: Any, web: Sandbox) -> None:
    for path in ("/init", "/freeze", "/upgrade", "//init", "/init/", "/%69nit"):
        answer = _ask(node, web, 49983, path, method="POST", content=b"{}")
        assert answer.status_code in (400, 401, 404), (path, answer.status_code)
    assert web.run("echo as before").stdout == "as before\n"


def test_private_ports_ask_for_the_token(node: Any, make: Make) -> None:
    sandbox = make("base", traffic="private")
    _serve(sandbox, node)
    token = sandbox.info().traffic_token
    assert token
    for headers in ({}, {"Wardian-Traffic-Token": "wrong"}, {"E2b-Traffic-Access-Token": ""}):
        answer = _ask(node, sandbox, PORT, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, 403)
        assert token not in answer.text
    seen = _ask(node, sandbox, PORT, headers={"E2b-Traffic-Access-Token": token})
    assert seen.status_code == 200
    assert token not in seen.text, "the server inside does not see it"
    assert sandbox.run("echo the agent has its own").ok


def test_a_websocket_echoes(node: Any, web: Sandbox) -> None:
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    with socket.create_connection(_address(node), timeout=30) as connection:
        request = (
            f"GET /ws HTTP/1.1\r\nHost: {web.host(PORT)}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        )
        connection.sendall(request.encode())
        stream = connection.makefile("rb")
        assert stream.readline().split()[1] == b"101"
        headers = b"".join(iter(stream.readline, b"\r\n"))
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in headers
        for text in (b"hello", b"x" * 125):
            connection.sendall(bytes((0x81, 0x80 | len(text))) + b"\0\0\0\0" + text)
            assert stream.read(2) == bytes((0x81, len(text)))
            assert stream.read(len(text)) == text


def test_events_arrive_while_the_answer_is_still_written(node: Any, web: Sandbox) -> None:
    web.run("rm -f /tmp/go; mkfifo /tmp/go", check=True)
    headers = {"Host": web.host(PORT)}
    with httpx.stream(
        "GET", f"{node.url}/events", headers=headers, timeout=30, trust_env=False
    ) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: first"
        web.run("echo > /tmp/go", timeout=30)
        assert "data: second" in list(lines)


def test_kill_cuts_a_visitors_connection(node: Any, make: Make) -> None:
    sandbox = make("base")
    _serve(sandbox, node)
    sandbox.run("mkfifo /tmp/go", check=True)
    headers = {"Host": sandbox.host(PORT)}
    with httpx.stream(
        "GET", f"{node.url}/events", headers=headers, timeout=30, trust_env=False
    ) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: first"
        sandbox.kill()
        with pytest.raises(httpx.RemoteProtocolError):
            list(lines)


def _serve(sandbox: Sandbox, node: Any) -> None:
    sandbox.files.write("/tmp/server.py", SERVER)
    sandbox.spawn(["python3", "/tmp/server.py", str(PORT)]).disconnect()
    token = sandbox.info().traffic_token
    headers = {"E2b-Traffic-Access-Token": token} if token else {}
    until(lambda: _ask(node, sandbox, PORT, headers=headers).status_code == 200, "the server")


def _ask(
    node: Any,
    sandbox: Sandbox,
    port: int,
    path: str = "/",
    *,
    method: str = "GET",
    content: bytes | None = None,
    headers: dict[str, Any] | None = None,
) -> httpx.Response:
    everything = {"Host": sandbox.host(port)} | (headers or {})
    url = f"{node.url}{path}"
    return httpx.request(
        method, url, content=content, headers=everything, timeout=60, trust_env=False
    )


def _address(node: Any) -> tuple[str, int]:
    url = httpx.URL(node.url)
    return url.host, url.port or 80
