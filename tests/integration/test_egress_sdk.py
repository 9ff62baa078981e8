"""Egress and secrets through SDK and command line on a real node, as far as nothing is sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wardian import (
    AsyncSandbox,
    AsyncSecrets,
    Client,
    Egress,
    Header,
    PermissionDenied,
    PresetNotFound,
    PrivateDestination,
    RuleNotFound,
    Sandbox,
    Secret,
    SecretHostMismatch,
    SecretInUse,
    SecretNotFound,
    Secrets,
    secrets,
)

from .conftest import Make
from .waiting import until

VALUE = "s3cret-value-of-the-sdk-test"


@pytest.fixture
def name(node: Any, unique: str) -> Iterator[str]:
    """A secret of this test alone."""
    name = unique.upper().replace("-", "_")
    Secrets().set(name, VALUE)
    yield name
    until(lambda: forgotten(name), "the secret to be free")


def forgotten(name: str) -> bool:
    """Whether the secret is gone now; a sandbox that has just ended may hold it for a moment."""
    try:
        Secrets().delete(name)
    except SecretNotFound:
        return True
    except SecretInUse:
        return False
    return True


def program(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The command line, as a process of its own."""
    command = [sys.executable, "-m", "wardian.cli", *words]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, env=os.environ)


def test_secrets_go_in_and_do_not_come_out(node: Any, unique: str) -> None:
    name = unique.upper().replace("-", "_")
    made = secrets.set(name, VALUE, hosts="api.example")
    assert made.name == name and made.hosts == ["api.example"]
    again = secrets.set(name, VALUE + "2", hosts=["api.example", "*.api.example"])
    assert again.created_at == made.created_at
    assert again in secrets.list()
    assert VALUE not in repr(secrets.list())
    secrets.delete(name)
    with pytest.raises(SecretNotFound):
        secrets.delete(name)
    with pytest.raises(ValueError):
        secrets.set("lower", VALUE)


def test_a_policy_through_its_life(make: Make, name: str) -> None:
    sandbox = make(
        egress=Egress("packages").allow("api.example", inject=Header("X", f"{{{name}}}"))
    )
    policy = sandbox.egress.get()
    assert policy.own.presets == ("packages",)
    assert policy.effective[0].origin == "sandbox" and policy.effective[0].inject
    sandbox.egress.deny("api.example", path="/admin/**", name="no-admin", position="first")
    assert [rule.name for rule in sandbox.egress.get().own.rules] == ["no-admin", "rule-1"]
    sandbox.egress.allow("b.example", name="b")
    assert [rule.name for rule in sandbox.egress.allow("c.example", name="b").own.rules] == [
        "no-admin",
        "rule-1",
        "b",
    ]
    url = "https://api.example/admin/x"
    assert sandbox.egress.explain(url).rule == "no-admin"
    assert sandbox.egress.explain("https://api.example/", method="POST").secrets == [name]
    assert not sandbox.egress.explain(host="a.example", port=5432).allowed
    assert sandbox.egress.explain(host="a.example", port=5432, egress="on").allowed
    with pytest.raises(ValueError):
        sandbox.egress.explain(url, host="a.example")
    with pytest.raises(SecretInUse):
        Secrets().delete(name)
    sandbox.egress.remove("rule-1")
    with pytest.raises(RuleNotFound):
        sandbox.egress.remove("rule-1")
    Secrets().delete(name)
    assert sandbox.egress.set("off").effective == ()
    assert sandbox.egress.set("on").effective[0].hosts == ("*",)
    kept = sandbox.egress.get().own
    assert sandbox.egress.set(kept).own == kept


def test_internet_is_one_word(make: Make) -> None:
    assert make(internet="on").egress.explain(host="a.example", port=1).allowed
    assert not make(internet=False).egress.explain(host="a.example", port=1).allowed
    assert not make().egress.explain(host="a.example", port=1).allowed


def test_refusals_have_types(make: Make, name: str) -> None:
    for egress, kind in (
        ("nothing-known", PresetNotFound),
        (Egress().allow("a.example", substitute="NO_SUCH_SECRET"), SecretNotFound),
    ):
        with pytest.raises(kind):
            Sandbox.create("minimal", egress=egress)
    with pytest.raises(SecretNotFound):
        Sandbox.create("minimal", env={"A": Secret("NO_SUCH_SECRET")})
    Secrets().set(name, VALUE, hosts="only.example")
    sandbox = make()
    with pytest.raises(SecretHostMismatch):
        sandbox.egress.allow("a.example", substitute=name)
    key = Client().create_key("no admin")
    try:
        with pytest.raises(PrivateDestination):
            Sandbox.get(sandbox.id, api_key=key.key).egress.allow(cidrs="10.0.0.0/8")
    finally:
        Client().delete_key(key.id)
    key = Client().create_key("no secrets", ["sandboxes"])
    try:
        with pytest.raises(PermissionDenied):
            Secrets(api_key=key.key).list()
    finally:
        Client().delete_key(key.id)


def test_commands_hold_placeholders(node: Any, name: str) -> None:
    with Sandbox.create("base", env={"FIRST": Secret(name)}) as sandbox:
        placeholder = sandbox.run("echo $FIRST").stdout.strip()
        assert placeholder and VALUE not in placeholder
        variables = {"TOKEN": Secret(name), "PLAIN": "x"}
        seen = f"{placeholder} x"
        assert sandbox.run("echo $TOKEN $PLAIN", env=variables).stdout.strip() == seen
        assert sandbox.spawn("echo $TOKEN $PLAIN", env=variables).wait().stdout.strip() == seen
        with sandbox.session(env=variables) as session:
            assert session.run("echo $TOKEN $PLAIN").stdout.strip() == seen
            assert session.run("echo $T", env={"T": Secret(name)}).stdout.strip() == placeholder
        process = sandbox.start("echo $TOKEN $PLAIN", env=variables)
        process.wait_for_exit(60)
        assert process.log().text.strip() == seen
        with sandbox.terminal(argv=["sh", "-c", "echo $TOKEN"], env=variables) as terminal:
            shown = b"".join(terminal)
        assert placeholder.encode() in shown
        sandbox.update(env={"LATER": Secret(name)})
        assert sandbox.run("echo $LATER").stdout.strip() == placeholder
        with pytest.raises(SecretNotFound):
            sandbox.run("true", env={"A": Secret("NO_SUCH_SECRET")})


async def test_the_same_for_asyncio(node: Any, unique: str, tmp_path: Path) -> None:
    name = unique.upper().replace("-", "_")
    await AsyncSecrets().set(name, VALUE)
    rule = Egress().allow("api.example", substitute=name)
    async with await AsyncSandbox.create("minimal", egress=rule) as sandbox:
        assert (await sandbox.egress.explain("https://api.example/")).secrets == [name]
        run = await sandbox.run("echo $T", env={"T": Secret(name)})
        assert name in run.stdout and VALUE not in run.stdout
        assert [event async for event in sandbox.egress.events(verdict="allowed")] == []
        assert await sandbox.egress.export(tmp_path / "events") == 0
        assert (tmp_path / "events").read_bytes() == b""
    until(lambda: forgotten(name), "the secret to be free")


def test_a_stream_of_events_ends_with_its_sandbox(make: Make) -> None:
    sandbox = make()
    with sandbox.egress.follow() as events:
        sandbox.kill()
        assert list(events) == []


def test_from_the_command_line(node: Any, unique: str, tmp_path: Path) -> None:
    name = unique.upper().replace("-", "_")
    assert (
        program("secret", "set", name, "--host", "api.example", stdin=VALUE + "\n").returncode == 0
    )
    assert program("secret", "set", name, stdin="").returncode == 1
    listed = program("secret", "ls", "--json")
    assert name in listed.stdout and VALUE not in listed.stdout
    made = program("create", "minimal", "--egress", "packages", "--secret-env", f"TOKEN={name}")
    box = made.stdout.strip()
    try:
        assert made.returncode == 0, made.stderr
        header = f"Authorization=Bearer {{{name}}}"
        allowed = program("egress", "allow", box, "api.example:443", "--name", "api",
                          "--inject-header", header, "--json")  # fmt: skip
        assert json.loads(allowed.stdout)["effective"][0]["inject"][0]["header"] == "Authorization"
        assert "api.example:443" in program("egress", "show", box).stdout
        explained = program("egress", "explain", box, "https://api.example/")
        assert explained.returncode == 0 and name in explained.stdout
        assert program("egress", "deny", box, "api.example", "--name", "no").returncode == 0
        assert program("egress", "explain", box, "https://api.example/").returncode == 3
        assert program("egress", "remove", box, "no", "api").returncode == 0
        policy = tmp_path / "policy.toml"
        policy.write_text('[[rules]]\naction = "allow"\nhost = "b.example"\n')
        assert "b.example" in program("egress", "set", box, str(policy)).stdout
        assert program("egress", "set", box, "-", stdin='{"presets": ["on"]}').returncode == 0
        assert program("egress", "explain", box, "b.example:22", "--policy", "off").returncode == 3
        shown = program("exec", "--secret-env", name, box, "--", "sh", "-c", f"echo $TOKEN ${name}")
        first, second = shown.stdout.split()
        assert first == second and VALUE not in first
        assert program("egress", "log", box).returncode == 0
        assert "git-hosts" in program("egress", "presets").stdout
        assert program("env", box, "--secret-env", f"X={name}").returncode == 0
        refused = program("secret", "rm", name)
        assert refused.returncode == 1 and box in refused.stderr
    finally:
        program("kill", box)
    until(lambda: program("secret", "rm", name).returncode == 0, "the secret to be free")


@pytest.mark.parametrize("guide", ["egress", "secrets"])
def test_what_the_guide_says(node: Any, guide: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / f"docs/guides/{guide}.md").read_text()
    blocks = [part.partition("```")[0] for part in text.split("```python\n")[1:]]
    assert blocks
    for block in blocks:
        exec(block, {})
    shown = capsys.readouterr().out
    if guide == "egress":
        assert shown.startswith("True\n")
    else:
        assert shown.startswith("['EXAMPLE_TOKEN']\nwardian_EXAMPLE_TOKEN_")
        until(lambda: forgotten("EXAMPLE_TOKEN"), "the secret to be free")
