"""Keys, scopes, the node itself, and what the API says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from node_peers.node import Node, create

from wardian.server.api import native

REPOSITORY = Path(__file__).parents[3]


async def key_with(node: Node, *scopes: str) -> dict[str, str]:
    """Headers of a new key with these scopes."""
    response = await node.client.post("/v1/keys", json={"name": "k", "scopes": list(scopes)})
    assert response.status_code == 201, response.text
    return {"Authorization": f"Bearer {response.json()['key']}"}


async def test_a_key_is_shown_once_and_works_until_deleted(node: Node) -> None:
    made = (await node.client.post("/v1/keys", json={"name": "ci"})).json()
    assert made["scopes"] == ["sandboxes", "templates", "secrets", "read"]
    headers = {"X-API-Key": made["key"], "Authorization": ""}
    assert (await node.client.get("/v1/sandboxes", headers=headers)).status_code == 200
    listed = (await node.client.get("/v1/keys")).json()["keys"]
    assert [key["name"] for key in listed] == ["first", "ci"]
    assert not any("key" in key for key in listed)
    assert (await node.client.delete(f"/v1/keys/{made['id']}")).status_code == 204
    refused = await node.client.get("/v1/sandboxes", headers=headers)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    again = await node.client.delete(f"/v1/keys/{made['id']}")
    assert again.status_code == 404 and again.json()["error"]["code"] == "key_not_found"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic abc"},
        {"Authorization": "Bearer e2b_" + "0" * 40},
        {"Authorization": "Bearer e2b_" + "5" * 39},
        {"Authorization": "Bearer " + "5" * 40},
        {"Authorization": "Bearer E2B_" + "5" * 40},
    ],
)
async def test_without_a_known_key_nothing_works(node: Node, headers: dict[str, str]) -> None:
    for method, path in [
        ("GET", "/v1/sandboxes"),
        ("POST", "/v1/sandboxes"),
        ("GET", "/v1/keys"),
        ("GET", "/v1/node"),
        ("GET", "/v1/templates"),
        ("DELETE", "/v1/templates/base"),
    ]:
        response = await node.client.request(method, path, headers=headers)
        assert response.status_code == 401, (method, path)
        assert response.json()["error"]["code"] == "unauthorized"


async def test_every_call_needs_its_scope(node: Node) -> None:
    made = await create(node, traffic="private")
    one = f"/v1/sandboxes/{made['id']}"
    calls = {
        ("GET", one): {"admin", "sandboxes", "read"},
        ("GET", "/v1/sandboxes"): {"admin", "sandboxes", "read"},
        ("GET", one + "/usage"): {"admin", "sandboxes", "read"},
        ("PATCH", one): {"admin", "sandboxes"},
        ("GET", "/v1/templates"): {"admin", "sandboxes", "templates", "read"},
        ("DELETE", "/v1/templates/none"): {"admin", "templates"},
        ("PUT", "/v1/templates/new"): {"admin", "templates"},
        ("POST", "/v1/templates/new/pull"): {"admin", "templates"},
        ("GET", "/v1/keys"): {"admin"},
        ("POST", "/v1/keys"): {"admin"},
        ("DELETE", "/v1/keys/none"): {"admin"},
        ("GET", "/v1/node"): {"admin", "sandboxes", "templates", "read"},
    }
    for scope in ("admin", "sandboxes", "templates", "read"):
        headers = await key_with(node, scope)
        for (method, path), allowed in calls.items():
            response = await node.client.request(method, path, headers=headers)
            assert (response.status_code != 403) == (scope in allowed), (scope, method, path)
    # Who may only look does not get what opens the sandbox.
    seen = (await node.client.get(one, headers=await key_with(node, "read"))).json()
    assert seen["agent"]["token"] is None and seen["traffic_token"] is None
    assert seen["traffic"] == "private"


async def test_two_different_keys_are_ambiguous(node: Node) -> None:
    response = await node.client.get("/v1/node", headers={"X-API-Key": "e2b_" + "6" * 40})
    assert response.status_code == 400


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": "a", "scopes": []}, {"name": "a", "scopes": ["root"]}]
)
async def test_bad_keys_are_not_made(node: Node, body: dict[str, object]) -> None:
    response = await node.client.post("/v1/keys", json=body)
    assert response.status_code == 400
    assert len((await node.client.get("/v1/keys")).json()["keys"]) == 1


async def test_node_and_health(node: Node) -> None:
    await create(node)
    shown = (await node.client.get("/v1/node")).json()
    assert shown["cgroups"] == "v2" and shown["sandboxes"] == {"running": 1}
    assert shown["storage"]["bytes_total"] == 1000 and shown["edge_connected"] is True
    open_to_all = {"Authorization": ""}
    health = await node.client.get("/v1/health", headers=open_to_all)
    assert health.json() == {"status": "ok", "launcher": True, "edge": True}
    document = await node.client.get("/v1/openapi.json", headers=open_to_all)
    assert document.status_code == 200 and document.json()["openapi"] == "3.1.0"


async def test_paths_and_methods_that_are_not_there(node: Node) -> None:
    missing = await node.client.get("/v2/sandboxes")
    assert missing.status_code == 404 and missing.json()["error"]["code"] == "not_found"
    wrong = await node.client.put("/v1/sandboxes")
    assert wrong.status_code == 405
    assert wrong.json()["error"]["code"] == "method_not_allowed"
    assert missing.headers["x-request-id"] != wrong.headers["x-request-id"]


async def test_what_nobody_foresaw_is_an_internal_error(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr("wardian.server.keys.keyring.Keyring.list", broken)
    response = await node.client.get("/v1/keys")
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal"
    assert "secret" not in response.text
    assert response.headers["x-request-id"] in response.text


def test_the_committed_document_is_the_one_that_is_served() -> None:
    committed = json.loads((REPOSITORY / "docs" / "openapi.json").read_text())
    served = json.loads(native.document())
    # The version is that of the distribution, not of the API.
    committed["info"].pop("version")
    served["info"].pop("version")
    assert committed == served, "run: python -m wardian.server.api.openapi > docs/openapi.json"


def test_the_document_holds_together() -> None:
    served = json.loads(native.document())

    def references(value: object) -> set[str]:
        if isinstance(value, dict):
            found = {value["$ref"]} if "$ref" in value else set[str]()
            return found.union(*(references(inner) for inner in value.values()))
        if isinstance(value, list):
            return set[str]().union(*(references(inner) for inner in value))
        return set()

    schemas = served["components"]["schemas"]
    used = {reference.rpartition("/")[2] for reference in references(served)}
    assert used <= schemas.keys()
    names = [
        operation["operationId"]
        for path in served["paths"].values()
        for operation in path.values()
        if isinstance(operation, dict) and "operationId" in operation
    ]
    assert len(names) == len(set(names)) == len(native.OPERATIONS)
    create = schemas["CreateSandbox"]
    assert create["additionalProperties"] is False and "class" in create["properties"]
