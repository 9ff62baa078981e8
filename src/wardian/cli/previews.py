"""`expose`, `exposures`, `unexpose`, `ticket`: letting others in."""

from __future__ import annotations

import click

from ._output import ago, json_option, print_json, table
from ._sandbox_argument import complete

_PORT = click.IntRange(1, 65535)


@click.command("expose")
@click.argument("sandbox", shell_complete=complete)
@click.argument("port", type=_PORT)
@click.option("--public", is_flag=True, help="Whoever knows the address may visit.")
@click.option("--name", help="A word for it.")
@click.option("--token", default="auto", help="The last part of the address.")
@click.option("--localhost", is_flag=True, help="For servers that take no host but localhost.")
@click.option("--sign", type=float, metavar="SECONDS", help="Print a signed address instead.")
@click.option("--open", "open_it", is_flag=True, help="Open it in a browser, signed if private.")
@json_option
def expose_command(
    sandbox: str,
    port: int,
    public: bool,
    name: str | None,
    token: str,
    localhost: bool,
    sign: float | None,
    open_it: bool,
    as_json: bool,
) -> None:
    """Give PORT of SANDBOX an address of its own, and print it.

    A private address asks visitors for an API key, or is visited once by a signed address.
    """
    from wardian import Client

    client = Client()
    made = client.create_exposure(
        sandbox,
        port,
        name=name,
        token=token,
        visibility="public" if public else "private",
        host_header="localhost" if localhost else "preserve",
    )
    signed = None
    if sign is not None or (open_it and not public):
        signed = client.sign_exposure(sandbox, port, sign or 3600.0)
    if as_json:
        print_json(made)
    else:
        click.echo(signed.url if signed is not None and sign is not None else made.url)
    if open_it:
        click.launch(signed.url if signed is not None else str(made.url))


@click.command("exposures")
@click.argument("sandbox", shell_complete=complete)
@json_option
def exposures_command(sandbox: str, as_json: bool) -> None:
    """List the exposed ports of SANDBOX."""
    from wardian import Client

    found = Client().list_exposures(sandbox)
    if as_json:
        return print_json(found)
    rows = [
        (str(each.port), each.name or "-", each.visibility, each.url or "-", ago(each.created_at))
        for each in found
    ]
    return table(("PORT", "NAME", "VISIBILITY", "URL", "CREATED"), rows)


@click.command("unexpose")
@click.argument("sandbox", shell_complete=complete)
@click.argument("port", type=_PORT)
def unexpose_command(sandbox: str, port: int) -> None:
    """Take the address of PORT of SANDBOX back, at once."""
    from wardian import Client

    Client().delete_exposure(sandbox, port)


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
