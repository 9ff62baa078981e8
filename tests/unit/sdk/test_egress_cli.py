"""Rules and events as the command line writes them; what needs no server."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from wardian import Egress, EgressEvent, Header, Query, SigV4
from wardian.cli import _egress_options, cli
from wardian.cli._failures import Failure
from wardian.cli.egress import read_policy
from wardian.cli.egress_log import line

NOTHING: dict[str, Any] = {
    "headers": (),
    "queries": (),
    "basic": None,
    "sigv4": None,
    "handler": None,
    "parameters": (),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.example", ("a.example", None)),
        ("a.example:443", ("a.example", "443")),
        ("*:8000-8099", ("*", "8000-8099")),
        ("2001:db8::1", ("2001:db8::1", None)),
        ("[2001:db8::1]:22", ("2001:db8::1", "22")),
        ("[2001:db8::1]", ("2001:db8::1", None)),
    ],
)
def test_hosts_and_ports(text: str, expected: tuple[str, str | None]) -> None:
    assert _egress_options.target(text) == expected


@pytest.mark.parametrize("text", ["a.example:", "[::1", "[::1]22"])
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(click.BadParameter):
        _egress_options.target(text)


def test_a_rule_as_typed() -> None:
    rule = _egress_options.allow_rule(
        ("a.example:443", "b.example:443"),
        NOTHING
        | {
            "headers": ("Authorization=Bearer {TOKEN}",),
            "queries": ("key={KEY}",),
            "sigv4": "{ID}:{SECRET}",
            "methods": ("get", "HEAD"),
            "handler": "mine",
            "parameters": ("owner=me",),
        },
    )
    assert rule.hosts == ("a.example", "b.example") and rule.ports == ("443",)
    assert rule.methods == ("GET", "HEAD")
    assert rule.inject == (
        Header("Authorization", "Bearer {TOKEN}"),
        Query("key", "{KEY}"),
        SigV4("{ID}", "{SECRET}"),
    )
    assert rule.handler is not None and rule.handler.parameters == {"owner": "me"}


@pytest.mark.parametrize(
    "given",
    [
        {"headers": ("Authorization",)},
        {"basic": "nobody"},
        {"parameters": ("a=b",)},
    ],
)
def test_what_is_no_rule(given: dict[str, Any]) -> None:
    with pytest.raises(click.UsageError):
        _egress_options.allow_rule(("a.example",), NOTHING | given)


def test_hosts_of_different_ports_are_different_rules() -> None:
    with pytest.raises(click.UsageError, match="same ports"):
        _egress_options.allow_rule(("a.example:1", "b.example:2"), dict(NOTHING))


def test_policies_from_files(tmp_path: Path) -> None:
    policy = Egress("packages").allow("a.example", inject=Header("X", "{NAME}")).deny("*")
    (tmp_path / "p.json").write_text(json.dumps(policy.to_dict()))
    (tmp_path / "p.toml").write_text(
        'presets = ["packages"]\n'
        '[[rules]]\naction = "allow"\nhost = "a.example"\n'
        'inject = [{header = "X", value = "{NAME}"}]\n'
        '[[rules]]\naction = "deny"\nhost = "*"\n'
    )
    assert read_policy(str(tmp_path / "p.json")) == policy == read_policy(str(tmp_path / "p.toml"))
    assert read_policy("packages") == "packages"
    for name, content in (("x.json", "{"), ("y.json", "[]"), ("z.toml", "rules = 1\nwhat = 2")):
        (tmp_path / name).write_text(content)
        with pytest.raises(Failure):
            read_policy(str(tmp_path / name))


def test_an_event_is_one_line_that_steers_no_terminal() -> None:
    event = EgressEvent(
        time=datetime(2026, 1, 2, tzinfo=UTC),
        kind="request",
        verdict="denied",
        host="a.example",
        port=443,
        method="GET",
        path="/x\x1b[2J\ny",
        status=403,
        rule="no",
        reason="no_rule",
        secrets=["TOKEN"],
        sent=2048,
    )
    shown = click.unstyle(line(event))
    assert "\n" not in shown and "\x1b" not in shown
    for word in ("denied", "GET a.example:443/x", "403", "[no]", "secrets=TOKEN", "2.0 KiB out"):
        assert word in shown


@pytest.mark.parametrize(
    "words",
    [
        ("egress", "log", "box", "--denied", "--verdict", "failed"),
        ("egress", "explain", "box", "a.example"),
        ("egress", "explain", "box", "a.example:443", "--method", "GET"),
        ("egress", "remove", "box"),
        ("create", "--secret-env", "TOKEN=lower"),
        ("create", "--internet", "maybe"),
        ("secret", "set"),
        ("env", "box"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_asked(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody listens there: an attempt to ask would end with 1.
    monkeypatch.setenv("WARDIAN_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WARDIAN_API_KEY", "e2b_none")
    assert CliRunner().invoke(cli, words, prog_name="wardian").exit_code == 2


def test_a_value_is_never_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(cli, ("secret", "set", "NAME", "value"), prog_name="wardian")
    assert result.exit_code == 2 and "value" in result.stderr
