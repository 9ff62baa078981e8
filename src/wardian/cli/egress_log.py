"""`egress log`: what a sandbox reached, and what it was refused."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

import click

from ._failures import printable
from ._output import size
from ._sandbox_argument import complete

if TYPE_CHECKING:
    from wardian import EgressEvent

_COLOURS = {"allowed": "green", "denied": "red", "failed": "yellow", "attempt": "magenta"}


@click.command("log")
@click.argument("sandbox", shell_complete=complete)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on.")
@click.option("--denied", is_flag=True, help="Only what was refused.")
@click.option("--verdict", type=click.Choice(list(_COLOURS)), help="Only of this verdict.")
@click.option(
    "--kind",
    type=click.Choice(["name", "connection", "request", "packet"]),
    help="Only of this kind.",
)
@click.option("--host", help="Only towards this name or address.")
@click.option("-n", "--limit", type=int, default=100, help="How many past ones (100).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def log(
    sandbox: str,
    follow: bool,
    denied: bool,
    verdict: str | None,
    kind: str | None,
    host: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Print what SANDBOX reached and what it was refused, an event a line, the oldest first."""
    from wardian import Sandbox

    if denied and verdict is not None:
        raise click.UsageError("give --denied or --verdict")
    verdict = "denied" if denied else verdict
    egress = Sandbox.get(sandbox).egress
    # What happens between the two calls is told by the second.
    past = list(islice(egress.events(verdict=verdict, kind=kind, host=host), max(0, limit)))
    _show(reversed(past), as_json)
    if follow:
        since = past[0].id if past else None
        with egress.follow(verdict=verdict, kind=kind, host=host, since=since) as events:
            _show(events, as_json)


def _show(events: Iterable[EgressEvent], as_json: bool) -> None:
    import msgspec

    for event in events:
        click.echo(msgspec.json.encode(event).decode() if as_json else line(event))


def line(event: EgressEvent) -> str:
    """An event for people, on one line."""
    where = f"{event.host}:{event.port}" if event.port else event.host
    what = f"{event.method} {where}{event.path or ''}" if event.method else where
    words = [f"{event.kind:<10}", what]
    words += [str(event.status)] if event.status is not None else []
    words += [f"({event.reason})"] if event.reason else []
    words += [f"[{event.rule}]"] if event.rule else []
    words += [f"secrets={','.join(event.secrets)}"] if event.secrets else []
    words += [f"handler={event.handler}"] if event.handler else []
    if event.sent or event.received:
        words.append(f"{size(event.sent)} out, {size(event.received)} in")
    verdict = click.style(f"{event.verdict:<7}", fg=_COLOURS.get(event.verdict))
    # What a sandbox asks for may hold escape sequences for the terminal.
    rest = printable(" ".join(words)).replace("\n", "\ufffd").replace("\t", "\ufffd")
    return f"{event.time.astimezone():%H:%M:%S}  {verdict}  {rest}"
