"""Previews, tickets and the way to a sandbox's services: who is let in, and what never goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from wardian import Client, Exposure, Sandbox

from .attack import token_of
from .raw_http import Answer, exchange, request
from .recorder import OWN, PORT, Recorder
from .test_gateway_framing import _FRAMINGS, _SMUGGLED

Headers = list[tuple[str, str]]


@pytest.fixture
def private(first: Recorder) -> Iterator[Exposure]:
    """A private exposure of the server that keeps what it is sent."""
    yield first.sandbox.expose(PORT)
    first.sandbox.unexpose(PORT)


@pytest.fixture
def public(second: Recorder) -> Iterator[Exposure]:
    """A public exposure of another sandbox's server."""
    yield second.sandbox.expose(PORT, visibility="public")
    second.sandbox.unexpose(PORT)


def _host(exposed: Exposure) -> str:
    return urlsplit(exposed.url).netloc


def _visit(node: Any, exposed: Exposure, headers: Headers, path: str = "/") -> Answer:
    return request(node.port, path, host=_host(exposed), headers=headers)


# --- previews -----------------------------------------------------------------------------------


def test_nothing_a_visitor_says_of_itself_opens_a_private_preview(
    node: Any, first: Recorder, private: Exposure, public: Exposure
) -> None:
    ticket = urlsplit(public.signed_url().url).query.partition("=")[2]
    agent = token_of(first.sandbox)
    for headers in (
        [],
        [("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Host", _host(public))],
        [("Forwarded", "for=127.0.0.1;host=localhost")],
        [("X-Real-IP", "127.0.0.1")],
        [("Wardian-Sandbox-Id", public.sandbox_id), ("Wardian-Sandbox-Port", str(PORT))],
        [("Wardian-Sandbox", first.sandbox.id), ("Wardian-Ticket", ticket)],
        [("X-Access-Token", agent)],
        [("Authorization", f"Bearer {agent}")],
        [("Wardian-Traffic-Token", private.token or "")],
        [("Authorization", "Bearer e2b_" + "0" * 40)],
        [("Cookie", "wardian-preview=")],
        [("Cookie", f"wardian-preview={ticket}")],
        [("Cookie", "wardian-preview=99999999999." + "0" * 64)],
    ):
        assert _visit(node, private, headers).status == 401, headers
    for query in ("", ticket, f"{ticket}&x", "99999999999." + "0" * 64, "%00", "x" * 3000):
        answer = _visit(node, private, [], f"/?wardian_ticket={query}")
        assert answer.status in (400, 401), query
    assert first.heads() == []
    key = [("Authorization", f"Bearer {node.api_key}")]
    assert _visit(node, private, key).body == OWN


@pytest.mark.parametrize("shown", ["key", "other key header", "ticket", "cookie"])
def test_what_lets_a_visitor_in_goes_no_further(
    node: Any, first: Recorder, private: Exposure, shown: str
) -> None:
    url = private.signed_url().url
    ticket = urlsplit(url).query.partition("=")[2]
    redirect = _visit(node, private, [("Accept", "text/html")], f"/?wardian_ticket={ticket}")
    (line,) = [
        line
        for line in redirect.raw.decode().split("\r\n")
        if line.lower().startswith("set-cookie")
    ]
    cookie = line.partition(": ")[2].partition(";")[0]
    headers: Headers = [("X-Mine", "stays"), ("Cookie", "mine=stays")]
    path = "/?mine=stays"
    if shown == "key":
        headers.append(("Authorization", f"Bearer {node.api_key}"))
    elif shown == "other key header":
        headers.append(("X-API-Key", node.api_key))
    elif shown == "ticket":
        path += f"&wardian_ticket={ticket}"
    else:
        headers[1] = ("Cookie", f"mine=stays; {cookie}")
    assert _visit(node, private, headers, path).body == OWN
    (head,) = first.heads()
    for secret in (node.api_key, ticket, cookie.partition("=")[2], "wardian-preview", "wardian_"):
        assert secret not in head
    assert head.count("stays") == 3


def test_a_key_shown_to_a_public_preview_stays_here_too(
    node: Any, second: Recorder, public: Exposure
) -> None:
    for headers in (
        [("Authorization", f"Bearer {node.api_key}")],
        [("X-API-Key", node.api_key)],
        [("X-API-Key", "x"), ("X-API-Key", node.api_key)],
    ):
        assert _visit(node, public, headers).status == 200
    own = [("Authorization", "Bearer a.program's.own"), ("X-API-Key", "its own")]
    assert _visit(node, public, own).status == 200
    heads = second.heads()
    assert node.api_key not in "".join(heads)
    assert "a.program's.own" in heads[-1] and "its own" in heads[-1]


def test_an_address_that_is_nearly_right_is_nobodys(
    node: Any, first: Recorder, public: Exposure
) -> None:
    token, sandbox = public.token or "", public.sandbox_id
    assert len(token) == 16
    for label in (
        f"{PORT}-{sandbox}-{token[:-1]}",
        f"{PORT}-{sandbox}-{token}a",
        f"{PORT}-{sandbox}-{token}-x",
        f"{PORT}-{sandbox}-",
        f"{PORT}-{sandbox}--{token}",
        f"{PORT}-{sandbox}-{token[::-1]}",
        f"{PORT + 1}-{sandbox}-{token}",
        f"49983-{sandbox}-{token}",
        f"{PORT}-{first.sandbox.id}-{token}",
        f"{PORT}-{'a' * 20}-{token}",
        f"0{PORT}-{sandbox}-{token}",
        f"{PORT}-{sandbox}-*",
        f"{PORT}-{sandbox}-%2e%2e",
    ):
        answer = request(node.port, host=f"{label}.localhost")
        assert answer.status in (400, 404, 421), label
    assert first.heads() == []


# --- tickets and services -----------------------------------------------------------------------


def _names_itself(node: Any, sandbox: Sandbox, headers: Headers, query: str = "") -> Answer:
    path = f"/v1/sandboxes/{sandbox.id}/files/content?path=/etc/hostname{query}"
    return request(node.port, path, headers=headers)


def test_a_ticket_opens_one_sandbox_one_service_and_one_path(
    node: Any, base: Sandbox, other: Sandbox
) -> None:
    ticket = base.ticket("files", "content").ticket
    right = _names_itself(node, base, [], f"&ticket={ticket}")
    assert (right.status, right.body.strip().decode()) == (200, base.id)
    tail = f"?path=/etc/hostname&ticket={ticket}"
    mine, theirs = f"/v1/sandboxes/{base.id}", f"/v1/sandboxes/{other.id}"
    for path in (
        f"{theirs}/files/content",
        f"{mine}/files/list",
        f"{mine}/files",
        f"{mine}/files/contents",
        f"{mine}/processes",
        f"{mine}/files/content/../list",
        f"{mine}/files/content/%2e%2e/list",
        f"{mine}/files/content/..%2flist",
        f"{mine}/files/content//list",
        f"{mine}/files/content/%252e%252e/list",
        f"{mine}/files//content",
        f"{mine}/files/./content",
        f"{mine}/files/%63ontent",
        f"{mine}/%66iles/content",
        f"{mine}%2ffiles/content",
        f"{mine}/../{other.id}/files/content",
        f"{mine}/files/content/../../../{other.id}/files/content",
        f"/v1/sandboxes//{base.id}/files/content",
        f"/v1/./sandboxes/{base.id}/files/content",
        f"{mine}/files/content\\..\\list",
        f"{mine}/files/content%00",
        mine,
        f"{mine}/tickets",
        f"{mine}/exposures",
        "/v1/sandboxes",
        "/v1/keys",
    ):
        for method in ("GET", "POST"):
            answer = request(node.port, path + tail, method=method)
            assert answer.status in (400, 401, 403, 404, 405), path
            assert other.id.encode() not in answer.raw or path.count(other.id), path
    twice = _names_itself(node, base, [], f"&ticket={ticket}&%74icket={ticket}")
    assert twice.status == 400


def test_no_header_leads_a_call_to_another_sandbox(
    node: Any, base: Sandbox, other: Sandbox
) -> None:
    key = ("Authorization", f"Bearer {node.api_key}")
    ticket = base.ticket("files", "content").ticket
    for name, value in (
        ("Wardian-Sandbox", other.id),
        ("Wardian-Service", "git"),
        ("Wardian-Path", "list"),
        ("Wardian-Method", "GET"),
        ("Wardian-Ticket", other.ticket("files").ticket),
        ("X-Access-Token", token_of(other)),
        ("Connection", "X-Access-Token, Wardian-Sandbox, Authorization"),
        ("X-Forwarded-Host", f"{PORT}-{other.id}.localhost"),
        ("X-Original-URL", f"/v1/sandboxes/{other.id}/files/content"),
    ):
        by_key = _names_itself(node, base, [key, (name, value)])
        by_ticket = _names_itself(node, base, [(name, value)], f"&ticket={ticket}")
        for answer in (by_key, by_ticket):
            assert (answer.status, answer.body.strip().decode()) == (200, base.id), name
    spoofed = [("Wardian-Ticket", ticket), ("Wardian-Sandbox", base.id)]
    assert _names_itself(node, base, spoofed).status == 401
    assert _names_itself(node, base, [("X-Access-Token", token_of(base))]).status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/internal/authorise", "/internal/authorise/", "//internal/authorise",
        "/./internal/authorise", "/x/../internal/authorise", "/%69nternal/authorise",
        "/internal%2fauthorise", "/INTERNAL/authorise", "/x/%2e%2e/internal/authorise",
        "/\\internal/authorise", "/internal/visit", "/internal/address", "/%2finternal/visit",
    ],
)  # fmt: skip
def test_what_only_the_edge_may_ask_is_not_there(node: Any, base: Sandbox, path: str) -> None:
    """Else a key that may only read, or a ticket, could be told the agent's token."""
    reading = Client().create_key("reading", ["read"])
    ticket = base.ticket("run").ticket
    for shown in (
        ("X-API-Key", reading.key or ""),
        ("X-API-Key", node.api_key),
        ("Wardian-Ticket", ticket),
    ):
        question = [
            ("Wardian-Sandbox", base.id), ("Wardian-Service", "run"), ("Wardian-Path", ""),
            ("Wardian-Method", "GET"), ("Wardian-Upgrade", "no"),
        ]  # fmt: skip
        answer = request(node.port, path, headers=[shown, *question])
        assert answer.status in (400, 404)
        assert token_of(base).encode() not in answer.raw
    Client().delete_key(reading.id)


def test_a_key_that_may_only_read_changes_nothing_through_a_service(
    node: Any, base: Sandbox
) -> None:
    reading = Client().create_key("reading", ["read"])
    key = ("X-API-Key", reading.key or "")
    assert _names_itself(node, base, [key]).status == 200
    upgrade = [
        key,
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    terminal = f"/v1/sandboxes/{base.id}/terminals/x?create=true"
    assert request(node.port, terminal, headers=upgrade).status == 403
    for method, path in (
        ("POST", "run"),
        ("PUT", "files/content?path=/tmp/x"),
        ("DELETE", "processes"),
        ("PATCH", "files/content"),
        ("OPTIONS", "run"),
    ):
        target = f"/v1/sandboxes/{base.id}/{path}"
        assert request(node.port, target, method=method, headers=[key]).status == 403, path
    Client().delete_key(reading.id)


@pytest.mark.parametrize("framing", _FRAMINGS)
def test_no_second_request_hides_in_a_call(node: Any, base: Sandbox, framing: str) -> None:
    """The agent must not be sent a request that the edge did not ask leave for."""
    outer = f"/v1/sandboxes/{base.id}/run"
    text = f"POST {outer} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {node.api_key}\r\n"
    text += _FRAMINGS[framing] + _SMUGGLED.format(host="localhost")
    answer = exchange(node.port, text.encode("latin-1"), wait=2, close=True)
    # One answer at most: what is hidden in the first is never a request of its own.
    assert len(answer.statuses) <= 1
    # Where length and coding meet, the coding may win and the connection ends (RFC 9112, 6.3).
    coding_wins = framing in ("length and coding", "coding and length")
    refused = answer.status in (None, 400, 411, 413, 501, 502, 503)
    assert refused or (coding_wins and b"connection: close" in answer.raw.lower())


def test_a_call_can_not_speak_as_the_node(node: Any, base: Sandbox) -> None:
    """A file of a sandbox, shown at the node's own address, is no page there."""
    base.files.write("/tmp/page.html", "<script>alert(1)</script>")
    key = [("Authorization", f"Bearer {node.api_key}")]
    path = f"/v1/sandboxes/{base.id}/files/content?path=/tmp/page.html"
    head = request(node.port, path, headers=key).raw.partition(b"\r\n\r\n")[0].lower()
    assert b"content-security-policy: default-src 'none'; sandbox" in head
    assert b"x-content-type-options: nosniff" in head
    assert b"set-cookie" not in head


def test_tickets_and_addresses_are_in_no_log(node: Any, base: Sandbox, private: Exposure) -> None:
    ticket = base.ticket("files").ticket
    signed = urlsplit(private.signed_url().url).query.partition("=")[2]
    for wrong in (ticket, ticket[:-1]):
        _names_itself(node, base, [], f"&ticket={wrong}")
    for wrong in (signed, signed[:-1]):
        _visit(node, private, [], f"/?wardian_ticket={wrong}")
    log = node.log().decode()
    for secret in (ticket[:-1], signed[:-1], private.token or "", node.api_key):
        assert secret not in log


def test_the_edges_words_are_json_to_programs(node: Any, private: Exposure) -> None:
    answer = _visit(node, private, [])
    assert json.loads(answer.body)["error"]["code"] == "unauthorized"
