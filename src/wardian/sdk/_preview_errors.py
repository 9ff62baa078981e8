"""Errors about letting others into a sandbox.

::

    ApiError
    ├── NotFound
    │   └── ExposureNotFound
    └── Conflict
        ├── TokenTaken
        ├── SandboxEnded
        └── SandboxPaused
"""

from __future__ import annotations

from ._errors import Conflict, NotFound


class ExposureNotFound(NotFound):
    """The port is not exposed."""


class TokenTaken(Conflict):
    """Another port of the sandbox is exposed under that token."""


class SandboxEnded(Conflict):
    """The sandbox has ended."""


class SandboxPaused(Conflict):
    """The sandbox is paused."""
