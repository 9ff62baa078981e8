"""The node's configuration file, ``node.json``, written by set-up and read by every part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct


class ConfigurationError(Exception):
    """The configuration can't be used; the process ends with status 64."""


class Tls(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the public listener's certificate and key lie."""

    certificate: str
    key: str


class Binaries(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the Rust parts lie."""

    agent: str
    edge: str
    launcher: str


class Pool(Struct, frozen=True, forbid_unknown_fields=True):
    """The disk pool; ``image`` ``None``: ``path`` is on a file system of the host."""

    path: str
    kind: Literal["btrfs", "plain"]
    image: str | None


class PackageSources(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the node's own clients fetch packages from: hosts (``name`` or ``name:port``), and the
    variables that make the same clients in a sandbox do so too.
    """

    hosts: list[str] = []
    env: dict[str, str] = {}


class Handlers(Struct, frozen=True, forbid_unknown_fields=True):
    """The process of the operator's egress handlers: how it is started, the directory of its files,
    and whom it runs as.
    """

    command: list[str]
    path: str
    uid: Annotated[int, Meta(ge=0)]
    gid: Annotated[int, Meta(ge=0)]


class Configuration(Struct, frozen=True, forbid_unknown_fields=True):
    """``node.json``; unknown keys are refused."""

    home: str
    run: str
    instance: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}$(?!\n)")]
    listen: str
    domain: str
    tls: Tls | None
    control_uid: Annotated[int, Meta(ge=0)]
    edge_uid: Annotated[int, Meta(ge=0)]
    gid: Annotated[int, Meta(ge=0)]
    binaries: Binaries
    control_command: list[str]
    pool: Pool
    uid_base: Annotated[int, Meta(ge=1)]
    uid_slots: Annotated[int, Meta(ge=1)]
    parked: Annotated[int, Meta(ge=0)]
    # Addresses of proxies in front whose X-Forwarded-* are believed.
    trusted_proxies: list[str] = []
    # PEM files of the certificates that servers out there are verified against; none: the system's.
    trust: list[str] = []
    # Holds what the key of secrets is wrapped under; None: it is not wrapped.
    passphrase: str | None = None
    packages: PackageSources = PackageSources()
    # None: there are none, and rules that name one fail.
    handlers: Handlers | None = None

    @property
    def control_home(self) -> Path:
        """What the control plane keeps: database, spool, key files."""
        return Path(self.home) / "control"

    @property
    def control_run(self) -> Path:
        """Where the control plane's sockets lie."""
        return Path(self.run) / "control"

    @property
    def launcher_socket(self) -> Path:
        """The launcher's socket."""
        return Path(self.run) / "launcher.sock"

    @property
    def seeds(self) -> Path:
        """Templates that set-up offers for import."""
        return Path(self.home) / "seed"

    @property
    def spool(self) -> Path:
        """Where uploads wait until the launcher has taken them."""
        return self.control_home / "spool"


def load(path: Path) -> Configuration:
    """Reads and checks ``node.json``.

    Args:
        path: the file.

    Raises:
        ConfigurationError: it is not there, not readable or not as it must be.
    """
    try:
        configuration = msgspec.json.decode(path.read_bytes(), type=Configuration)
    except OSError as error:
        raise ConfigurationError(f"can't read {path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    for name in ("home", "run"):
        if not Path(getattr(configuration, name)).is_absolute():
            raise ConfigurationError(f"{path}: {name} must be an absolute path")
    return configuration


def database_url(configuration: Configuration) -> str | None:
    """The PostgreSQL URL in ``control/database-url``, or ``None`` for SQLite.

    Raises:
        ConfigurationError: the file is there but not readable or holds no PostgreSQL URL.
    """
    path = configuration.control_home / "database-url"
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"can't read {path}") from error
    scheme, found, rest = text.partition("://")
    if not found or scheme not in ("postgresql", "postgres"):
        raise ConfigurationError(f"{path}: expected one line postgresql://…")
    return f"postgresql+asyncpg://{rest}"
