"""What this machine's kernel can do."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from wardian.server.node.doctor.findings import Finding, State
from wardian.server.node.pool_image import loop_obstacle

_TOPIC: Final = "kernel"
_OLDEST: Final = (5, 19)
_NAMESPACES: Final = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time")
_CONTROLLERS: Final = {"memory": True, "pids": True, "cpu": True, "freezer": True, "io": False}


def examine(directory: Path) -> list[Finding]:
    """Looks at version, namespaces, overlay, seccomp, file systems and cgroups.

    Args:
        directory: on the file system that will hold disks; the overlay is tried there.
    """
    return [
        _version(),
        _namespaces(),
        _user_namespaces(),
        _overlay(directory),
        _seccomp(),
        _btrfs(),
        *cgroups(),
    ]


def _version() -> Finding:
    release = platform.release()
    match = re.match(r"(\d+)\.(\d+)", release)
    if match is not None and (int(match[1]), int(match[2])) >= _OLDEST:
        return Finding(_TOPIC, "version", State.OK, release)
    return Finding(
        _TOPIC, "version", State.MISSING, release,
        "sandboxes need 5.19 or newer: overlays on idmapped layers came with it",
        "apt-get install linux-image-amd64 from a newer release, and reboot",
    )  # fmt: skip


def _namespaces() -> Finding:
    absent = [name for name in _NAMESPACES if not Path(f"/proc/self/ns/{name}").exists()]
    if not absent:
        return Finding(_TOPIC, "namespaces", State.OK, ", ".join(_NAMESPACES))
    return Finding(
        _TOPIC, "namespaces", State.MISSING, f"lacks {', '.join(absent)}",
        "a sandbox gets one of each", "boot a kernel that has them",
    )  # fmt: skip


def _user_namespaces() -> Finding:
    limit = _read(Path("/proc/sys/user/max_user_namespaces"))
    if limit.isdecimal() and int(limit) < 64:
        return Finding(
            _TOPIC, "user namespaces", State.MISSING, f"at most {limit}",
            "each sandbox needs one", "sysctl user.max_user_namespaces=100000",
        )  # fmt: skip
    return Finding(_TOPIC, "user namespaces", State.OK, f"at most {limit or 'unknown'}")


def _overlay(directory: Path) -> Finding:
    name = "overlay on idmapped layers"
    if os.geteuid() != 0:
        return Finding(
            _TOPIC, name, State.WARNING, "not tried", "trying it needs root", "sudo wardian doctor"
        )
    existing = next(path for path in (directory, *directory.parents) if path.is_dir())
    with tempfile.TemporaryDirectory(prefix=".wardian-probe-", dir=existing) as scratch:
        result = subprocess.run(
            [sys.executable, "-m", "wardian.server.node.doctor.overlay_probe", scratch],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    if result.returncode == 0:
        return Finding(_TOPIC, name, State.OK, f"tried on {existing}")
    reason = (result.stdout or result.stderr).strip().splitlines()[-1:] or ["failed"]
    return Finding(
        _TOPIC, name, State.MISSING, reason[0],
        f"a sandbox's disk can't be made on the file system of {existing}",
        "use a kernel from 5.19 on; keep WARDIAN_HOME on ext4, xfs or btrfs",
    )  # fmt: skip


def _seccomp() -> Finding:
    actions = _read(Path("/proc/sys/kernel/seccomp/actions_avail"))
    if "errno" in actions.split():
        return Finding(_TOPIC, "seccomp filters", State.OK, "there")
    return Finding(
        _TOPIC, "seccomp filters", State.MISSING, "not there",
        "they keep most of the kernel out of a sandbox's reach",
        "boot a kernel with CONFIG_SECCOMP_FILTER",
    )  # fmt: skip


def _btrfs() -> Finding:
    obstacle = loop_obstacle()
    if obstacle is None:
        return Finding(_TOPIC, "btrfs in a loop file", State.OK, "possible")
    return Finding(
        _TOPIC, "btrfs in a loop file", State.WARNING, obstacle,
        "disks become plain directories: no disk limit, slow copies",
        "apt-get install linux-image-amd64, or keep WARDIAN_HOME on a btrfs",
    )  # fmt: skip


def cgroups() -> list[Finding]:
    """The layout of the cgroup hierarchies, and whether every needed controller is there."""
    mounts = [line.split() for line in _read(Path("/proc/self/mounts")).splitlines()]
    unified = [fields[1] for fields in mounts if fields[2] == "cgroup2"]
    legacy = {word for fields in mounts if fields[2] == "cgroup" for word in fields[3].split(",")}
    found: set[str] = set()
    for path in unified:
        found |= set(_read(Path(path, "cgroup.controllers")).split())
        # Version 2 freezes without a controller.
        found.add("freezer")
    found |= {{"blkio": "io"}.get(word, word) for word in legacy}
    own = legacy & {"memory", "pids", "cpu", "freezer", "blkio"}
    layout = "hybrid" if unified and own else "v2" if unified else "v1" if own else "none"
    if layout == "none":
        return [Finding("cgroups", "layout", State.MISSING, layout, "nothing could be limited",
                        "mount -t cgroup2 none /sys/fs/cgroup")]  # fmt: skip
    findings = [Finding("cgroups", "layout", State.OK, layout)]
    absent = [name for name in _CONTROLLERS if name not in found]
    grave = any(_CONTROLLERS[name] for name in absent)
    if not absent:
        return [*findings, Finding("cgroups", "controllers", State.OK, ", ".join(_CONTROLLERS))]
    return [*findings, Finding(
        "cgroups", "controllers", State.MISSING if grave else State.WARNING,
        f"lacks {', '.join(absent)}", "these limits can't be set",
        "boot with cgroup_enable=memory systemd.unified_cgroup_hierarchy=1",
    )]  # fmt: skip


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
