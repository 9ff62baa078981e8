"""`session`: shells that go on from command to command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ._egress_options import secret_env_option
from ._output import ago, json_option, print_json, table
from ._sandbox_argument import complete
from .sandboxes import pairs

if TYPE_CHECKING:
    from wardian import Secret


@click.group("session")
def session_command() -> None:
    """Shells of a sandbox that go on from command to command.

    `wardian exec SANDBOX --session NAME -- COMMAND` runs a command in one.
    """


@session_command.command("create")
@click.argument("sandbox", shell_complete=complete)
@click.argument("name", required=False)
@click.option("-w", "--cwd", help="Where it begins.")
@click.option("-u", "--user", help="Who its commands run as.")
@click.option("-e", "--env", multiple=True, callback=pairs, metavar="K=V", help="A variable.")
@secret_env_option
def create(
    sandbox: str,
    name: str | None,
    cwd: str | None,
    user: str | None,
    env: dict[str, str],
    secret_env: dict[str, Secret],
) -> None:
    """Make a session in SANDBOX and print its name."""
    from wardian import Sandbox

    found = Sandbox.get(sandbox)
    click.echo(
        found.session(name, cwd=cwd, user=user, env={**env, **secret_env}, create_only=True).name
    )


@session_command.command("ls")
@click.argument("sandbox", shell_complete=complete)
@json_option
def list_sessions(sandbox: str, as_json: bool) -> None:
    """List the sessions of SANDBOX."""
    from wardian import Sandbox

    sessions = Sandbox.get(sandbox).sessions()
    if as_json:
        print_json(sessions)
        return
    rows = [
        (
            session.name,
            session.state if session.exit_code is None else f"ended ({session.exit_code})",
            session.user,
            session.commands,
            ago(session.created_at),
            session.cwd,
        )
        for session in sessions
    ]
    table(("NAME", "STATE", "USER", "COMMANDS", "CREATED", "DIRECTORY"), rows)


@session_command.command("rm")
@click.argument("sandbox", shell_complete=complete)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def remove(sandbox: str, names: tuple[str, ...]) -> None:
    """Close sessions of SANDBOX; a command that runs in one is killed."""
    from wardian import Sandbox

    found = Sandbox.get(sandbox)
    known = {session.name for session in found.sessions()}
    for name in names:
        if name not in known:
            raise click.ClickException(f"there is no session {name!r}")
        found.session(name).close()
