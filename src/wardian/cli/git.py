"""`git`: repositories in a sandbox."""

from __future__ import annotations

import os
import sys

import click

from ._failures import printable
from ._output import json_option, print_json
from ._sandbox_argument import complete


@click.group("git")
def git_command() -> None:
    """Git in a sandbox. For more than cloning: `wardian exec SANDBOX -- git …`."""


@git_command.command("clone")
@click.argument("sandbox", shell_complete=complete)
@click.argument("url")
@click.argument("path", required=False)
@click.option("-b", "--branch", help="The branch or tag to check out.")
@click.option("--depth", type=click.IntRange(1), help="How many commits of history to fetch.")
@click.option("--username", help="For http and https. The password is read from GIT_PASSWORD.")
@click.option("--timeout", type=float, default=600, help="Stop git after this many seconds (600).")
@click.option("-u", "--user", help="Who runs git.")
@json_option
def clone_command(
    sandbox: str,
    url: str,
    path: str | None,
    branch: str | None,
    depth: int | None,
    username: str | None,
    timeout: float,
    user: str | None,
    as_json: bool,
) -> None:
    """Clone URL into PATH in SANDBOX, by default into a directory of the user's home.

    A password belongs into the variable GIT_PASSWORD: arguments can be seen by everybody on this
    machine.
    """
    from wardian import GitProgress, Sandbox

    shown = not as_json and sys.stderr.isatty()

    def progress(at: GitProgress) -> None:
        if shown:
            click.echo(f"\r\033[K{printable(at.stage)}: {at.percent} %", nl=False, err=True)

    found = Sandbox.get(sandbox)
    head = found.git.clone(
        url,
        path,
        branch=branch,
        depth=depth,
        username=username,
        password=os.environ.get("GIT_PASSWORD"),
        on_progress=progress,
        timeout=timeout,
        user=user,
    )
    if shown:
        click.echo("\r\033[K", nl=False, err=True)
    if as_json:
        print_json(head)
    else:
        where = f"branch {head.branch}" if head.branch else "no branch"
        click.echo(printable(f"{head.path}: {where} at {(head.commit or 'no commit')[:12]}"))
