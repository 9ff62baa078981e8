"""What rules of egress and secrets are written as on the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from wardian import EgressRule, Secret
    from wardian.sdk._credentials import Injection

Command = TypeVar("Command", bound=Callable[..., Any])


def secret_pairs(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, Secret]:
    """VARIABLE=NAME options; one word names both."""
    from wardian import Secret

    result: dict[str, Secret] = {}
    for value in values:
        variable, _, name = value.partition("=")
        try:
            result[variable] = Secret(name or variable)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return result


secret_env_option = click.option(
    "--secret-env",
    multiple=True,
    callback=secret_pairs,
    metavar="VAR=NAME",
    help="A variable that holds the placeholder of secret NAME.",
)


def complete_secret(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> Sequence[str]:
    """Names of secrets that begin as typed; nothing where the server can't be asked."""
    from wardian import Secrets, WardianError

    try:
        return [each.name for each in Secrets().list() if each.name.startswith(incomplete)]
    except WardianError:
        return []


def complete_preset(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> Sequence[str]:
    """Names of presets that begin as typed; nothing where the server can't be asked."""
    from wardian import Client, WardianError

    try:
        return [each.name for each in Client().list_presets() if each.name.startswith(incomplete)]
    except WardianError:
        return []


_MATCHING = (
    click.option("--name", help="What events call it; a rule of that name is replaced."),
    click.option("--method", "methods", multiple=True, help="Only these HTTP methods."),
    click.option("--path", help="Only these HTTP paths: `*` within a segment, `**` across."),
    click.option("--cidr", "cidrs", multiple=True, help="Only towards addresses of this network."),
    click.option("--first", "position", flag_value="first", help="Before the other rules."),
    click.option("--last", "position", flag_value="last", help="Behind the other rules."),
)
_CREDENTIALS = (
    click.option(
        "--inject-header", "headers", multiple=True, metavar="'H=Bearer {NAME}'", help="Set it."
    ),
    click.option("--query", "queries", multiple=True, metavar="'P={NAME}'", help="Set it."),
    click.option("--basic", metavar="'USER:{NAME}'", help="Set basic authentication."),
    click.option("--sigv4", metavar="'{ID}:{KEY}'", help="Sign anew for AWS."),
    click.option(
        "--substitute",
        multiple=True,
        metavar="NAME",
        shell_complete=complete_secret,
        help="Swap its placeholder for its value.",
    ),
    click.option("--redact", is_flag=True, help="Mask the values in answers."),
    click.option("--handler", metavar="NAME", help="The handler that answers or edits."),
    click.option("--handler-parameter", "parameters", multiple=True, metavar="K=V"),
    click.option("--connect-to", metavar="HOST:PORT", help="What is dialled instead."),
)


def matching_options(command: Command) -> Command:
    """The options of every rule."""
    for option in reversed(_MATCHING):
        command = option(command)
    return command


def credential_options(command: Command) -> Command:
    """The options of rules that let out."""
    for option in reversed(_CREDENTIALS):
        command = option(command)
    return command


def target(text: str) -> tuple[str, str | None]:
    """Host and port of HOST[:PORT]; PORT may be a range, an IPv6 address stands in brackets."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise click.BadParameter(f"{text!r} is not [ADDRESS] or [ADDRESS]:PORT")
        return host, rest[1:] or None
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    if colon and not port:
        raise click.BadParameter(f"{text!r}: a port is missing behind the colon")
    return host, port or None


def deny_rule(hosts: Sequence[str], given: dict[str, Any]) -> EgressRule:
    """The refusing rule that was typed."""
    return _rule("deny", hosts, given)


def allow_rule(hosts: Sequence[str], given: dict[str, Any]) -> EgressRule:
    """The rule that lets out that was typed."""
    from wardian import Handler

    injections = _injections(given)
    words = {key: given.pop(key) for key in ("handler", "parameters")}
    parameters = dict(_pair(text, "--handler-parameter") for text in words["parameters"])
    if parameters and words["handler"] is None:
        raise click.UsageError("--handler-parameter is for --handler")
    handler = words["handler"] and Handler.from_dict(
        {"name": words["handler"], "parameters": parameters}
    )
    return _rule("allow", hosts, given | {"inject": injections, "handler": handler})


def _rule(action: Any, hosts: Sequence[str], given: dict[str, Any]) -> EgressRule:
    from wardian.sdk._egress_rules import make_rule

    split = [target(text) for text in hosts]
    ports = {port for _, port in split}
    if len(ports) > 1:
        raise click.UsageError("one rule's hosts have the same ports; add a rule for each")
    return make_rule(
        action, [host for host, _ in split], ports=[port for port in ports if port], **given
    )


def _injections(given: dict[str, Any]) -> list[Injection]:
    from wardian import Basic, Header, Query, SigV4

    found: list[Injection] = [
        Header(*_pair(text, "--inject-header")) for text in given.pop("headers")
    ]
    found += [Query(*_pair(text, "--query")) for text in given.pop("queries")]
    if (basic := given.pop("basic")) is not None:
        found.append(Basic(*_pair(basic, "--basic", ":")))
    if (sigv4 := given.pop("sigv4")) is not None:
        found.append(SigV4(*_pair(sigv4, "--sigv4", ":")))
    return found


def _pair(text: str, option: str, between: str = "=") -> tuple[str, str]:
    first, found, second = text.partition(between)
    if not found or not first:
        raise click.UsageError(f"{option} takes two words with a {between} between them")
    return first, second
