"""The public port, before anyone has shown a key: whose request is it, and may it?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from wardian import Sandbox

from .attack import token_of
from .raw_http import Answer, exchange, request
from .recorder import OWN, Recorder, recording


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
    brought = {"wrong": "A" * 43, "foreign": token_of(other), "api key": node.api_key}.get(token)
    if brought is not None:
        headers.append(("X-Access-Token", brought))
    answer = request(node.port, path, method=method, headers=headers, body=body)
    assert answer.status == 401


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
    own = ("X-Access-Token", token_of(base))
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
        recording(private, b"private") as recorder,
    ):
        right = private.info().traffic_token
        assert right
        for headers in (
            [],
            [("E2b-Traffic-Access-Token", "wrong")],
            [("E2b-Traffic-Access-Token", right[:-1])],
            [("X-Access-Token", token_of(private))],
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
    assert (answer.status, answer.body) == (200, OWN)
    assert second.heads() == []


def test_the_path_of_the_api_at_a_preview_is_the_sandboxs(node: Any, first: Recorder) -> None:
    for path in ("/v1/sandboxes", "/v1/keys", "//v1/keys", "/v1/../v1/health"):
        headers = [("Authorization", f"Bearer {node.api_key}")]
        answer = request(node.port, path, host=first.host, headers=headers)
        assert (answer.status, answer.body) == (200, OWN)


def test_an_absolute_target_must_agree_with_the_host(
    node: Any, first: Recorder, second: Recorder
) -> None:
    for target in (f"http://{second.host}/", "http://localhost/v1/health", "http://api.localhost/"):
        assert request(node.port, target, host=first.host).status == 400
    agreed = request(node.port, f"http://{first.host}/x", host=first.host)
    assert (agreed.status, agreed.body) == (200, OWN)
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
        "8100-{id}=", "8100-", "-{id}", "8100.{id}", "8100-{id}.evil", "8100-{id}-",
        "8100-{id}-a-b", "8100_{id}",
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
