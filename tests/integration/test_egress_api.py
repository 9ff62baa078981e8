"""Egress on a real node as far as no traffic is needed: what the API says, what a sandbox holds,
and what is still so after each part was killed.
"""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import httpx
import pytest

from wardian import Sandbox

from .conftest import Make
from .host import part_of
from .waiting import until

VALUE = "s3cret-value-of-this-test"
RULE = {"name": "api", "action": "allow", "host": "api.example", "ports": [443]}


@pytest.fixture
def secret(http: httpx.Client, unique: str) -> Any:
    """A secret of this test alone, by name."""
    name = unique.upper().replace("-", "_")
    made = http.put(f"/v1/secrets/{name}", json={"value": VALUE})
    assert made.status_code == 201, made.text
    yield name
    until(lambda: http.delete(f"/v1/secrets/{name}").status_code == 204, "the secret to be free")


def _create(http: httpx.Client, **body: Any) -> dict[str, Any]:
    response = http.post("/v1/sandboxes", json={"template": "minimal"} | body)
    assert response.status_code == 201, response.text
    return response.json()


def _kill(node: Any, part: str) -> None:
    victim = part_of(node.supervisor, part)
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: part_of(node.supervisor, part).pid != victim.pid, f"another {part}")


def test_a_sandbox_holds_placeholders_and_never_a_value(
    node: Any, http: httpx.Client, secret: str
) -> None:
    made = _create(
        http,
        env={"API_KEY": {"secret": secret}},
        egress={"rules": [RULE | {"substitute": [secret]}]},
    )
    try:
        path = f"/v1/sandboxes/{made['id']}"
        asked = http.post(f"{path}/placeholders", json={"secret": secret}).json()
        sandbox = Sandbox.get(made["id"])
        seen = sandbox.run("echo $API_KEY").stdout.strip()
        assert seen == asked["placeholder"] and seen.startswith(f"wardian_{secret}_")
        # Another variable of the same secret holds the same.
        changed = http.patch(path, json={"env": {"MORE": {"secret": secret}}})
        assert changed.status_code == 200, changed.text
        assert sandbox.run("echo $MORE").stdout.strip() == seen
        found = sandbox.run(f"grep -rl {VALUE} /proc/self/environ /etc /run /tmp 2>/dev/null || :")
        assert found.stdout == ""
        refused = http.delete(f"/v1/secrets/{secret}")
        assert refused.json()["error"]["code"] == "secret_in_use"
        assert VALUE.encode() not in node.log()
    finally:
        http.delete(f"/v1/sandboxes/{made['id']}")


def test_a_policy_is_changed_while_its_sandbox_runs(http: httpx.Client) -> None:
    made = _create(http, egress={"rules": [RULE]})
    path = f"/v1/sandboxes/{made['id']}/egress"
    try:
        added = http.post(
            f"{path}/rules",
            json={"rule": {"name": "no", "action": "deny", "host": "*"}, "position": "first"},
        )
        assert [each["name"] for each in added.json()["effective"]] == ["no", "api"]
        assert http.delete(f"{path}/rules/no").status_code == 200
        replaced = http.put(path, json={"presets": ["git-hosts"]})
        assert replaced.json()["effective"][0]["origin"] == "preset:git-hosts"
        assert http.get(path).json() == replaced.json()
    finally:
        http.delete(f"/v1/sandboxes/{made['id']}")


def test_one_that_reached_nothing_may_be_let_out_later(http: httpx.Client, make: Make) -> None:
    sandbox = make("base")
    before = sandbox.run("cat /etc/ssl/certs/ca-certificates.crt").stdout
    let_out = http.put(f"/v1/sandboxes/{sandbox.id}/egress", json={"presets": ["on"]})
    assert let_out.status_code == 200, let_out.text
    after = sandbox.run("cat /etc/ssl/certs/ca-certificates.crt").stdout
    assert after.count("BEGIN CERTIFICATE") > before.count("BEGIN CERTIFICATE")


@pytest.mark.parametrize("part", ["control", "edge"])
def test_what_was_said_holds_when_a_part_was_killed(
    node: Any, http: httpx.Client, secret: str, part: str
) -> None:
    inject = [{"header": "Authorization", "value": f"Bearer {{{secret}}}"}]
    made = _create(http, egress={"rules": [RULE | {"inject": inject}]})
    path = f"/v1/sandboxes/{made['id']}/egress"
    try:
        before = http.get(path).json()
        _kill(node, part)
        until(lambda: http.get("/v1/health").json()["status"] == "ok", "the node to be whole")
        assert http.get(path).json() == before
        # The edge that is there now has the policy: it is asked, not the control plane.
        url = {"url": "https://api.example/v1"}
        said = until(
            lambda: http.post(f"{path}/explain", json=url).json().get("rule"), "an explanation"
        )
        assert said == "api"
        whole = http.post(f"{path}/explain", json=url).json()
        assert (whole["allowed"], whole["opened"], whole["secrets"]) == (True, True, [secret])
        other = http.post(f"{path}/explain", json={"host": "other.example", "port": 443}).json()
        assert (other["allowed"], other["rule"]) == (False, None)
    finally:
        http.delete(f"/v1/sandboxes/{made['id']}")


def test_a_new_key_seals_everything_and_nothing_is_lost(
    node: Any, http: httpx.Client, secret: str
) -> None:
    made = _create(http, env={"API_KEY": {"secret": secret}})
    try:
        key = node.home / "control" / "secret.key"
        before = key.read_bytes()
        rotated = http.post("/v1/secrets/rotate-key")
        assert rotated.status_code == 200 and rotated.json()["secrets"] >= 3
        assert key.read_bytes() != before
        _kill(node, "control")
        until(lambda: http.get("/v1/health").json()["status"] == "ok", "the node to be whole")
        path = f"/v1/sandboxes/{made['id']}/placeholders"
        asked = http.post(path, json={"secret": secret}).json()["placeholder"]
        assert Sandbox.get(made["id"]).run("echo $API_KEY").stdout.strip() == asked
    finally:
        http.delete(f"/v1/sandboxes/{made['id']}")


def test_presets_and_refusals(http: httpx.Client, make: Make) -> None:
    presets = {each["name"]: each for each in http.get("/v1/egress/presets").json()["presets"]}
    assert {"off", "on", "packages", "git-hosts"} <= presets.keys()
    sandbox = make()
    for body, status, code in (
        ({"presets": ["none"]}, 404, "preset_not_found"),
        ({"rules": [RULE | {"substitute": ["NONE_SUCH"]}]}, 404, "secret_not_found"),
        ({"rules": [RULE | {"ports": [0]}]}, 400, "invalid_request"),
    ):
        refused = http.put(f"/v1/sandboxes/{sandbox.id}/egress", json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
    events = http.get(f"/v1/sandboxes/{sandbox.id}/egress/events").json()
    assert (events["events"], events["next_cursor"]) == ([], None)


def test_a_refused_name_is_told(http: httpx.Client, make: Make) -> None:
    sandbox = make(egress="git-hosts")
    path = f"/v1/sandboxes/{sandbox.id}/egress/events"
    with http.stream("GET", path, headers={"Accept": "text/event-stream"}) as live:
        lines = live.iter_lines()
        assert next(lines) == ": following"
        sandbox.run("nslookup blocked.example")
        data = next(line for line in lines if line.startswith("data: "))
    followed = json.loads(data.removeprefix("data: "))
    assert (followed["kind"], followed["verdict"]) == ("name", "denied")
    assert (followed["host"], followed["reason"]) == ("blocked.example", "no_rule")
    listed = http.get(path, params={"host": "blocked.example"}).json()["events"]
    assert followed in listed
    exported = http.get(path, headers={"Accept": "application/x-ndjson"}).text.splitlines()
    assert followed in [json.loads(line) for line in exported]
