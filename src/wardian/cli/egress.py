"""`egress`: what a sandbox may reach."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._egress_options import (
    allow_rule,
    complete_preset,
    credential_options,
    deny_rule,
    matching_options,
    target,
)
from ._failures import Failure
from ._output import fields, json_option, print_json, table
from ._sandbox_argument import complete
from .egress_log import log

if TYPE_CHECKING:
    from wardian import Egress, EgressPolicy, EgressRule

REFUSED = 3


@click.group("egress")
def egress_command() -> None:
    """What a sandbox may reach: rules in order, the first that matches decides, and none is no."""


egress_command.add_command(log)


@egress_command.command("show")
@click.argument("sandbox", shell_complete=complete)
@json_option
def show(sandbox: str, as_json: bool) -> None:
    """Show the rules in force for SANDBOX, in their order."""
    from wardian import Client

    _print(Client().get_egress(sandbox), as_json)


@egress_command.command("set")
@click.argument("sandbox", shell_complete=complete)
@click.argument("policy", shell_complete=complete_preset)
@json_option
def set_(sandbox: str, policy: str, as_json: bool) -> None:
    """Replace what SANDBOX may reach.

    POLICY is `off`, `on`, another preset, a file of JSON or TOML (./policy.toml), or - for JSON on
    standard input.
    """
    from wardian import Client

    _print(Client().set_egress(sandbox, read_policy(policy)), as_json)


def read_policy(text: str) -> str | Egress:
    """A policy as it is named on the command line.

    Raises:
        Failure: A file can't be read as one.
    """
    from wardian import Egress, WardianError

    path = Path(text)
    if text != "-" and not (path.suffix in (".json", ".toml") or "/" in text):
        return text
    try:
        content = sys.stdin.read() if text == "-" else path.read_text()
        said: Any = tomllib.loads(content) if path.suffix == ".toml" else json.loads(content)
        if not isinstance(said, dict):
            raise Failure(f"{text} holds no policy, which is an object with rules and presets")
        return Egress.from_dict(said)  # pyright: ignore[reportUnknownArgumentType]
    except (ValueError, WardianError) as error:
        raise Failure(f"{text}: {error}") from error


@egress_command.command("allow")
@click.argument("sandbox", shell_complete=complete)
@click.argument("hosts", nargs=-1, metavar="HOST[:PORT]...")
@matching_options
@credential_options
@json_option
def allow(sandbox: str, hosts: tuple[str, ...], position: Any, as_json: bool, **given: Any) -> None:
    """Let SANDBOX reach HOST: a name, `*.name`, `*` or an address, at once.

    Credentials name secrets (`wardian secret set`) in braces:
    wardian egress allow box api.openai.com --inject-header 'Authorization=Bearer {OPENAI_API_KEY}'
    """
    _add(sandbox, allow_rule(hosts, given), position, as_json)


@egress_command.command("deny")
@click.argument("sandbox", shell_complete=complete)
@click.argument("hosts", nargs=-1, metavar="HOST[:PORT]...")
@matching_options
@json_option
def deny(sandbox: str, hosts: tuple[str, ...], position: Any, as_json: bool, **given: Any) -> None:
    """Refuse HOST to SANDBOX, at once: before its other rules unless --last says otherwise."""
    _add(sandbox, deny_rule(hosts, given), position or "first", as_json)


def _add(sandbox: str, rule: EgressRule, position: Any, as_json: bool) -> None:
    from wardian import Client

    _print(Client().add_egress_rule(sandbox, rule, position), as_json)


@egress_command.command("remove")
@click.argument("sandbox", shell_complete=complete)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@json_option
def remove(sandbox: str, names: tuple[str, ...], as_json: bool) -> None:
    """Take rules of SANDBOX's own away."""
    from wardian import Client

    client = Client()
    policies = [client.delete_egress_rule(sandbox, name) for name in names]
    _print(policies[-1], as_json)


@egress_command.command("explain")
@click.argument("sandbox", shell_complete=complete)
@click.argument("what", metavar="URL|HOST:PORT")
@click.option("-X", "--method", help="Of a request (GET).")
@click.option("--policy", help="Asked instead of what is in force; as for `set`.")
@json_option
def explain(sandbox: str, what: str, method: str | None, policy: str | None, as_json: bool) -> None:
    """Say what would happen if SANDBOX asked for URL, or connected to HOST:PORT.

    Nothing is sent. Exit codes: 0 it would be let out; 3 it would be refused.
    """
    from wardian import Client
    from wardian.sdk._egress import egress_message

    question: dict[str, Any]
    if "://" in what:
        question = {"url": what} if method is None else {"url": what, "method": method}
    else:
        host, port = target(what)
        if method is not None or port is None or not port.isdecimal():
            raise click.UsageError("give a URL, with --method or not, or HOST:PORT")
        question = {"host": host, "port": int(port)}
    if policy is not None:
        question["egress"] = egress_message(read_policy(policy))
    found = Client().explain_egress(sandbox, question)
    if as_json:
        print_json(found)
    else:
        fields(
            [
                ("verdict", "allowed" if found.allowed else "refused"),
                ("rule", found.rule),
                ("why", found.reason),
                ("read", "every request" if found.opened else "no"),
                ("resolves", "yes" if found.resolves else "no"),
                ("secrets", ", ".join(found.secrets) or None),
                ("handler", found.handler),
            ]
        )
    if not found.allowed:
        raise click.exceptions.Exit(REFUSED)


@egress_command.command("presets")
@json_option
def presets(as_json: bool) -> None:
    """List the presets of the server."""
    from wardian import Client

    found = Client().list_presets()
    if as_json:
        said = [
            {
                "name": each.name,
                "description": each.description,
                "rules": [rule.to_dict() for rule in each.rules],
            }
            for each in found
        ]
        return print_json(said)
    return table(
        ("NAME", "RULES", "DESCRIPTION"),
        [(each.name, len(each.rules), each.description) for each in found],
    )


def _print(policy: EgressPolicy, as_json: bool) -> None:
    if as_json:
        effective = [rule.to_dict() | {"origin": rule.origin} for rule in policy.effective]
        return print_json(policy.own.to_dict() | {"effective": effective})
    if not policy.effective:
        return click.echo("nothing: no rule lets anything out")
    rows = [(rule.action, rule.name, _where(rule), _how(rule)) for rule in policy.effective]
    return table(("ACTION", "NAME", "WHERE", "HOW"), rows)


def _where(rule: EgressRule) -> str:
    ports = f":{','.join(rule.ports)}" if rule.ports else ""
    words = [f"{host}{ports}" for host in rule.hosts] or [f"*{ports}"]
    words += [f"in {', '.join(rule.cidrs)}"] if rule.cidrs else []
    words += [",".join(rule.methods)] if rule.methods else []
    words += [rule.path] if rule.path else []
    return " ".join(words)


def _how(rule: EgressRule) -> str | None:
    words = [str(each).strip("<>") for each in rule.inject]
    words += [f"placeholder of {name}" for name in rule.substitute]
    words += [f"handler {rule.handler.name}"] if rule.handler else []
    words += [f"to {rule.connect_to}"] if rule.connect_to else []
    words += ["redacted"] if rule.redact else []
    return "; ".join(words) or None
