"""Debian packages a node needs, installed when they are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from typing import Final

from wardian.server.node.progress import Report
from wardian.server.node.setup_error import SetupError

#: What every node needs: the disk pool's tools, the template builder and its keys.
NODE: Final = (
    "btrfs-progs",
    "ca-certificates",
    "debian-archive-keyring",
    "mmdebstrap",
    "util-linux",
    "zstd",
)
#: What the test suite and the benchmarks compare with or talk to.
TEST: Final = (
    "busybox-static",
    "chromium",
    "docker-registry",
    "gh",
    "openssh-server",
    "podman",
    "postgresql",
    "redis-server",
    "runc",
    "skopeo",
    "wrk",
    # Other distributions of Node.js bring npm along and can't be installed beside Debian's.
    *(() if shutil.which("npm") else ("nodejs", "npm")),
)


def missing(names: Iterable[str]) -> list[str]:
    """Those of ``names`` that are not installed.

    Raises:
        SetupError: this is no Debian-like system.
    """
    wanted = list(names)
    if shutil.which("dpkg-query") is None:
        raise SetupError(
            "this is not a Debian or Ubuntu system: dpkg-query is not there",
            f"install by hand what these packages hold: {' '.join(wanted)}",
        )
    listing = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *wanted],
        capture_output=True,
        text=True,
        check=False,
    )
    installed = {
        line.split()[0] for line in listing.stdout.splitlines() if line.endswith(" installed")
    }
    return [name for name in wanted if name not in installed]


def install(names: Iterable[str], report: Report) -> None:
    """Installs those of ``names`` that are missing, with apt, asking nothing.

    Raises:
        SetupError: apt failed; its last lines are in the message.
    """
    absent = missing(names)
    if not absent:
        return
    report(f"installing {' '.join(absent)}")
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *absent]
    failure = _apt(command)
    if failure is not None:
        # The package lists are missing or old on most fresh machines.
        report("refreshing the package lists")
        failure = _apt(["apt-get", "update"]) or _apt(command)
    if failure is not None:
        raise SetupError(
            f"apt could not install {' '.join(absent)}:\n{failure}",
            f"apt-get update && apt-get install {' '.join(absent)}",
        )


def _apt(command: list[str]) -> str | None:
    """Runs apt; the end of its output if it failed."""
    result = subprocess.run(
        [*command, "-qq", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=120"],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return None if result.returncode == 0 else "\n".join(result.stdout.splitlines()[-15:])
