"""What a key opens, and what it does not."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from wardian import Sandbox

Client = Callable[[str], httpx.Client]


@pytest.fixture
def client(node: Any) -> Iterator[Client]:
    """Plain HTTP with a key."""
    opened: list[httpx.Client] = []

    def make(key: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"}
        made = httpx.Client(base_url=node.url, headers=headers, timeout=30, trust_env=False)
        opened.append(made)
        return made

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def admin(node: Any, client: Client) -> httpx.Client:
    return client(node.api_key)


@pytest.fixture
def with_scopes(admin: httpx.Client, client: Client) -> Iterator[Callable[..., httpx.Client]]:
    """Makes a key of some scopes; it is deleted after the test."""
    made: list[str] = []

    def make(*scopes: str) -> httpx.Client:
        answer = admin.post("/v1/keys", json={"name": "t", "scopes": list(scopes)})
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["id"])
        return client(answer.json()["key"])

    yield make
    for key_id in made:
        admin.delete(f"/v1/keys/{key_id}")


def _insert(database: str, table: str, values: dict[str, Any]) -> None:
    with sqlite3.connect(database, timeout=30) as connection:
        columns, marks = ",".join(values), ",".join("?" * len(values))
        connection.execute(f"insert into {table} ({columns}) values ({marks})", [*values.values()])
    connection.close()


@pytest.fixture
def stranger(node: Any, client: Client) -> httpx.Client:
    """An admin key of another tenant, put where the store keeps its keys."""
    text = "e2b_" + secrets.token_hex(20)
    values = {
        "id": "key_" + secrets.token_hex(8), "tenant": "stranger", "name": "theirs",
        "scopes": '["admin"]', "hash": hashlib.sha256(text.encode()).hexdigest(),
        "created_at": int(time.time() * 1000),
    }  # fmt: skip
    _insert(f"{node.home}/control/wardian.db", "keys", values)
    return client(text)


_CALLS = {
    "list sandboxes": ("GET", "/v1/sandboxes", None),
    "get sandbox": ("GET", "/v1/sandboxes/{id}", None),
    "usage": ("GET", "/v1/sandboxes/{id}/usage", None),
    "node": ("GET", "/v1/node", None),
    "templates": ("GET", "/v1/templates", None),
    "create": ("POST", "/v1/sandboxes", {"template": "no-such-template"}),
    "update": ("PATCH", "/v1/sandboxes/{id}", {}),
    "kill": ("DELETE", "/v1/sandboxes/aaaaaaaaaaaaaaaaaaaa", None),
    "put template": ("PUT", "/v1/templates/x", None),
    "delete template": ("DELETE", "/v1/templates/no-such-template", None),
    "pull": ("POST", "/v1/templates/x/pull", {}),
    "make key": ("POST", "/v1/keys", {"nonsense": 1}),
    "list keys": ("GET", "/v1/keys", None),
    "delete key": ("DELETE", "/v1/keys/no-such-key", None),
}
_READS = {"list sandboxes", "get sandbox", "usage", "node", "templates"}
_GRANTED = {
    "read": _READS,
    "sandboxes": _READS | {"create", "update", "kill"},
    "templates": {"node", "templates", "put template", "delete template", "pull"},
    "admin": set(_CALLS),
}


@pytest.mark.parametrize("scope", _GRANTED)
def test_a_scope_opens_its_calls_and_no_other(
    base: Sandbox, with_scopes: Callable[..., httpx.Client], scope: str
) -> None:
    key = with_scopes(scope)
    opened: set[str] = set()
    for name, (method, path, body) in _CALLS.items():
        answer = key.request(method, path.format(id=base.id), json=body)
        if answer.status_code != 403:
            opened.add(name)
            assert answer.status_code < 500, (name, answer.text)
        else:
            assert answer.json()["error"]["code"] == "forbidden"
    assert opened == _GRANTED[scope]


def test_a_key_that_may_only_read_sees_no_token(
    base: Sandbox, with_scopes: Callable[..., httpx.Client]
) -> None:
    token = base.info().agent
    assert token is not None
    key = with_scopes("read")
    for path in (f"/v1/sandboxes/{base.id}", "/v1/sandboxes"):
        text = key.get(path).text
        assert base.id in text
        assert token.token not in text


def test_a_key_makes_none_stronger_than_itself(with_scopes: Callable[..., httpx.Client]) -> None:
    for scope in ("read", "sandboxes", "templates"):
        answer = with_scopes(scope).post("/v1/keys", json={"name": "t", "scopes": ["admin"]})
        assert answer.status_code == 403


def test_another_tenants_sandbox_is_not_there(base: Sandbox, stranger: httpx.Client) -> None:
    for method, path in (
        ("GET", f"/v1/sandboxes/{base.id}"),
        ("GET", f"/v1/sandboxes/{base.id}/usage"),
        ("PATCH", f"/v1/sandboxes/{base.id}"),
        ("DELETE", f"/v1/sandboxes/{base.id}"),
    ):
        answer = stranger.request(method, path, json={} if method == "PATCH" else None)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "sandbox_not_found")
    assert stranger.get("/v1/sandboxes").json()["sandboxes"] == []
    assert base.run("echo alive").stdout == "alive\n"


def test_names_and_idempotency_do_not_cross_tenants(
    admin: httpx.Client, stranger: httpx.Client
) -> None:
    name, once = f"t-{secrets.token_hex(6)}", secrets.token_hex(12)
    made = [
        client.post(
            "/v1/sandboxes",
            json={"template": "minimal", "name": name},
            headers={"Idempotency-Key": once},
        )
        for client in (admin, stranger)
    ]
    try:
        assert [answer.status_code for answer in made] == [201, 201]
        ids = [answer.json()["id"] for answer in made]
        assert ids[0] != ids[1]
        assert admin.get(f"/v1/sandboxes/{name}").json()["id"] == ids[0]
        assert stranger.get(f"/v1/sandboxes/{name}").json()["id"] == ids[1]
    finally:
        admin.delete(f"/v1/sandboxes/{name}")
        stranger.delete(f"/v1/sandboxes/{name}")


def test_another_tenants_keys_are_not_there(admin: httpx.Client, stranger: httpx.Client) -> None:
    theirs = {key["id"] for key in stranger.get("/v1/keys").json()["keys"]}
    ours = {key["id"] for key in admin.get("/v1/keys").json()["keys"]}
    assert theirs
    assert ours
    assert theirs.isdisjoint(ours)
    for key_id in ours:
        assert stranger.delete(f"/v1/keys/{key_id}").status_code == 404
    assert admin.get("/v1/keys").status_code == 200


def test_a_deleted_key_stops_at_once(admin: httpx.Client, client: Client) -> None:
    made = admin.post("/v1/keys", json={"name": "t", "scopes": ["read"]}).json()
    key = client(made["key"])
    # Used before, so that whatever the server remembers of it must be forgotten too.
    assert key.get("/v1/sandboxes").status_code == 200
    assert admin.delete(f"/v1/keys/{made['id']}").status_code == 204
    assert key.get("/v1/sandboxes").status_code == 401
    assert admin.delete(f"/v1/keys/{made['id']}").status_code == 404


def test_a_key_is_shown_once(admin: httpx.Client, node: Any) -> None:
    made = admin.post("/v1/keys", json={"name": "t", "scopes": ["read"]}).json()
    try:
        listed = admin.get("/v1/keys").text
        assert made["id"] in listed
        for secret in (made["key"], made["key"][4:], node.api_key):
            assert secret not in listed
            assert hashlib.sha256(secret.encode()).hexdigest() not in listed
    finally:
        admin.delete(f"/v1/keys/{made['id']}")


def test_two_keys_in_one_request_are_refused(admin: httpx.Client) -> None:
    answer = admin.get("/v1/sandboxes", headers={"X-API-Key": "e2b_" + "0" * 40})
    assert answer.status_code == 400
