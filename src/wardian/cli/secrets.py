"""`secret`: credentials that never enter a sandbox."""

from __future__ import annotations

import sys

import click

from ._egress_options import complete_secret
from ._failures import Failure
from ._output import ago, json_option, print_json, table


@click.group("secret")
def secret_command() -> None:
    """Credentials that never enter a sandbox; rules of egress name them."""


@secret_command.command("set")
@click.argument("name", shell_complete=complete_secret)
@click.option("--host", "hosts", multiple=True, help="Only for rules of these hosts.")
@json_option
def set_(name: str, hosts: tuple[str, ...], as_json: bool) -> None:
    """Set the secret NAME to what standard input holds, without its last line break.

    At a terminal it is asked for and not shown. It is no argument: those are seen by everybody.
    """
    from wardian import Secrets

    if sys.stdin.isatty():
        value = str(click.prompt(name, hide_input=True, err=True))
    else:
        value = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not value:
        raise Failure("the value is empty", "it is read from standard input")
    made = Secrets().set(name, value, hosts=hosts or None)
    if as_json:
        print_json(made)


@secret_command.command("ls")
@json_option
def ls(as_json: bool) -> None:
    """List secrets by name. Nothing shows their values."""
    from wardian import Secrets

    found = Secrets().list()
    if as_json:
        return print_json(found)
    rows = [
        (each.name, ", ".join(each.hosts or ()) or "any", ago(each.updated_at)) for each in found
    ]
    return table(("NAME", "HOSTS", "SET"), rows)


@secret_command.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_secret)
def rm(names: tuple[str, ...]) -> None:
    """Forget secrets. One that the policy of a living sandbox names is kept."""
    from wardian import Secrets

    secrets = Secrets()
    for name in names:
        secrets.delete(name)


@secret_command.command("rotate-key")
@json_option
def rotate_key(as_json: bool) -> None:
    """Seal everything in the database anew under a new key. Tickets made before are void."""
    from wardian import Secrets

    count = Secrets().rotate_key()
    if as_json:
        print_json({"secrets": count})
    else:
        click.echo(f"{count} sealed anew")
