"""The argument that names a sandbox, completed from those that run."""

from __future__ import annotations

from collections.abc import Sequence

import click


def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> Sequence[str]:
    """Names and ids of sandboxes that begin as typed; nothing where the server can't be asked."""
    from wardian import Sandbox, WardianError

    try:
        found = [sandbox.name or sandbox.id for sandbox in Sandbox.list()]
    except WardianError:
        return []
    return [name for name in found if name.startswith(incomplete)]
