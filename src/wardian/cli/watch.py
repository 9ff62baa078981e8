"""`watch`: what changes in a sandbox's files, line by line."""

from __future__ import annotations

import click

from ._failures import printable
from ._sandbox_argument import complete


@click.command("watch")
@click.argument("sandbox", shell_complete=complete)
@click.argument("path")
@click.option("--include", multiple=True, metavar="GLOB", help="Only what this names.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Not what this names.")
@click.option("--flat", is_flag=True, help="Only PATH itself, nothing below its directories.")
@click.option("--since", metavar="CURSOR", help="Begin with what changed since then.")
@click.option("-u", "--user", help="Whose home a relative PATH starts in.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def watch_command(
    sandbox: str,
    path: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    flat: bool,
    since: str | None,
    user: str | None,
    as_json: bool,
) -> None:
    """Print what changes below PATH in SANDBOX until Ctrl-C: `wardian watch SANDBOX /workspace`.

    `resync` means that something was missed and the tree must be looked at anew.
    """
    import msgspec

    from wardian import Sandbox

    found = Sandbox.get(sandbox)
    watch = found.files.watch(
        path, recursive=not flat, include=include, exclude=exclude, since=since, user=user
    )
    with watch:
        # Only now is everything that follows seen: who reads this may begin.
        click.echo(f"watching {printable(path)}", err=True)
        for change in watch:
            if as_json:
                # Bytes that are no UTF-8 have no place in JSON.
                shown = msgspec.to_builtins(change)
                for name in ("path", "from_path"):
                    if shown[name] is not None:
                        shown[name] = _text(shown[name])
                click.echo(msgspec.json.encode(shown).decode())
            elif change.type == "resync":
                click.echo(f"resync  {change.reason}")
            else:
                origin = f"{change.from_path} -> " if change.from_path is not None else ""
                end = "/" if change.is_directory else ""
                click.echo(printable(f"{change.type:<7} {_text(origin + change.path)}{end}"))


def _text(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
