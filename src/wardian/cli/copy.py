"""`cp`: files and directories into and out of a sandbox."""

from __future__ import annotations

import posixpath
import re
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ._failures import Failure, printable
from ._output import json_option, print_json, progress_bars
from ._tar import pack, unpack

if TYPE_CHECKING:
    from wardian import Sandbox

Advance = Callable[[str, int, int | None], None]

_REMOTE = re.compile(r"([a-z0-9][a-z0-9-]{0,62}):(.*)", re.DOTALL)


@click.command("cp")
@click.argument("source")
@click.argument("target")
@click.option(
    "-u", "--user", help="Who owns what is copied in, and whose home relative paths start in."
)
@json_option
def cp_command(source: str, target: str, user: str | None, as_json: bool) -> None:
    """Copy SOURCE to TARGET, one of which is SANDBOX:PATH.

    A directory is copied whole. A target that is a directory gets the source inside it. A local
    path that looks like SANDBOX:PATH is written ./SANDBOX:PATH.
    """
    from wardian import Sandbox

    far_source, far_target = _REMOTE.fullmatch(source), _REMOTE.fullmatch(target)
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
    staged = _staged()
    with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        pack(local, archive)
        archive.flush()
        target = sandbox.files.mkdir(remote, exist_ok=True, user=user).path
        try:
            sandbox.files.upload(archive.name, staged, _bar(advance, local.name), user=user)
            command = ["tar", "-x", "-f", staged, "-C", target, "--no-same-owner"]
            _checked(sandbox, command, user)
        finally:
            sandbox.files.remove(staged, user=user)
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
    staged = _staged()
    with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        try:
            _checked(sandbox, ["tar", "-c", "-f", staged, "-C", entry.path, "."], user)
            sandbox.files.download(staged, archive.name, _bar(advance, name), user=user)
        finally:
            sandbox.files.remove(staged, user=user)
        for skipped in unpack(Path(archive.name), local):
            click.echo(f"warning: not copied: {printable(skipped)}", err=True)
    return str(local)


def _staged() -> str:
    return f"/tmp/.wardian-cp-{secrets.token_hex(8)}.tar"


def _checked(sandbox: Sandbox, command: list[str], user: str | None) -> None:
    result = sandbox.run(command, user=user)
    if not result.ok:
        said = result.stderr.strip().splitlines()[-1:] or [f"exit code {result.exit_code}"]
        raise Failure(f"tar in the sandbox failed: {said[0][:500]}")


def _bar(advance: Advance, label: str) -> Callable[[int, int | None], None]:
    return lambda done, total: advance(label, done, total)
