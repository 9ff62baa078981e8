"""The control plane: API, lifecycle, policy and records of one node."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """The version of the distribution; ``0`` in a checkout that is not installed."""
    try:
        return metadata.version("wardian")
    except metadata.PackageNotFoundError:
        return "0"
