"""`shell`: a terminal in a sandbox that feels like one here."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from . import _tty
from ._egress_options import secret_env_option
from ._failures import OWN_FAILURE, Failure, explained
from ._sandbox_argument import complete
from .sandboxes import pairs

if TYPE_CHECKING:
    from wardian import AsyncTerminal, Secret
    from wardian.sdk._async.placeholders import Environment


@click.command("shell", context_settings={"allow_interspersed_args": False})
@click.argument("sandbox", shell_complete=complete)
@click.argument("command", nargs=-1)
@click.option("-n", "--name", default="main", show_default=True, help="The terminal's name.")
@click.option("--new", is_flag=True, help="Another terminal, whose name is made up.")
@click.option("-w", "--cwd", help="Where it starts.")
@click.option("-u", "--user", help="Who runs it.")
@click.option("-e", "--env", multiple=True, callback=pairs, metavar="K=V", help="A variable.")
@secret_env_option
def shell_command(
    sandbox: str,
    command: tuple[str, ...],
    name: str,
    new: bool,
    cwd: str | None,
    user: str | None,
    env: dict[str, str],
    secret_env: dict[str, Secret],
) -> None:
    """Open a terminal in SANDBOX, with the user's shell or COMMAND: `wardian shell SANDBOX`.

    It lives on when you leave it: the same call finds it again, from anywhere, with what it
    showed; several may share it. Enter ~ . detaches, Enter ~ ~ types a ~; `exit` ends it. A lost
    connection is made again by itself. The exit code is the shell's, 0 after detaching, 125 if
    Wardian failed.
    """
    with explained(OWN_FAILURE):
        code = attach(
            sandbox,
            words(command) or None,
            name=None if new else name,
            cwd=cwd,
            user=user,
            env={**env, **secret_env},
            keep=True,
        )
    raise click.exceptions.Exit(code)


def words(command: tuple[str, ...]) -> list[str]:
    """The command, without the `--` before it."""
    return list(command[1:] if command[:1] == ("--",) else command)


def attach(
    sandbox: str,
    argv: Sequence[str] | None,
    *,
    name: str | None,
    cwd: str | None,
    user: str | None,
    env: Environment,
    keep: bool,
) -> int:
    """Show a terminal of a sandbox on ours until it ends or somebody detaches.

    Args:
        sandbox: Its id or name.
        argv: What runs there; the user's shell if None.
        name: The terminal's; made up if None.
        cwd: Where it starts.
        user: Who runs it.
        env: More variables.
        keep: Whether it lives on after detaching; if not, it is killed.

    Returns:
        The exit code.
    """
    from wardian import AsyncSandbox

    if not _tty.is_terminal():
        raise Failure(
            "standard input and output are no terminal",
            "`wardian exec` runs a command without one",
            exit_code=2,
        )

    async def main() -> int:
        from ._attachment import Attachment

        found = await AsyncSandbox.get(sandbox)

        async def first(cols: int, rows: int) -> AsyncTerminal:
            return await found.terminal(
                name, argv, cwd=cwd, user=user, env=env, cols=cols, rows=rows
            )

        attachment = Attachment(found, first)
        code: int | None = None
        try:
            code = await attachment.run()
        finally:
            terminal = attachment.terminal
            if terminal is not None and not keep:
                await found.kill_terminal(terminal.name)
        if code is None:
            if keep and terminal is not None:
                option = "" if terminal.name == "main" else f" --name {terminal.name}"
                again = f"wardian shell{option} {sandbox}"
                click.echo(f"[detached; `{again}` attaches again]", err=True)
            return 0
        return code

    code = asyncio.run(main())
    sys.stdout.flush()
    return code if 0 <= code <= 255 else OWN_FAILURE
