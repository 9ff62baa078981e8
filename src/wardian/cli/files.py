"""`files`: what lies in a sandbox, from here."""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Any

import click

from ._failures import FAILED, Failure, printable
from ._output import json_option, print_json, size
from .copy import REMOTE

if TYPE_CHECKING:
    from wardian import FileInfo, Sandbox

_user_option = click.option("-u", "--user", help="Whose home relative paths start in.")


@click.group("files")
def files_command() -> None:
    """List, search, print and remove a sandbox's files. PLACE is SANDBOX:PATH."""


def _place(place: str) -> tuple[Sandbox, str]:
    from wardian import Sandbox

    match = REMOTE.fullmatch(place)
    if match is None:
        raise click.UsageError(f"{place} is not SANDBOX:PATH")
    return Sandbox.get(match[1]), match[2]


def _path(path: str) -> dict[str, str]:
    """A path for JSON, which has no bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raw = path.encode("utf-8", "surrogateescape")
        return {
            "path": raw.decode("utf-8", "replace"),
            "path_b64": base64.b64encode(raw).decode(),
        }
    return {"path": path}


def _fields(entry: FileInfo) -> dict[str, Any]:
    return {
        **_path(entry.path),
        "type": entry.type.value,
        "size": entry.size,
        "mode": f"{entry.mode:o}",
        "owner": entry.owner,
        "group": entry.group,
        "modified_at": entry.modified_time,
    }


@files_command.command("ls")
@click.argument("place")
@click.option("-r", "--recursive", is_flag=True, help="Descend into directories.")
@click.option("-a", "--all", "hidden", is_flag=True, help="Also names that begin with a dot.")
@click.option("--glob", help="Only what matches.")
@click.option("--type", "kind", help="Only this kind: file, directory, symlink, …")
@_user_option
@json_option
def ls_command(
    place: str,
    recursive: bool,
    hidden: bool,
    glob: str | None,
    kind: str | None,
    user: str | None,
    as_json: bool,
) -> None:
    """What the directory at PLACE holds."""
    sandbox, path = _place(place)
    entries = sandbox.files.scan(
        path, recursive=recursive, glob=glob, type=kind, hidden=hidden, user=user
    )
    if as_json:
        return print_json([_fields(entry) for entry in entries])
    for entry in entries:
        shown = entry.path if recursive else entry.name
        target = f" -> {entry.symlink_target}" if entry.symlink_target is not None else ""
        moment = f"{entry.modified_time:%Y-%m-%d %H:%M}" if entry.modified_time else "-"
        owner = f"{entry.owner}:{entry.group}"
        click.echo(
            f"{entry.permissions} {owner:<12} {size(entry.size):>10} {moment} "
            f"{printable(shown + target)}"
        )
    return None


@files_command.command("grep")
@click.argument("pattern")
@click.argument("place")
@click.option("-i", "--ignore-case", is_flag=True, help="Upper and lower case are the same.")
@click.option("-F", "--fixed", is_flag=True, help="PATTERN is text, not a regular expression.")
@click.option("-C", "--context", type=int, default=0, help="Lines around each match.")
@click.option("--include", multiple=True, metavar="GLOB", help="Only such files.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="No such files and directories.")
@click.option("--no-gitignore", is_flag=True, help="Also what .gitignore names.")
@click.option("--limit", type=int, default=1000, help="How many lines at most (1000).")
@_user_option
@json_option
def grep_command(
    pattern: str,
    place: str,
    ignore_case: bool,
    fixed: bool,
    context: int,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    no_gitignore: bool,
    limit: int,
    user: str | None,
    as_json: bool,
) -> None:
    """Lines that match PATTERN, in the file or below the directory at PLACE.

    Ends with exit code 1 where there are none.
    """
    sandbox, path = _place(place)
    result = sandbox.files.search(
        pattern,
        path,
        regex=not fixed,
        ignore_case=ignore_case,
        context=context,
        include=include,
        exclude=exclude,
        gitignore=not no_gitignore,
        limit=limit,
        user=user,
    )
    if as_json:
        found = [
            {**_path(each.path), "line": each.line, "text": each.text} for each in result.matches
        ]
        return print_json({"matches": found, "truncated": result.truncated})
    for each in result.matches:
        for line in each.before:
            click.echo(printable(f"{each.path}-{line.line}-{line.text}"))
        click.echo(printable(str(each)))
        for line in each.after:
            click.echo(printable(f"{each.path}-{line.line}-{line.text}"))
    if result.truncated:
        click.echo(f"warning: only the first {limit} lines", err=True)
    if not result.matches:
        raise click.exceptions.Exit(FAILED)
    return None


@files_command.command("cat")
@click.argument("place")
@_user_option
def cat_command(place: str, user: str | None) -> None:
    """Print the file at PLACE as it is."""
    sandbox, path = _place(place)
    for piece in sandbox.files.read(path, "stream", user=user):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


@files_command.command("rm")
@click.argument("place")
@click.option("-f", "--force", is_flag=True, help="Do not mind if there is nothing.")
@_user_option
def rm_command(place: str, force: bool, user: str | None) -> None:
    """Remove what lies at PLACE, with all it holds."""
    sandbox, path = _place(place)
    if not path:
        raise Failure("which file? SANDBOX: alone is the working directory")
    sandbox.files.remove(path, missing_ok=force, user=user)
