"""`key`: API keys."""

from __future__ import annotations

import click

from ._output import ago, json_option, print_json, table


@click.group("key")
def key_command() -> None:
    """API keys."""


@key_command.command("create")
@click.argument("name")
@click.option("--scope", multiple=True, help="What it may do; may be repeated.")
@json_option
def create(name: str, scope: tuple[str, ...], as_json: bool) -> None:
    """Make a key called NAME and print it, this once."""
    from wardian import Client

    made = Client().create_key(name, scope or None)
    if as_json:
        print_json(made)
    else:
        click.echo(made.key)
        click.echo("this key is not shown again", err=True)


@key_command.command("ls")
@json_option
def ls(as_json: bool) -> None:
    """List keys."""
    from wardian import Client

    keys = Client().list_keys()
    if as_json:
        return print_json(keys)
    rows = [
        (key.id, key.name, ", ".join(key.scopes or ()) or "-", ago(key.created_at)) for key in keys
    ]
    return table(("ID", "NAME", "SCOPES", "CREATED"), rows)


@key_command.command("rm")
@click.argument("key_id", metavar="ID")
def rm(key_id: str) -> None:
    """Take back the key of that ID, at once."""
    from wardian import Client

    Client().delete_key(key_id)
