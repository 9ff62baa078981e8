"""`terminal`: the terminals of a sandbox."""

from __future__ import annotations

import shlex

import click

from ._output import ago, json_option, print_json, table
from ._sandbox_argument import complete


@click.group("terminal")
def terminal_command() -> None:
    """The terminals of a sandbox; `wardian shell` attaches to one."""


@terminal_command.command("ls")
@click.argument("sandbox", shell_complete=complete)
@json_option
def ls(sandbox: str, as_json: bool) -> None:
    """List the terminals of SANDBOX."""
    from wardian import Sandbox

    terminals = Sandbox.get(sandbox).terminals()
    if as_json:
        return print_json(terminals)
    rows = [
        (
            each.name,
            each.state if each.exit_code is None else f"ended ({each.exit_code})",
            each.clients,
            f"{each.cols}x{each.rows}",
            ago(each.created_at),
            shlex.join(each.argv),
        )
        for each in terminals
    ]
    return table(("NAME", "STATE", "CLIENTS", "SIZE", "CREATED", "COMMAND"), rows)


@terminal_command.command("kill")
@click.argument("sandbox", shell_complete=complete)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def kill(sandbox: str, names: tuple[str, ...]) -> None:
    """End terminals of SANDBOX with all that runs in them."""
    from wardian import Sandbox

    found = Sandbox.get(sandbox)
    for name in names:
        found.kill_terminal(name)
