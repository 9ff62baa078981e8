"""`cp`: files and directories into and out of a sandbox."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ._failures import Failure, printable
from ._output import json_option, print_json, progress_bars

if TYPE_CHECKING:
    from wardian import Sandbox, TransferReport

Advance = Callable[[str, int, int | None], None]

REMOTE = re.compile(r"([a-z0-9][a-z0-9-]{0,62}):(.*)", re.DOTALL)


@click.command("cp")
@click.argument("source")
@click.argument("target")
@click.option("-r", "--recursive", is_flag=True, help="Understood: directories are copied whole.")
@click.option(
    "-u", "--user", help="Who owns what is copied in, and whose home relative paths start in."
)
@json_option
def cp_command(source: str, target: str, recursive: bool, user: str | None, as_json: bool) -> None:
    """Copy SOURCE to TARGET, one of which is SANDBOX:PATH.

    A directory is copied whole. A target that is a directory gets the source inside it. A local
    path that looks like SANDBOX:PATH is written ./SANDBOX:PATH.
    """
    from wardian import Sandbox

    far_source, far_target = REMOTE.fullmatch(source), REMOTE.fullmatch(target)
    if (far_source is None) == (far_target is None):
        raise click.UsageError("exactly one of SOURCE and TARGET is SANDBOX:PATH")
    with progress_bars(not as_json) as advance:
        if far_target:
            sandbox = Sandbox.get(far_target[1])
            place = _upload(sandbox, Path(source), far_target[2], user, advance)
        else:
            assert far_source is not None
            sandbox = Sandbox.get(far_source[1])
            place = _download(sandbox, far_source[2], Path(target), user, advance)
    if as_json:
        print_json({"source": source, "target": place})


def _upload(sandbox: Sandbox, local: Path, remote: str, user: str | None, advance: Advance) -> str:
    from wardian import FileNotFound

    if not local.exists():
        raise Failure(f"{local}: no such file or directory")
    try:
        inside = not remote or remote.endswith("/") or sandbox.files.stat(remote, user=user).is_dir
    except FileNotFound:
        inside = False
    if inside:
        remote = posixpath.join(remote or ".", local.resolve().name)
    if not local.is_dir():
        sandbox.files.upload(local, remote, _bar(advance, local.name), user=user)
        return remote
    report = sandbox.files.upload_dir(
        local, remote, _bar(advance, local.name), links="any", user=user
    )
    _tell(report)
    return remote


def _download(
    sandbox: Sandbox, remote: str, local: Path, user: str | None, advance: Advance
) -> str:
    entry = sandbox.files.stat(remote, user=user)
    name = posixpath.basename(posixpath.normpath(entry.path)) or "root"
    if local.is_dir():
        local = local / name
    if not entry.is_dir:
        sandbox.files.download(remote, local, _bar(advance, name), user=user)
        return str(local)
    _tell(sandbox.files.download_dir(remote, local, _bar(advance, name), user=user))
    return str(local)


def _tell(report: TransferReport) -> None:
    """Say what was left out."""
    for skipped in report.skipped:
        message = f"warning: not copied: {skipped.path}: {skipped.message}"
        click.echo(printable(message), err=True)
    more = report.skipped_count - len(report.skipped)
    if more > 0:
        click.echo(f"warning: and {more} more", err=True)


def _bar(advance: Advance, label: str) -> Callable[[int, int | None], None]:
    return lambda done, total: advance(label, done, total)
