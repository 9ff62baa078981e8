"""Ports with addresses of their own: who is let in, what arrives, and what is cut."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from wardian import (
    Client,
    Exposure,
    ExposureNotFound,
    InvalidRequest,
    Sandbox,
    SandboxEnded,
    TokenTaken,
)
from wardian.cli import cli

from .conftest import Make
from .host import part_of
from .waiting import until

PROGRAMS = Path(__file__).parent / "programs"
PORT = 8000
PAGE = {"Accept": "text/html,*/*;q=0.8"}


@pytest.fixture(scope="module")
def web(node: Any) -> Iterator[Sandbox]:
    """A sandbox with a server that says what it was asked."""
    with Sandbox.create("base", timeout=1200) as sandbox:
        _start(sandbox, "preview_server.py", str(PORT))
        exposed = sandbox.expose(PORT, visibility="public")
        until(lambda: _ask(node, exposed.url).status_code == 200, "the server")
        yield sandbox
        sandbox.unexpose(PORT)


def test_what_is_exposed_is_found_at_its_address_and_kept(node: Any, web: Sandbox) -> None:
    first = web.expose(PORT, "web", visibility="public")
    assert re.fullmatch(rf"http://{PORT}-{web.id}-[a-z0-9]{{16}}\.localhost:\d+", first.url)
    assert web.expose(PORT, "web", visibility="public").url == first.url
    (listed,) = web.exposures()
    assert (listed.url, listed.name, listed.visibility) == (first.url, "web", "public")
    body = os.urandom(3_000_000)
    answer = _ask(node, f"{first.url}/a%20b/..%2f?q=1", method="POST", content=body)
    seen = answer.json()
    assert (seen["method"], seen["path"]) == ("POST", "/a%20b/..%2f?q=1")
    assert seen["body"] == hashlib.sha256(body).hexdigest()
    assert seen["headers"]["host"] == seen["headers"]["x-forwarded-host"]
    assert seen["headers"]["host"] == httpx.URL(first.url).netloc.decode()
    assert _ask(node, first.url.replace(listed.token or "", "wrongtoken")).status_code == 404


def test_what_a_visitor_claims_is_replaced_and_the_rule_for_host_holds(
    node: Any, web: Sandbox, make: Make
) -> None:
    other = make()
    exposed = web.expose(PORT, visibility="public", host_header="localhost")
    claims = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Real-Ip": "6.6.6.6",
        "Wardian-Sandbox-Id": other.id,
        "Wardian-Sandbox-Port": "49983",
        "Wardian-Traffic-Token": "x",
    }
    headers = _ask(node, exposed.url, headers=claims).json()["headers"]
    assert headers["host"] == f"localhost:{PORT}"
    assert headers["x-forwarded-host"] == httpx.URL(exposed.url).netloc.decode()
    assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == ("127.0.0.1", "http")
    assert not [name for name in headers if name.startswith("wardian") or name == "x-real-ip"]


def test_a_private_one_lets_in_keys_and_signed_addresses(
    node: Any, web: Sandbox, make: Make
) -> None:
    exposed = web.expose(PORT)
    assert exposed.visibility == "private"
    other = make()
    foreign = other.expose(PORT).signed_url().url.partition("?")[2]
    for shown in ({}, {"Authorization": "Bearer x"}, {"X-API-Key": "e2b_" + "0" * 40}):
        refused = _ask(node, exposed.url, headers=shown)
        assert refused.status_code == 401, shown
    assert _ask(node, f"{exposed.url}/?{foreign}").status_code == 401
    for shown in (
        {"Authorization": f"Bearer {node.api_key}"},
        {"X-API-Key": node.api_key},
    ):
        answer = _ask(node, exposed.url, headers=shown | {"Cookie": "mine=1"})
        assert answer.status_code == 200
        assert node.api_key not in answer.text
        assert answer.json()["headers"]["cookie"] == "mine=1"
    signed = exposed.signed_url(60)
    ticket = signed.url.partition("wardian_ticket=")[2]
    seen = _ask(node, f"{signed.url}&x=1")
    assert seen.json()["path"] == "/?x=1" and ticket not in seen.text
    redirect = _ask(node, signed.url, headers=PAGE)
    assert (redirect.status_code, redirect.headers["location"]) == (303, "/")
    cookie = redirect.headers["set-cookie"].partition(";")[0]
    inside = _ask(node, exposed.url, headers={"Cookie": f"a=1; {cookie}; b=2"})
    assert inside.json()["headers"]["cookie"] == "a=1; b=2"
    assert _ask(node, exposed.url, headers={"Cookie": f"{cookie}0"}).status_code == 401
    at_other = other.exposures()[0].url
    assert _ask(node, at_other, headers={"Cookie": cookie}).status_code == 401


def test_a_deleted_key_visits_nothing(node: Any, web: Sandbox) -> None:
    exposed = web.expose(PORT)
    client = Client()
    lent, weak = client.create_key("lent", ["sandboxes"]), client.create_key("weak", ["read"])
    assert lent.key and weak.key
    assert _ask(node, exposed.url, headers={"X-API-Key": lent.key}).status_code == 200
    assert _ask(node, exposed.url, headers={"X-API-Key": weak.key}).status_code == 403
    client.delete_key(lent.id)
    client.delete_key(weak.id)
    # The edge may remember its leave for a second.
    shown = {"X-API-Key": lent.key}
    until(lambda: _ask(node, exposed.url, headers=shown).status_code == 401, "the refusal")


def test_taking_it_back_cuts_at_once(node: Any, make: Make) -> None:
    sandbox = make("base")
    _start(sandbox, "preview_server.py", str(PORT))
    sandbox.run("mkfifo /tmp/go", check=True)
    exposed = sandbox.expose(PORT, visibility="public", token="chosentoken")
    until(lambda: _ask(node, exposed.url).status_code == 200, "the server")
    tunnel = _websocket(node, exposed)
    headers = {"Host": httpx.URL(exposed.url).netloc.decode()}
    with httpx.stream(
        "GET", f"{node.url}/events", headers=headers, timeout=30, trust_env=False
    ) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: first"
        sandbox.unexpose(PORT)
        assert tunnel.recv(16) == b""
        with pytest.raises(httpx.RemoteProtocolError):
            list(lines)
    tunnel.close()
    assert _ask(node, exposed.url).status_code == 404
    sandbox.unexpose(PORT)
    with pytest.raises(ExposureNotFound):
        exposed.signed_url()
    again = sandbox.expose(PORT, visibility="public")
    assert again.url != exposed.url
    assert _ask(node, again.url).status_code == 200


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_server_on_the_loopback_is_reached(node: Any, make: Make, address: str) -> None:
    sandbox = make("base")
    exposed = sandbox.expose(5000, visibility="public")
    waiting = _ask(node, exposed.url)
    assert (waiting.status_code, waiting.json()["error"]["code"]) == (502, "port_closed")
    running = sandbox.spawn(["python3", _put(sandbox, "loopback_server.py"), address, "5000"])
    until(lambda: _ask(node, exposed.url).text == f"at {address}", "the server")
    # An address without a token leads to what listens for others only.
    plain = httpx.get(node.url, headers={"Host": sandbox.host(5000)}, trust_env=False)
    assert plain.status_code == 502
    running.kill()
    running.wait()
    _start(sandbox, "loopback_server.py", "0.0.0.0", "5000")
    until(lambda: _ask(node, exposed.url).text == "at 0.0.0.0", "the server that moved")
    with httpx.Client(trust_env=False, headers={"Host": _host(exposed)}) as visitor:
        assert {visitor.get(node.url).text for _ in range(50)} == {"at 0.0.0.0"}


def test_what_rules_its_own_network_is_let_be(node: Any, make: Make) -> None:
    """Root inside may hang or turn its loopback as it likes: it reaches nothing but itself."""
    sandbox = make("base", user="root")
    exposed = sandbox.expose(5000, visibility="public")
    sandbox.run("ip link set lo down || ifconfig lo down || true")
    assert _ask(node, exposed.url).status_code == 502
    assert sandbox.run("echo alive").stdout == "alive\n"


@pytest.mark.parametrize("part", ["control", "edge", "launcher"])
def test_it_outlives_the_death_of(node: Any, web: Sandbox, part: str) -> None:
    exposed = web.expose(PORT, visibility="public")
    cookie_for = web.expose(PORT + 1).signed_url().url
    os.kill(part_of(node.supervisor, part).pid, 9)
    until(lambda: _ask(node, exposed.url).status_code == 200, "the preview")
    until(lambda: web.exposures()[0].url == exposed.url, "the record")
    assert _ask(node, cookie_for).status_code == 502
    web.unexpose(PORT + 1)


def test_an_address_of_an_ended_sandbox_says_so_and_is_nobody_elses(node: Any, make: Make) -> None:
    sandbox = make()
    exposed = sandbox.expose(PORT, visibility="public", token="sametoken")
    sandbox.kill()
    other = make()
    other.expose(PORT, visibility="public", token="sametoken")
    gone = _ask(node, exposed.url)
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "sandbox_ended")
    wrong = exposed.url.replace("sametoken", "othertoken")
    assert _ask(node, wrong).status_code == 404
    never = exposed.url.replace(sandbox.id, "a" * 20)
    assert _ask(node, never).status_code == 404
    with pytest.raises(SandboxEnded):
        sandbox.expose(PORT)
    sandbox.unexpose(PORT)
    page = _ask(node, exposed.url, headers=PAGE)
    assert page.headers["content-type"].startswith("text/html")
    assert "This preview is gone" in page.text


def test_people_see_pages(node: Any, make: Make) -> None:
    sandbox = make()
    public, private = sandbox.expose(1, visibility="public"), sandbox.expose(2)
    for url, status, title in (
        (public.url, 502, "Waiting for the server"),
        (private.url, 401, "This preview is private"),
        (f"{private.url}/?wardian_ticket=x", 401, "This link no longer works"),
        (public.url.replace("1-", "3-", 1), 404, "No preview here"),
    ):
        page = _ask(node, url, headers=PAGE)
        assert page.status_code == status
        assert title in page.text
        assert "script" not in page.text and "http:" not in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]


def test_odd_wishes_are_refused(minimal: Sandbox) -> None:
    minimal.expose(1, token="takentoken")
    with pytest.raises(TokenTaken):
        minimal.expose(2, token="takentoken")
    for port, token in ((0, "auto"), (65536, "auto"), (49983, "auto"), (3, "UPPER"), (3, "x")):
        with pytest.raises(InvalidRequest):
            minimal.expose(port, token=token)
    assert [exposed.port for exposed in minimal.exposures()] == [1]
    minimal.unexpose(1)


def test_many_visitors_at_once(node: Any, web: Sandbox) -> None:
    exposed = web.expose(PORT, visibility="public")
    seen: list[int] = []

    def visit(number: int) -> None:
        for turn in range(10):
            body = f"{number}:{turn}".encode() * 1000
            answer = _ask(node, exposed.url, method="POST", content=body).json()
            seen.append(answer["body"] == hashlib.sha256(body).hexdigest())

    visitors = [threading.Thread(target=visit, args=(number,)) for number in range(8)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert seen == [True] * 80


def test_the_command_line(node: Any, minimal: Sandbox) -> None:
    run = CliRunner().invoke
    made = run(cli, ["expose", minimal.id, "9000", "--public", "--name", "api"])
    assert made.exit_code == 0, made.output
    url = made.output.strip()
    assert url.startswith(f"http://9000-{minimal.id}-")
    listed = run(cli, ["exposures", minimal.id, "--json"])
    assert [each["url"] for each in json.loads(listed.output)] == [url]
    assert "api" in run(cli, ["exposures", minimal.id]).output
    signed = run(cli, ["expose", minimal.id, "9000", "--sign", "60"])
    assert signed.output.strip().startswith(f"{url}/?wardian_ticket=")
    assert run(cli, ["unexpose", minimal.id, "9000"]).exit_code == 0
    assert json.loads(run(cli, ["exposures", minimal.id, "--json"]).output) == []
    ticket = run(cli, ["ticket", minimal.id, "terminals", "main"])
    assert "/terminals/main?ticket=" in ticket.output


def test_the_guides_example_runs(node: Any) -> None:
    guide = Path(__file__).parents[2] / "docs/guides/previews.md"
    code = re.findall(r"```python\n(.*?)```", guide.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code[0], names)
    sandbox, preview = names["sandbox"], names["preview"]
    exec(code[2], names)
    try:
        sandbox.background_process("web").wait_for_port(8000)
        answer = _ask(node, str(preview.signed_url(600)))
        assert answer.status_code == 200 and "Directory listing" in answer.text
    finally:
        sandbox.kill()


def _host(exposed: Exposure) -> str:
    return httpx.URL(exposed.url).netloc.decode()


def _put(sandbox: Sandbox, program: str) -> str:
    path = f"/tmp/{program}"
    sandbox.files.write(path, (PROGRAMS / program).read_text())
    return path


def _start(sandbox: Sandbox, program: str, *words: str) -> None:
    sandbox.spawn(["python3", _put(sandbox, program), *words]).disconnect()


def _websocket(node: Any, exposed: Exposure) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", node.port), timeout=30)
    head = (
        f"GET /ws HTTP/1.1\r\nHost: {_host(exposed)}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    connection.sendall(head.encode())
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        received += connection.recv(1)
    assert b" 101 " in received.splitlines()[0]
    connection.sendall(b"\x81\x85\0\0\0\0hello")
    echoed = b""
    while len(echoed) < 7:
        echoed += connection.recv(7 - len(echoed))
    assert echoed == b"\x81\x05hello"
    return connection


def _ask(
    node: Any,
    url: str,
    *,
    method: str = "GET",
    content: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """Visits a preview: by its name, whatever that resolves to on this machine."""
    address = httpx.URL(url)
    everything = {"Host": address.netloc.decode()} | (headers or {})
    target = f"{node.url}{address.raw_path.decode()}"
    return httpx.request(
        method, target, content=content, headers=everything, timeout=60, trust_env=False
    )
