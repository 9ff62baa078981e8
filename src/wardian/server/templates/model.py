"""What a template is: the frozen root filesystem and defaults that sandboxes start from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from wardian.server.egress.model import Egress


@dataclass(frozen=True, slots=True)
class TemplateMetadata:
    """The defaults an importer may give beside the root filesystem.

    Args:
        user: who runs a command that names nobody.
        workdir: where a command that names no directory starts; ``None``: the user's home.
        env: environment of every command.
        start_command: what to run once at start, as a shell line; ``None``: nothing.
        egress: what sandboxes may reach that do not refuse it; ``None``: nothing.
    """

    user: str = "root"
    workdir: str | None = None
    env: dict[str, str] = field(default_factory=dict[str, str])
    start_command: str | None = None
    egress: Egress | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """A template as it is stored.

    Args:
        name: unique among the templates a tenant can see.
        layers: layer ids (64 lower-case hexadecimal digits), topmost first, at least one.
        size_bytes: unpacked size of all layers.
        user: default user of commands.
        workdir: default directory of commands; ``None``: the user's home.
        env: environment of every command.
        start_command: shell line to run at start; ``None``: nothing.
        source: where it came from, e.g. ``tar``, ``oci-archive`` or an image reference with digest.
        created_at: when it was stored or last replaced, UTC.
        tenant: whose it is; ``None``: shared by all.
        egress: what its sandboxes may reach that do not refuse it; ``None``: nothing.
    """

    name: str
    layers: tuple[str, ...]
    size_bytes: int
    user: str
    workdir: str | None
    env: dict[str, str]
    start_command: str | None
    source: str
    created_at: datetime
    tenant: str | None = None
    egress: Egress | None = None


@dataclass(frozen=True, slots=True)
class PullRequest:
    """An image to fetch from a registry.

    Args:
        reference: ``[registry/]repository[:tag][@digest]``.
        username: registry login; ``None``: anonymous.
        password: its password; never shown or logged.
        plain_http: speak HTTP instead of HTTPS to the registry.
    """

    reference: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    plain_http: bool = False


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far one layer of a pull is.

    Args:
        layer: its digest in the registry.
        index: which layer, from 0, bottom first.
        count: how many layers the image has.
        bytes: compressed bytes fetched so far.
        total: compressed size in bytes.
    """

    layer: str
    index: int
    count: int
    bytes: int
    total: int


@dataclass(frozen=True, slots=True)
class PullDone:
    """The pull is complete and the template is stored."""

    template: Template


PullEvent = PullProgress | PullDone
