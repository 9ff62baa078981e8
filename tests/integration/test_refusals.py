"""What the API refuses: it names the reason and changes nothing."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from wardian import (
    AuthenticationError,
    Client,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Sandbox,
    TemplateNotFound,
    Unsupported,
)

from .conftest import Make


def test_an_unknown_template_class_and_sandbox_are_named(make: Make) -> None:
    with pytest.raises(TemplateNotFound, match="no-such-template"):
        make("no-such-template")
    with pytest.raises(Unsupported) as caught:
        make(isolation="gvisor")
    assert caught.value.code == "class_unsupported"
    for nothing in ("a" * 20, "no-such-name", "No Such Name!", "../../v1/keys", "x" * 3000):
        with pytest.raises((NotFound, InvalidRequest)):
            Sandbox.get(nothing)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Upper"},
        {"name": "-dash"},
        {"name": "a" * 64},
        {"name": ""},
        {"name": 7},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": 604_801},
        {"timeout": "soon"},
        {"template": None},
        {"class": ""},
        {"traffic": "secret"},
        {"surprise": 1},
        {"labels": {"bad key": "v"}},
        {"labels": {"k": "v" * 256}},
        {"labels": {str(number): "" for number in range(65)}},
        {"env": {"A=B": "x"}},
        {"env": {"A": "nul\0"}},
        {"env": {"": "x"}},
        {"limits": {"memory_mb": 1}},
        {"limits": {"memory_mb": 10**12}},
        {"limits": {"cpu": 0}},
        {"limits": {"cpu": -1}},
        {"limits": {"cpu": 1e308}},
        {"limits": {"disk_mb": 0}},
        {"limits": {"pids": 0}},
        {"limits": {"pids": 10**12}},
        {"limits": {"surprise": 1}},
        {"workdir": "relative"},
        {"workdir": "/nul\0"},
        {"user": "a:b"},
    ],
    ids=str,
)
def test_a_wrong_field_is_refused_and_makes_nothing(
    http: httpx.Client, unique: str, wrong: dict[str, Any]
) -> None:
    body: dict[str, Any] = {"template": "minimal", "labels": {"run": unique}}
    answer = http.post("/v1/sandboxes", json=body | wrong)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "invalid_request"
    assert answer.json()["error"]["message"]
    assert list(Sandbox.list(labels={"run": unique})) == []


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"null", b"\xff\xfe", b'{"template":"base"', b"1e999"]
)
def test_a_body_that_is_no_json_object_is_refused(http: httpx.Client, body: bytes) -> None:
    answer = http.post("/v1/sandboxes", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


def test_a_body_too_large_is_refused(http: httpx.Client) -> None:
    answer = http.post("/v1/sandboxes", json={"template": "base", "env": {"A": "x" * 2**21}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


def test_a_wrong_key_opens_nothing(node: Any) -> None:
    for key in ("wrong", f"e2b_{'0' * 40}"):
        with pytest.raises(AuthenticationError):
            Sandbox.create("minimal", api_key=key)
    answer = httpx.get(f"{node.url}/v1/sandboxes", trust_env=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    for open_to_all in ("/v1/health", "/v1/openapi.json"):
        assert httpx.get(f"{node.url}{open_to_all}", trust_env=False).status_code == 200


def test_a_new_key_works_until_it_is_deleted(node: Any) -> None:
    client = Client()
    made = client.create_key("test")
    assert made.key is not None
    with Sandbox.create("minimal", api_key=made.key) as sandbox:
        assert sandbox.run("echo hi").stdout == "hi\n"
    assert made.key not in repr([client.list_keys()])
    client.delete_key(made.id)
    with pytest.raises(AuthenticationError):
        Sandbox.create("minimal", api_key=made.key)


def test_a_key_does_what_its_scopes_say_and_no_more(node: Any) -> None:
    client = Client()
    made = client.create_key("sandboxes only", scopes=["sandboxes"])
    try:
        with Sandbox.create("minimal", api_key=made.key) as sandbox:
            assert sandbox.run("echo hi").stdout == "hi\n"
        with pytest.raises(PermissionDenied):
            Client(api_key=made.key).create_key("more")
    finally:
        client.delete_key(made.id)
