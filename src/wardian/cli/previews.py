"""`ticket`: leave to use one service of a sandbox without a key."""

from __future__ import annotations

import click

from ._output import json_option, print_json
from ._sandbox_argument import complete


@click.command("ticket")
@click.argument("sandbox", shell_complete=complete)
@click.argument(
    "service",
    type=click.Choice(["sessions", "processes", "run", "terminals", "files", "watch", "git"]),
)
@click.argument("path", default="")
@click.option("--expires-in", default=3600.0, metavar="SECONDS", help="How long it lasts (3600).")
@json_option
def ticket_command(sandbox: str, service: str, path: str, expires_in: float, as_json: bool) -> None:
    """Print an address at which SERVICE of SANDBOX is used without a key.

    With PATH, such as a terminal's name, only that and what is below it.
    """
    from wardian import Client

    made = Client().create_ticket(sandbox, service, path, expires_in)
    if as_json:
        print_json(made)
    else:
        click.echo(made.url)
