"""`env`: the variables of a sandbox's commands."""

from __future__ import annotations

import click

from ._sandbox_argument import complete


@click.command("env")
@click.argument("sandbox", shell_complete=complete)
@click.argument("variables", nargs=-1, required=True, metavar="NAME=VALUE|NAME-...")
def env_command(sandbox: str, variables: tuple[str, ...]) -> None:
    """Change the environment of SANDBOX: `wardian env SANDBOX TOKEN=x OLD-`.

    NAME=VALUE sets a variable, NAME- takes it away. Commands started from now on see it, those of
    sessions too.
    """
    from wardian import Client

    changes: dict[str, str | None] = {}
    for text in variables:
        name, equals, value = text.partition("=")
        if equals and name:
            changes[name] = value
        elif not equals and len(text) > 1 and text.endswith("-"):
            changes[text[:-1]] = None
        else:
            raise click.BadParameter(f"{text!r} is neither NAME=VALUE nor NAME-")
    Client().update_sandbox(sandbox, {"env": changes})
