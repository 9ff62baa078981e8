"""Egress over the API: what is kept, what the edge is told, and what is refused."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from node_peers.node import Node, configuration_for, create, eventually, rows

from wardian.server.configuration import PackageSources
from wardian.server.node import edge_messages, protocol
from wardian.server.node.egress_messages import Allow, Deny, HeaderInjection, Policy
from wardian.server.sandboxes.agents import Agents
from wardian.server.sandboxes.records import SandboxRecord

from .conftest import running_node
from .test_api_node import key_with

ALLOW = {"action": "allow", "host": "api.example", "ports": [443]}


def told(node: Node, sandbox: str) -> Policy:
    return node.edge.routes[sandbox].egress


def names(node: Node, sandbox: str) -> list[str]:
    return [rule.name for rule in told(node, sandbox).rules]


async def egress(node: Node, sandbox: str, **body: Any) -> httpx.Response:
    return await node.client.put(f"/v1/sandboxes/{sandbox}/egress", json=body)


async def secret(node: Node, name: str, value: str, **more: Any) -> httpx.Response:
    return await node.client.put(f"/v1/secrets/{name}", json={"value": value} | more)


def boot(node: Node) -> protocol.Boot:
    made = node.launcher.asked(protocol.Create)[-1]
    assert isinstance(made, protocol.Create)
    return made.boot


async def test_nothing_passes_unless_it_is_said(node: Node) -> None:
    made = await create(node)
    assert told(node, made["id"]) == Policy()
    assert boot(node).trust == ""
    shown = (await node.client.get(f"/v1/sandboxes/{made['id']}/egress")).json()
    assert shown == {"rules": [], "presets": [], "template": True, "effective": []}
    off = await create(node, egress="off")
    assert told(node, off["id"]) == Policy() and boot(node).trust == ""


async def test_a_sandbox_is_born_with_what_was_asked_for(node: Node) -> None:
    on = await create(node, egress="on")
    (rule,) = told(node, on["id"]).rules
    assert (rule.name, rule.hosts, rule.ports) == ("preset:on/all", ["*"], [])
    assert rule.action == Allow(None, [], [], None, redact=False)
    assert "BEGIN CERTIFICATE" in boot(node).trust and "PRIVATE" not in boot(node).trust
    own = await create(node, egress={"rules": [ALLOW], "presets": ["git-hosts"]})
    assert names(node, own["id"])[:2] == ["rule-1", "preset:git-hosts/github"]
    for body, code in (
        ({"egress": "none-such"}, "preset_not_found"),
        ({"egress": {"rules": [ALLOW | {"substitute": ["NONE"]}]}}, "secret_not_found"),
        ({"env": {"A": {"secret": "NONE"}}}, "secret_not_found"),
        ({"egress": {"rules": [{"action": "allow", "hosts": ["a b"]}]}}, "invalid_request"),
        ({"egress": "A B"}, "invalid_request"),
    ):
        refused = await node.client.post("/v1/sandboxes", json=body)
        assert refused.json()["error"]["code"] == code, refused.text
    assert len((await node.client.get("/v1/sandboxes")).json()["sandboxes"]) == 2


async def test_own_rules_come_first_then_presets_then_the_templates(node: Node) -> None:
    catalog = node.services.templates
    base = await catalog.get("base")
    made = await node.client.put(
        "/v1/templates/tpl",
        params={"egress": '{"rules":[{"name":"t","action":"allow","host":"t.example"}],'
                '"presets":["on","git-hosts"]}'},
        content=_tar(),
        headers={"Content-Type": "application/x-tar"},
    )  # fmt: skip
    assert made.status_code == 201, made.text
    assert made.json()["egress"]["presets"] == ["on", "git-hosts"] and base.egress is None
    sandbox = (await create(node, template="tpl"))["id"]
    assert names(node, sandbox)[:2] == ["template/t", "preset:on/all"]
    changed = await egress(node, sandbox, rules=[ALLOW], presets=["on"])
    origins = [rule["origin"] for rule in changed.json()["effective"]]
    assert origins[:3] == ["sandbox", "preset:on", "template"]
    assert origins.count("preset:on") == 1 and origins[-1] == "preset:git-hosts"
    assert names(node, sandbox) == [rule["name"] for rule in changed.json()["effective"]]
    await egress(node, sandbox, template=False)
    assert told(node, sandbox) == Policy()


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a"), io.BytesIO())
    return buffer.getvalue()


async def test_rules_are_added_replaced_and_taken_away(node: Node) -> None:
    sandbox = (await create(node, egress={"rules": [ALLOW | {"name": "b"}]}))["id"]
    path = f"/v1/sandboxes/{sandbox}/egress/rules"

    async def add(rule: dict[str, Any], position: str | None = None) -> list[str]:
        body = {"rule": rule} | ({"position": position} if position else {})
        response = await node.client.post(path, json=body)
        assert response.status_code == 200, response.text
        assert names(node, sandbox) == [each["name"] for each in response.json()["rules"]]
        return names(node, sandbox)

    assert await add(ALLOW | {"name": "c"}) == ["b", "c"]
    assert await add({"action": "deny", "name": "a"}, "first") == ["a", "b", "c"]
    assert await add({"action": "deny", "name": "b"}) == ["a", "b", "c"]
    assert told(node, sandbox).rules[1].action == Deny()
    assert await add({"action": "deny", "name": "a"}, "last") == ["b", "c", "a"]
    assert await add({"action": "deny"}) == ["b", "c", "a", "rule-1"]
    for name, status in (("c", 200), ("c", 404), ("none", 404)):
        gone = await node.client.delete(f"{path}/{name}")
        assert gone.status_code == status
    assert gone.json()["error"]["code"] == "rule_not_found"
    assert names(node, sandbox) == ["b", "a", "rule-1"]


async def test_only_admins_grant_what_is_not_public(node: Node) -> None:
    headers = await key_with(node, "sandboxes")
    made = await create(node, egress="on")
    path = f"/v1/sandboxes/{made['id']}/egress"
    for grant in (
        {"cidrs": ["10.0.0.0/8"]},
        {"cidrs": ["8.0.0.0/8", "::/0"]},
        {"host": "169.254.169.254"},
        {"host": "127.0.0.1"},
        {"host": "fd00::1"},
        {"host": "a.example", "connect_to": "b.example:443"},
        {"host": "a.example", "connect_to": "1.1.1.1:443"},
    ):
        rule = {"action": "allow"} | grant
        for method, where, body in (
            ("PUT", path, {"rules": [rule]}),
            ("POST", path + "/rules", {"rule": rule}),
            ("POST", "/v1/sandboxes", {"egress": {"rules": [rule]}}),
        ):
            refused = await node.client.request(method, where, json=body, headers=headers)
            assert refused.status_code == 403, (grant, method)
            assert refused.json()["error"]["code"] == "private_destination"
        as_admin = await node.client.put(path, json={"rules": [rule]})
        assert as_admin.status_code == 200, as_admin.text
    for harmless in (
        {"cidrs": ["1.1.1.0/24", "2606:4700::/32"]},
        {"host": "1.1.1.1"},
        {"action": "deny", "cidrs": ["10.0.0.0/8"], "host": "127.0.0.1"},
    ):
        body = {"rules": [{"action": "allow"} | harmless]}
        taken = await node.client.put(path, json=body, headers=headers)
        assert taken.status_code == 200, taken.text


async def test_values_of_secrets_reach_the_edge_and_nobody_else(node: Node) -> None:
    assert (await secret(node, "TOKEN", "s3cret-value")).status_code == 201
    inject = [{"header": "Authorization", "value": "Bearer {TOKEN}"}]
    made = await create(node, egress={"rules": [ALLOW | {"inject": inject}]})
    (rule,) = told(node, made["id"]).rules
    assert isinstance(rule.action, Allow)
    (header,) = rule.action.inject
    assert isinstance(header, HeaderInjection)
    assert (header.name, header.value) == ("Authorization", "Bearer s3cret-value")
    assert [each.name for each in header.secrets] == ["TOKEN"]
    shown = await node.client.get(f"/v1/sandboxes/{made['id']}/egress")
    assert shown.json()["rules"][0]["inject"] == inject
    assert b"s3cret-value" not in msgspec.json.encode(node.launcher.requests)
    assert "s3cret-value" not in repr(rows(node.configuration, "SELECT * FROM sandboxes"))
    assert "s3cret-value" not in repr(rows(node.configuration, "SELECT * FROM secrets"))


async def test_a_sandbox_holds_a_placeholder(node: Node) -> None:
    await secret(node, "TOKEN", "s3cret-value")
    made = await create(
        node, env={"KEY": {"secret": "TOKEN"}, "PLAIN": "x", "AGAIN": {"secret": "TOKEN"}}
    )
    held = boot(node).env["KEY"]
    assert held.startswith("wardian_TOKEN_") and len(held) == len("wardian_TOKEN_") + 22
    assert boot(node).env["AGAIN"] == held and boot(node).env["PLAIN"] == "x"
    (placeholder,) = told(node, made["id"]).placeholders
    assert (placeholder.name, placeholder.text) == ("TOKEN", held)
    assert placeholder.value == "s3cret-value"
    path = f"/v1/sandboxes/{made['id']}/placeholders"
    asked = await node.client.post(path, json={"secret": "TOKEN"})
    assert asked.json() == {"placeholder": held}
    await secret(node, "OTHER", "v")
    other = (await node.client.post(path, json={"secret": "OTHER"})).json()["placeholder"]
    assert {each.text for each in told(node, made["id"]).placeholders} == {held, other}
    assert (await node.client.post(path, json={"secret": "NONE"})).status_code == 404
    assert held not in repr(rows(node.configuration, "SELECT * FROM sandboxes"))
    elsewhere = await create(node, env={"KEY": {"secret": "TOKEN"}})
    assert told(node, elsewhere["id"]).placeholders[0].text != held


async def test_a_rule_that_substitutes_makes_its_placeholder(node: Node) -> None:
    await secret(node, "TOKEN", "v")
    sandbox = (await create(node, egress={"rules": [ALLOW | {"substitute": ["TOKEN"]}]}))["id"]
    (placeholder,) = told(node, sandbox).placeholders
    await egress(node, sandbox, rules=[ALLOW | {"path": "/v1/*", "substitute": ["TOKEN"]}])
    assert told(node, sandbox).placeholders == [placeholder]
    await egress(node, sandbox)
    # Still held inside: where it turns up is told.
    assert told(node, sandbox).placeholders == [placeholder]


async def test_packages_come_with_the_variables_of_this_node(tmp_path: Path) -> None:
    sources = PackageSources(
        hosts=["mirror.example", "other.example:8443"],
        env={"PIP_INDEX_URL": "https://mirror.example/simple", "LANG": "x"},
    )
    configuration = msgspec.structs.replace(configuration_for(tmp_path), packages=sources)
    async with running_node(configuration) as node:
        made = await create(node, egress="packages", env={"A": "b"})
        env = boot(node).env
        assert env["PIP_INDEX_URL"] == "https://mirror.example/simple"
        assert (env["LANG"], env["A"]) == ("C.UTF-8", "b")
        rules = {rule.name: rule for rule in told(node, made["id"]).rules}
        # The node's own decide, also where they name a public registry.
        assert next(iter(rules)) == "preset:packages/node"
        assert rules["preset:packages/node"].hosts == ["mirror.example"]
        assert rules["preset:packages/node-8443"].hosts == ["other.example"]
        assert rules["preset:packages/node-8443"].ports == ["8443"]
        assert "pypi.org" in rules["preset:packages/pypi"].hosts
        presets = (await node.client.get("/v1/egress/presets")).json()["presets"]
        assert [each["name"] for each in presets] == ["off", "on", "packages", "git-hosts"]


async def test_a_restart_puts_all_of_it_in_force_again(tmp_path: Path) -> None:
    configuration = configuration_for(tmp_path)
    async with running_node(configuration) as node:
        await secret(node, "TOKEN", "v")
        made = await create(
            node, egress={"rules": [ALLOW | {"substitute": ["TOKEN"]}], "presets": ["on"]}
        )
        before = told(node, made["id"])
        settings = _settings(node)
        kept = node.launcher.sandboxes
    async with running_node(configuration, kept) as node:
        assert told(node, made["id"]) == before
        # The same authority: sandboxes that live on trust it.
        assert _settings(node) == settings


def _settings(node: Node) -> Any:
    (sync,) = [each for each in node.edge.messages if isinstance(each, edge_messages.Sync)]
    assert "BEGIN CERTIFICATE" in sync.egress.authority_certificate
    assert "PRIVATE KEY" in sync.egress.authority_key
    return sync.egress


async def test_what_would_happen_is_asked_of_the_edge(node: Node) -> None:
    sandbox = (await create(node, egress={"rules": [ALLOW | {"name": "api"}]}))["id"]
    path = f"/v1/sandboxes/{sandbox}/egress/explain"
    yes = await node.client.post(path, json={"url": "https://API.example/v1?x=1"})
    assert (yes.json()["allowed"], yes.json()["rule"], yes.json()["index"]) == (True, "api", 0)
    question = _asked(node)
    assert (question.host, question.port) == ("api.example", 443)
    assert (question.method, question.path) == ("GET", "/v1")
    no = await node.client.post(path, json={"host": "other.example", "port": 443})
    assert (no.json()["allowed"], no.json()["rule"]) == (False, None)
    other = await node.client.post(path, json={"host": "other.example", "port": 22, "egress": "on"})
    assert other.json()["rule"] == "preset:on/all"
    assert names(node, sandbox) == ["api"]
    for body in (
        {},
        {"host": "a"},
        {"url": "https://a.example", "host": "a", "port": 1},
        {"url": "ftp://a.example"},
        {"url": "https://a b/"},
        {"url": "https://user@a.example/"},
        {"host": "a b", "port": 1},
        {"host": "a", "port": 1, "method": "GET"},
        {"url": "https://a.example", "method": "CONNECT"},
        {"url": "https://a.example:99999/"},
    ):
        refused = await node.client.post(path, json=body)
        assert refused.status_code == 400, body
    await node.edge.stop()
    await _gone(node)
    gone = await node.client.post(path, json={"host": "a", "port": 1})
    assert (gone.status_code, gone.json()["error"]["code"]) == (503, "unavailable")


async def _gone(node: Node) -> None:
    await eventually(lambda: not node.services.edge.connected)


def _asked(node: Node) -> Any:
    return [each for each in node.edge.messages if isinstance(each, edge_messages.Explain)][
        -1
    ].question


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/egress", {}),
        ("POST", "/egress/rules", {"rule": ALLOW}),
        ("DELETE", "/egress/rules/rule-1", None),
        ("POST", "/egress/explain", {"host": "a", "port": 1}),
        ("POST", "/placeholders", {"secret": "TOKEN"}),
    ],
)
async def test_one_that_has_ended_is_left_alone(
    node: Node, method: str, path: str, body: dict[str, Any] | None
) -> None:
    await secret(node, "TOKEN", "v")
    made = await create(node, egress={"rules": [ALLOW]})
    await node.client.delete(f"/v1/sandboxes/{made['id']}")
    response = await node.client.request(method, f"/v1/sandboxes/{made['id']}{path}", json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (409, "sandbox_ended")
    shown = await node.client.get(f"/v1/sandboxes/{made['id']}/egress")
    assert [rule["name"] for rule in shown.json()["effective"]] == ["rule-1"]


async def test_who_may_only_look_sees_no_strings_of_injections(node: Node) -> None:
    given = [
        {"header": "A", "value": "literal-1"},
        {"query": "q", "value": "literal-2"},
        {"basic": {"username": "literal-3", "password": "literal-4"}},
        {"sigv4": {"access_key": "literal-5", "secret_key": "literal-6", "region": "eu"}},
    ]
    rule = ALLOW | {"inject": given}
    sandbox = (await create(node, egress={"rules": [rule]}))["id"]
    path = f"/v1/sandboxes/{sandbox}/egress"
    shown = await node.client.get(path, headers=await key_with(node, "read"))
    assert shown.status_code == 200 and "literal" not in shown.text
    assert [list(each) for each in shown.json()["rules"][0]["inject"]] == [
        list(each) for each in given
    ]
    whole = await node.client.get(path, headers=await key_with(node, "sandboxes"))
    assert whole.json()["rules"][0]["inject"] == given
    made = await node.client.put(
        "/v1/templates/tpl",
        params={"egress": json.dumps({"rules": [rule]})},
        content=_tar(),
        headers={"Content-Type": "application/x-tar"},
    )
    assert made.json()["egress"]["rules"][0]["inject"] == given
    for path in ("/v1/templates/tpl", "/v1/templates"):
        shown = await node.client.get(path, headers=await key_with(node, "read"))
        assert shown.status_code == 200 and "literal" not in shown.text


@pytest.mark.parametrize(
    ("text", "scope", "code"),
    [
        ("none", "templates", "preset_not_found"),
        ('"none"', "templates", "preset_not_found"),
        ("{", "templates", "invalid_request"),
        ('{"rules": [{"action": "allow", "host": "a b"}]}', "templates", "invalid_request"),
        (
            '{"rules": [{"action": "allow", "cidrs": ["10.0.0.0/8"]}]}',
            "templates",
            "private_destination",
        ),
    ],
)
async def test_templates_with_bad_defaults_are_not_made(
    node: Node, text: str, scope: str, code: str
) -> None:
    refused = await node.client.put(
        "/v1/templates/tpl",
        params={"egress": text},
        content=_tar(),
        headers={"Content-Type": "application/x-tar"} | await key_with(node, scope),
    )
    assert refused.json()["error"]["code"] == code
    assert (await node.client.get("/v1/templates/tpl")).status_code == 404


async def test_a_changed_preset_brings_its_variables_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = PackageSources(env={"PIP_INDEX_URL": "https://mirror.example/", "LANG": "x"})
    configuration = msgspec.structs.replace(configuration_for(tmp_path), packages=sources)
    told: list[dict[str, str | None]] = []

    async def change_env(_self: Agents, _record: object, changes: dict[str, str | None]) -> None:
        told.append(dict(changes))

    # There is no agent here; what it is told is what counts.
    monkeypatch.setattr(Agents, "change_env", change_env)
    async with running_node(configuration) as node:
        sandbox = (await create(node, egress="on"))["id"]
        await egress(node, sandbox, presets=["on", "packages"])
        assert told == [{"PIP_INDEX_URL": "https://mirror.example/"}]
        taken = await node.client.patch(
            f"/v1/sandboxes/{sandbox}", json={"env": {"PIP_INDEX_URL": None}}
        )
        assert taken.status_code == 200
        await egress(node, sandbox, rules=[ALLOW], presets=["on", "packages"])
        # Who has taken it away does not get it back.
        assert len(told) == 2


async def test_an_agent_that_can_not_be_told_leaves_all_as_it_was(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await secret(node, "TOKEN", "v")
    sandbox = (await create(node))["id"]
    rule = ALLOW | {"substitute": ["TOKEN"]}
    # No agent answers in these tests.
    refused = await egress(node, sandbox, rules=[rule])
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
    assert told(node, sandbox) == Policy()
    shown = (await node.client.get(f"/v1/sandboxes/{sandbox}/egress")).json()
    assert shown["rules"] == []
    assert (await node.client.delete("/v1/secrets/TOKEN")).status_code == 204
    trusted: list[str] = []

    async def trust(_self: Agents, record: SandboxRecord, certificates: str) -> None:
        trusted.append(record.id)
        assert "BEGIN CERTIFICATE" in certificates and "PRIVATE" not in certificates

    monkeypatch.setattr(Agents, "trust", trust)
    assert (await egress(node, sandbox, rules=[{"action": "deny"}])).status_code == 200
    assert trusted == []
    for _ in range(2):
        assert (await egress(node, sandbox, rules=[ALLOW])).status_code == 200
    assert trusted == [sandbox]


async def test_the_same_on_postgresql(postgres_node: Node) -> None:
    node = postgres_node
    await secret(node, "TOKEN", "v")
    inject = [{"header": "A", "value": "{TOKEN}"}]
    made = await create(node, egress={"rules": [ALLOW | {"inject": inject}]})
    (rule,) = told(node, made["id"]).rules
    assert isinstance(rule.action, Allow) and rule.action.inject
    assert (await egress(node, made["id"], presets=["on"])).status_code == 200
    assert names(node, made["id"]) == ["preset:on/all"]
    assert (await node.client.post("/v1/secrets/rotate-key")).json() == {"secrets": 3}
    shown = await node.client.get(f"/v1/sandboxes/{made['id']}/egress")
    assert shown.json()["presets"] == ["on"]
