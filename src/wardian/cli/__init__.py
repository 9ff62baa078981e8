"""The command line, `wardian`.

Exit codes: 0 done; 1 failed; 2 wrong usage; 124 a command was stopped at its timeout; 130 stopped
by Ctrl-C. `exec`, `run` and `shell` end with the exit code of what they ran (128 + n if signal n
ended it), and with 125 where Wardian itself failed.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

# Each group of commands is imported only when it is needed: a start must feel immediate.
_COMMANDS = {
    "completion": ("completion", "Print the script that completes commands in a shell."),
    "cp": ("copy", "Copy files into and out of a sandbox."),
    "create": ("sandboxes", "Make a sandbox."),
    "doctor": ("doctor", "Say what this machine can do, and what is missing."),
    "egress": ("egress", "What a sandbox may reach."),
    "env": ("environment", "Change the environment of a sandbox."),
    "exec": ("commands", "Run a command in a sandbox."),
    "files": ("files", "List, search, print and remove a sandbox's files."),
    "git": ("git", "Git in a sandbox."),
    "expose": ("previews", "Give a port of a sandbox an address of its own."),
    "exposures": ("previews", "List the exposed ports of a sandbox."),
    "info": ("sandboxes", "Show a sandbox."),
    "key": ("keys", "API keys."),
    "kill": ("sandboxes", "End sandboxes."),
    "logs": ("background", "Show the log of a background process."),
    "ls": ("sandboxes", "List sandboxes."),
    "ps": ("background", "List the background processes of a sandbox."),
    "run": ("commands", "Run a command in a new sandbox, then end it."),
    "secret": ("secrets", "Credentials that never enter a sandbox."),
    "serve": ("serve", "Run the server on this machine."),
    "shell": ("shell", "Open a terminal in a sandbox."),
    "start": ("background", "Start a background process in a sandbox."),
    "stop": ("background", "Stop background processes of a sandbox."),
    "session": ("sessions", "Shells that go on from command to command."),
    "template": ("templates", "What sandboxes start from."),
    "ticket": ("previews", "Let somebody use one service of a sandbox without a key."),
    "terminal": ("terminals", "The terminals of a sandbox."),
    "unexpose": ("previews", "Take the address of a port back."),
    "usage": ("sandboxes", "Show what a sandbox has used."),
    "watch": ("watch", "Print what changes in a sandbox's files."),
    "wait": ("background", "Wait for a background process: a port, a line, its end."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f".{_COMMANDS[cmd_name][0]}", __name__)
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # From the table: help must not import every group.
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name not in _COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(name, _COMMANDS, n=1)
            meant = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"No such command {name!r}.{meant}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        from ._failures import explained

        with explained():
            return super().invoke(ctx)


def _version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"wardian {version('wardian')}")
        ctx.exit()


def _url(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        os.environ["WARDIAN_URL"] = value


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="The server's address is WARDIAN_URL (http://127.0.0.1:7300 if not set), the key "
    "WARDIAN_API_KEY, else ~/.config/wardian/api-key, else the key file of a server on this "
    "machine.",
)
@click.option(
    "--url", callback=_url, expose_value=False, metavar="URL", help="The server's address."
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version.",
)
def cli() -> None:
    """Computers for AI agents: isolated, persistent Linux sandboxes on hardware of your own."""


def main(args: Sequence[str] | None = None) -> None:
    """What the program `wardian` is."""
    try:
        # Not standalone: click would turn Ctrl-C into exit code 1. It returns an Exit's code.
        code = cli.main(args=args, prog_name="wardian", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
