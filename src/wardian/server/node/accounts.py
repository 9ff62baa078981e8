"""The unprivileged users a node's processes run as."""

from __future__ import annotations

import grp
import pwd
import subprocess
from dataclasses import dataclass
from typing import Final

from wardian.server.node.progress import Report
from wardian.server.node.setup_error import SetupError

GROUP: Final = "wardian"
CONTROL: Final = "wardian"
EDGE: Final = "wardian-edge"
#: Runs the operator's egress handlers; in no group of the node's, for it needs none of its files.
HANDLERS: Final = "wardian-handlers"


@dataclass(frozen=True, slots=True)
class Accounts:
    """Their numbers.

    Args:
        control_uid: user of the control plane.
        edge_uid: user of the edge.
        gid: the group of both.
        handlers_uid: user of the egress handlers.
        handlers_gid: the group of that user alone.
    """

    control_uid: int
    edge_uid: int
    gid: int
    handlers_uid: int
    handlers_gid: int


def ensure(report: Report) -> Accounts:
    """Makes the users and their groups where they are missing.

    Raises:
        SetupError: one could not be made, or exists but is not what it must be.
    """
    gid, handlers_gid = (_ensure_group(name, report) for name in (GROUP, HANDLERS))
    control, edge = (_ensure_user(name, GROUP, gid, report) for name in (CONTROL, EDGE))
    handlers = _ensure_user(HANDLERS, HANDLERS, handlers_gid, report)
    return Accounts(control, edge, gid, handlers, handlers_gid)


def _ensure_group(name: str, report: Report) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        report(f"making group {name}")
        _run("groupadd", "--system", name)
        return grp.getgrnam(name).gr_gid


def _ensure_user(name: str, group: str, gid: int, report: Report) -> int:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        report(f"making user {name}")
        _run(
            "useradd", "--system", "--gid", str(gid), "--no-create-home",
            "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", name,
        )  # fmt: skip
        entry = pwd.getpwnam(name)
    if entry.pw_uid == 0 or entry.pw_gid != gid:
        raise SetupError(
            f"user {name} exists, but is root or not in group {group}",
            f"usermod --gid {group} {name}",
        )
    return entry.pw_uid


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise SetupError(f"{' '.join(command)} failed: {result.stderr.strip()}", " ".join(command))
