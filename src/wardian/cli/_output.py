"""What commands print: tables for people, JSON for programs, bars for long work."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click

from ._failures import printable

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: object) -> None:
    """Print a value of the SDK as JSON."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under headings, aligned. Without rich: importing it takes longer than asking."""
    lines = [list(columns), *([printable(_cell(value)) for value in row] for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    for line in lines:
        cells = zip(line, widths, strict=True)
        click.echo("   ".join(f"{cell:<{width}}" for cell, width in cells).rstrip())


def fields(pairs: Sequence[tuple[str, object]]) -> None:
    """Print names and values, one a line."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        click.echo(f"{name:<{width}}  {printable(_cell(value))}")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, dict):
        pairs: dict[Any, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return " ".join(f"{key}={pairs[key]}" for key in sorted(pairs)) or "-"
    return str(value)


def size(count: int | None) -> str:
    """Bytes in the unit that suits."""
    if count is None:
        return "-"
    number = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError("unreachable")


def ago(moment: datetime | None) -> str:
    """How long ago, or from now, a moment is."""
    if moment is None:
        return "-"
    seconds = (datetime.now(UTC) - moment).total_seconds()
    count = abs(seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if count >= length:
            text = f"{int(count // length)}{unit}"
            break
    else:
        text = f"{int(count)}s"
    return f"{text} ago" if seconds >= 0 else f"in {text}"


@contextmanager
def progress_bars(visible: bool = True) -> Generator[Callable[[str, int, int | None], None]]:
    """Bars on standard error while something takes long.

    Args:
        visible: False where the output is for a program.

    Yields:
        A function that sets a bar: its label, the bytes done, and the total or None.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
    )
    bars: dict[str, TaskID] = {}
    shown = visible and console.is_terminal
    with Progress(*columns, console=console, disable=not shown) as progress:

        def advance(label: str, done: int, total: int | None) -> None:
            if label not in bars:
                bars[label] = progress.add_task(printable(label), total=total)
            progress.update(bars[label], completed=done, total=total)

        yield advance
