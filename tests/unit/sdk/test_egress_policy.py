"""Policies as callers write them."""

from __future__ import annotations

import pytest

from wardian import (
    Basic,
    Egress,
    EgressRule,
    Handler,
    Header,
    ProtocolError,
    Query,
    Secret,
    SigV4,
)
from wardian.sdk._credentials import environment_message
from wardian.sdk._egress import egress_message, granted

FULL = (
    Egress("packages", "git-hosts", template=False)
    .allow("api.github.com", methods="get", path="/repos/**", name="github")
    .allow(
        "api.openai.com",
        "*.openai.com",
        ports=443,
        inject=Header("Authorization", "Bearer {OPENAI_API_KEY}"),
        redact=True,
    )
    .allow("maps.example.com", inject=[Query("key", "{MAPS}"), Basic("me", "{PASSWORD}")])
    .allow("s3.example.com", inject=SigV4("{AWS_ID}", "{AWS_KEY}", region="eu-west-1"))
    .allow("git.example.com", substitute="GIT_TOKEN", connect_to="127.0.0.1:8080")
    .allow(cidrs="10.0.0.0/8", ports=["8000-8099", 5432])
    .allow("mine.example.com", handler=Handler("mine", owner="me", timeout=5))
    .deny("*.evil.example")
)


def test_what_is_written_is_what_the_api_takes() -> None:
    said = FULL.to_dict()
    assert said["presets"] == ["packages", "git-hosts"] and said["template"] is False
    assert said["rules"] == [
        {
            "action": "allow",
            "hosts": ["api.github.com"],
            "name": "github",
            "methods": ["GET"],
            "path": "/repos/**",
        },
        {
            "action": "allow",
            "hosts": ["api.openai.com", "*.openai.com"],
            "ports": ["443"],
            "inject": [{"header": "Authorization", "value": "Bearer {OPENAI_API_KEY}"}],
            "redact": True,
        },
        {
            "action": "allow",
            "hosts": ["maps.example.com"],
            "inject": [
                {"query": "key", "value": "{MAPS}"},
                {"basic": {"username": "me", "password": "{PASSWORD}"}},
            ],
        },
        {
            "action": "allow",
            "hosts": ["s3.example.com"],
            "inject": [
                {
                    "sigv4": {
                        "access_key": "{AWS_ID}",
                        "secret_key": "{AWS_KEY}",
                        "region": "eu-west-1",
                    }
                }
            ],
        },
        {
            "action": "allow",
            "hosts": ["git.example.com"],
            "connect_to": "127.0.0.1:8080",
            "substitute": ["GIT_TOKEN"],
        },
        {"action": "allow", "ports": ["8000-8099", "5432"], "cidrs": ["10.0.0.0/8"]},
        {
            "action": "allow",
            "hosts": ["mine.example.com"],
            "handler": {"name": "mine", "parameters": {"owner": "me"}, "timeout": 5},
        },
        {"action": "deny", "hosts": ["*.evil.example"]},
    ]


def test_what_the_api_says_is_read_back() -> None:
    again = Egress.from_dict(FULL.to_dict())
    assert again == FULL and hash(again) == hash(FULL)
    rule = EgressRule.from_dict({"action": "deny", "host": "a.example", "origin": "template"})
    assert rule.hosts == ("a.example",) and rule.origin == "template"
    timeout = {"name": "h", "parameters": {"timeout": "a word", "name": 1}}
    read = EgressRule.from_dict({"action": "allow", "handler": timeout}).handler
    assert read is not None and read.to_dict() == timeout


@pytest.mark.parametrize(
    "said",
    [
        {"rules": [{"hosts": ["a"]}]},
        {"rules": [{"action": "allow", "host": "a", "colour": "red"}]},
        {"rules": [{"action": "allow", "host": "a", "inject": [{"cookie": "x"}]}]},
        {"rules": [{"action": "allow", "host": "a", "inject": [{"header": "x"}]}]},
        {"rule": []},
    ],
)
def test_what_is_no_policy_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        Egress.from_dict(said)


def test_a_policy_does_not_change() -> None:
    first = Egress("packages")
    second = first.allow("a.example")
    assert first == Egress("packages") != second and first.rules == ()
    for thing, name in ((first, "rules"), (Handler("h"), "name"), (Header("a", "b"), "value")):
        with pytest.raises(AttributeError):
            setattr(thing, name, ())


def test_nobody_allows_everything_by_leaving_the_host_out() -> None:
    with pytest.raises(ValueError, match=r"'\*' for every host"):
        Egress().allow(ports=443)
    with pytest.raises(ValueError, match="name a host"):
        Egress().deny()


def test_a_value_written_into_a_rule_is_not_shown() -> None:
    value = "sk-live-0123456789"
    rules = (
        Egress()
        .allow("a.example", inject=Header("X", value))
        .allow("a.example", inject=Query("k", value))
        .allow("a.example", inject=Basic("me", value))
        .allow("a.example", inject=SigV4("{ID}", value))
    )
    assert value not in repr(rules) and value not in str(rules.rules[0].inject)
    assert "ID" in repr(rules)


@pytest.mark.parametrize("name", ["github", "1A", "A-B", "", "A" * 65, "A\n"])
def test_names_of_secrets(name: str) -> None:
    with pytest.raises(ValueError):
        Secret(name)
    with pytest.raises(ValueError):
        Egress().allow("a.example", substitute=name)


def test_names_in_strings() -> None:
    assert Header("A", "{ONE} {{NOT}} {TWO}{ONE}").secrets == ("ONE", "TWO")


def test_words() -> None:
    assert egress_message("off") == {"rules": [], "presets": [], "template": False}
    assert egress_message("on") == {"rules": [], "presets": ["on"]}
    assert granted(None, None) is None and granted("packages", None) == "packages"
    assert [granted(None, word) for word in (True, "on", False, "off")] == [
        "on",
        "on",
        "off",
        "off",
    ]
    for egress, internet in (("on", "on"), (None, "yes"), (Egress(), False)):
        with pytest.raises(ValueError):
            granted(egress, internet)


def test_variables() -> None:
    said = environment_message({"A": "1", "B": Secret("B_SECRET"), "C": None})
    assert said == {"A": "1", "B": {"secret": "B_SECRET"}, "C": None}
