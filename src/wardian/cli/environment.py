"""`env`: the variables of a sandbox's commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ._egress_options import secret_env_option
from ._sandbox_argument import complete

if TYPE_CHECKING:
    from wardian import Secret


@click.command("env")
@click.argument("sandbox", shell_complete=complete)
@click.argument("variables", nargs=-1, metavar="NAME=VALUE|NAME-...")
@secret_env_option
def env_command(sandbox: str, variables: tuple[str, ...], secret_env: dict[str, Secret]) -> None:
    """Change the environment of SANDBOX: `wardian env SANDBOX TOKEN=x OLD-`.

    NAME=VALUE sets a variable, NAME- takes it away. Commands started from now on see it, those of
    sessions too.
    """
    from wardian import Client

    changes: dict[str, str | Secret | None] = {**secret_env}
    if not variables and not secret_env:
        raise click.UsageError("name variables: NAME=VALUE, NAME-, or --secret-env")
    for text in variables:
        name, equals, value = text.partition("=")
        if equals and name:
            changes[name] = value
        elif not equals and len(text) > 1 and text.endswith("-"):
            changes[text[:-1]] = None
        else:
            raise click.BadParameter(f"{text!r} is neither NAME=VALUE nor NAME-")
    Client().update_sandbox(sandbox, {"env": changes})
