"""What the control plane and the agent say about sandboxes, templates, keys and files."""

from __future__ import annotations

import stat
from datetime import datetime
from enum import Enum
from typing import Literal

import msgspec

State = Literal["creating", "running", "paused", "asleep", "ended"]
Traffic = Literal["public", "private"]


class Limits(msgspec.Struct, omit_defaults=True, frozen=True):
    """What a sandbox may use; None leaves it to the template or the server.

    Attributes:
        cpu: CPUs, fractions allowed.
        memory_mb: Memory in MiB.
        disk_mb: Disk in MiB, beyond the template.
        pids: Processes and threads.
    """

    cpu: float | None = None
    memory_mb: int | None = None
    disk_mb: int | None = None
    pids: int | None = None


class AgentAccess(msgspec.Struct, frozen=True):
    """How the sandbox's agent is reached.

    Attributes:
        token: Proof that one may use it; a secret.
        port: Its port in the sandbox.
    """

    token: str
    port: int = 49983

    def __repr__(self) -> str:
        return f"AgentAccess(token=…, port={self.port})"


class SandboxInfo(msgspec.Struct, frozen=True, rename={"class_": "class"}):
    """The control plane's record of a sandbox.

    Attributes:
        id: 20 characters of `a-z2-7`, never reused.
        state: `creating`, `running`, `paused`, `asleep` or `ended`.
        name: Unique among the tenant's sandboxes, or None.
        reason: Why it ended, once it has.
        template: The template it started from.
        class_: Its isolation class.
        labels: The caller's own words about it.
        expires_at: When it ends by itself; None is never.
        domain: Its ports are at `{port}-{id}.{domain}`.
        traffic_token: What private ports ask for; a secret.
    """

    id: str
    state: str
    template: str
    created_at: datetime
    name: str | None = None
    reason: str | None = None
    class_: str = "container"
    labels: dict[str, str] = {}
    started_at: datetime | None = None
    expires_at: datetime | None = None
    ended_at: datetime | None = None
    limits: Limits = Limits()
    user: str | None = None
    workdir: str | None = None
    traffic: str = "public"
    agent: AgentAccess | None = None
    traffic_token: str | None = None
    domain: str = "localhost"

    def __repr__(self) -> str:
        return f"SandboxInfo(id={self.id!r}, name={self.name!r}, state={self.state!r})"


class SandboxPage(msgspec.Struct):
    """One page of a listing."""

    sandboxes: list[SandboxInfo]
    next_cursor: str | None = None


class Usage(msgspec.Struct, frozen=True):
    """What a sandbox has used; the last known numbers once it has ended.

    Attributes:
        cpu_seconds: CPU time of all its processes, since it started.
        memory_bytes: Memory now.
        memory_peak_bytes: Memory at most so far; None where the kernel does not say.
        pids: Processes and threads now.
        disk_bytes: What its writable layer holds; None where the pool does not say.
        oom_kills: Processes killed for want of memory.
        egress_bytes_sent: Bytes it sent out.
        egress_bytes_received: Bytes it got from out there.
    """

    cpu_seconds: float = 0.0
    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    pids: int | None = None
    disk_bytes: int | None = None
    oom_kills: int | None = None
    egress_bytes_sent: int = 0
    egress_bytes_received: int = 0


class Template(msgspec.Struct, frozen=True):
    """A frozen root filesystem with defaults."""

    name: str
    size_bytes: int | None = None
    layers: list[str] | int | None = None
    user: str | None = None
    workdir: str | None = None
    env: dict[str, str] = {}
    start_command: str | list[str] | None = None
    created_at: datetime | None = None
    source: str | None = None


class TemplateList(msgspec.Struct):
    """All templates."""

    templates: list[Template]


class ApiKey(msgspec.Struct, frozen=True):
    """An API key; `key` itself is told only once, when it is made."""

    id: str
    name: str = ""
    scopes: list[str] | None = None
    key: str | None = None
    prefix: str | None = None
    created_at: datetime | None = None
    last_used_at: datetime | None = None


class KeyList(msgspec.Struct):
    """All API keys."""

    keys: list[ApiKey]


class FileType(Enum):
    """What lies at a path."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    FIFO = "fifo"
    SOCKET = "socket"
    BLOCK = "block"
    CHAR = "char"
    UNSPECIFIED = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> FileType:
        return cls.UNSPECIFIED


class FileInfo(msgspec.Struct, frozen=True):
    """A file, directory or other thing in a sandbox.

    Attributes:
        name: The last part of the path. Bytes that are no UTF-8 are surrogate escapes, as in
            `os.fsdecode`.
        path: Absolute.
        type: What it is; a symbolic link is one, wherever it leads.
        size: Bytes.
        mode: Permission bits.
        owner: User's name or number.
        group: Group's name or number.
        modified_time: When the content last changed.
        symlink_target: What a symbolic link says.
        target_type: What a symbolic link leads to; None if to nothing.
        metadata: What was kept on it by E2B's calls; told by `stat` alone.
    """

    name: str = ""
    path: str = ""
    type: FileType = FileType.UNSPECIFIED
    size: int = 0
    mode: int = 0
    owner: str = ""
    group: str = ""
    modified_time: datetime | None = None
    symlink_target: str | None = None
    target_type: FileType | None = None
    metadata: dict[str, str] = {}

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file, or a link to one."""
        return FileType.FILE in (self.type, self.target_type)

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory, or a link to one."""
        return FileType.DIRECTORY in (self.type, self.target_type)

    @property
    def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return self.type is FileType.SYMLINK

    @property
    def permissions(self) -> str:
        """Kind and permission bits in `ls -l`'s writing."""
        return stat.filemode(_KIND_BITS.get(self.type, 0) | self.mode)


_KIND_BITS = {
    FileType.FILE: stat.S_IFREG,
    FileType.DIRECTORY: stat.S_IFDIR,
    FileType.SYMLINK: stat.S_IFLNK,
    FileType.FIFO: stat.S_IFIFO,
    FileType.SOCKET: stat.S_IFSOCK,
    FileType.BLOCK: stat.S_IFBLK,
    FileType.CHAR: stat.S_IFCHR,
}
