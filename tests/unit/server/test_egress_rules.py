"""Rules as they are read: what is taken, in which spelling, what is refused in which words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wardian.server.egress import destinations, model, templating
from wardian.server.egress.model import Egress, Rule

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "egress_rules.json").read_text()
)
READERS: dict[str, Callable[[str], str]] = {
    "hosts": destinations.host_pattern,
    "ports": destinations.port_range,
    "cidrs": destinations.network,
    "paths": model.path_pattern,
    "methods": model.method,
    "connect_to": destinations.endpoint,
}


@pytest.mark.parametrize("kind", READERS)
def test_the_shared_examples_are_read_as_they_say(kind: str) -> None:
    examples: list[str | tuple[str, str]] = msgspec.convert(
        VECTORS[kind]["accepted"], list[str | tuple[str, str]]
    )
    for example in examples:
        given, kept = (example, example) if isinstance(example, str) else example
        assert READERS[kind](given) == kept
        # What is kept is read again from the database.
        assert READERS[kind](kept) == kept
    for refused in VECTORS[kind]["refused"]:
        with pytest.raises(ValueError):
            READERS[kind](refused)


def test_a_pattern_covers_what_the_shared_examples_say() -> None:
    for pattern, other in VECTORS["covers"]["yes"]:
        assert destinations.covers(pattern, other), (pattern, other)
    for pattern, other in VECTORS["covers"]["no"]:
        assert not destinations.covers(pattern, other), (pattern, other)


def rule(**fields: Any) -> Rule:
    return msgspec.convert({"action": "allow"} | fields, Rule)


def test_a_handler_has_five_seconds_unless_the_rule_says_otherwise() -> None:
    for said, seconds in (({}, 5.0), ({"timeout": 0.1}, 0.1), ({"timeout": 600}, 600.0)):
        handler = rule(handler={"name": "a", **said}).handler
        assert handler is not None and handler.timeout == seconds


def test_a_rule_is_kept_in_one_spelling() -> None:
    read = rule(
        name="api",
        hosts=["EXAMPLE.com.", "*.Example.COM"],
        ports=[443, "443", "8000-8099"],
        cidrs=["2001:DB8::/32", "1.2.3.4"],
        methods=["GET", "GET"],
        substitute=["TOKEN", "TOKEN"],
        connect_to="Proxy.example.:8080",
    )
    assert read.hosts == ["example.com", "*.example.com"]
    assert read.ports == ["443", "8000-8099"]
    assert read.cidrs == ["2001:db8::/32", "1.2.3.4/32"]
    assert (read.methods, read.substitute) == (["GET"], ["TOKEN"])
    assert read.connect_to == "proxy.example:8080"
    assert rule(host="Example.com").hosts == ["example.com"]
    assert msgspec.convert(msgspec.to_builtins(read), Rule) == read


def test_rules_without_a_name_get_the_first_that_is_free() -> None:
    egress = msgspec.convert(
        {"rules": [{"action": "allow"}, {"action": "deny", "name": "rule-2"}, {"action": "deny"}]},
        Egress,
    )
    assert [each.name for each in egress.rules] == ["rule-1", "rule-2", "rule-3"]
    with pytest.raises(msgspec.ValidationError, match="two are named 'a'"):
        msgspec.convert({"rules": [{"action": "deny", "name": "a"}] * 2}, Egress)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"hosts": ["a.example", "a b"]}, r"hosts\[1\]: 'a b'"),
    ({"host": "a", "hosts": ["b"]}, "host: say host or hosts"),
    ({"ports": [0]}, r"ports\[0\]"),
    ({"ports": [True]}, r"ports\[0\]"),
    ({"cidrs": ["10.0.0.1/8"]}, r"cidrs\[0\].*host bits"),
    ({"methods": ["get"]}, r"methods\[0\]"),
    ({"path": "a"}, "path: "),
    ({"connect_to": "a"}, "connect_to: "),
    ({"name": "A b"}, r"\$\.name"),
    ({"substitute": ["lower"]}, r"\$\.substitute\[0\]"),
    ({"inject": [{}]}, r"inject\[0\]: expected one of"),
    ({"inject": [{"header": "A"}]}, r"inject\[0\]: value"),
    ({"inject": [{"basic": {"username": "a", "password": "b"}, "value": "c"}]}, "value"),
    ({"inject": [{"header": "A", "query": "a", "value": "c"}]}, "expected one of"),
    ({"inject": [{"header": "Content-Length", "value": "1"}]}, "not for rules"),
    ({"inject": [{"header": "HOST", "value": "1"}]}, "not for rules"),
    ({"inject": [{"header": "A B", "value": "1"}]}, "no name of a header"),
    ({"inject": [{"header": "A", "value": "a\r\nB: c"}]}, r"inject\[0\]: value: .*control"),
    ({"inject": [{"header": "A", "value": "{token}"}]}, "brace at character 1"),
    ({"inject": [{"header": "A", "value": "a}"}]}, "brace at character 2"),
    ({"inject": [{"header": "A", "value": ""}]}, "value: empty"),
    ({"inject": [{"header": "A", "value": "a" * 8193}]}, "value: longer"),
    ({"inject": [{"query": "", "value": "a"}]}, "query: "),
    ({"inject": [{"basic": {"username": "a:b", "password": "c"}}]}, "username: a colon"),
    ({"inject": [{"sigv4": {"access_key": "a", "secret_key": "b", "region": "EU"}}]}, "region"),
    ({"handler": {"name": "a b"}}, r"\$\.handler\.name"),
    ({"handler": {"name": "GitHub"}}, r"\$\.handler\.name"),
    ({"handler": {"name": "a", "timeout": 0}}, r"\$\.handler\.timeout"),
    ({"handler": {"name": "a", "parameters": {"a": "b" * 20000}}}, "handler.parameters"),
    ({"action": "deny", "redact": True}, "redact: a rule that denies"),
    ({"action": "deny", "connect_to": "a:1"}, "connect_to: a rule that denies"),
    ({"action": "maybe"}, r"\$\.action"),
    ({"hsots": ["a"]}, "hsots"),
]


@pytest.mark.parametrize(("fields", "says"), REFUSED)
def test_what_can_not_be_is_refused_by_its_field(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=says):
        rule(**fields)


def test_an_error_names_the_rule_and_no_credential() -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        rule(name="mine", inject=[{"header": "A", "value": "sk-live-1234{"}])
    assert "rule 'mine': inject[0]: value: " in str(refused.value)
    assert "sk-live" not in str(refused.value)
    assert "sk-live" not in repr(rule(inject=[{"header": "A", "value": "sk-live-1234"}]))


def test_names_of_secrets_are_found_and_filled_in() -> None:
    text = "{{{USER}}} is {USER}:{PASS_2} }}{{"
    assert templating.names(text) == ["USER", "PASS_2"]
    values = {"USER": "{PASS_2}", "PASS_2": "}"}
    # A value that looks like a name stays what it is.
    assert templating.render(text, values) == "{{PASS_2}} is {PASS_2}:} }{"
    with pytest.raises(KeyError):
        templating.render("{A}", {})
