"""A sandbox as the host's kernel has it: ids, capabilities, descriptors, namespaces."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration import host

from wardian import Sandbox

# docs/decisions/0001: what a package manager and sudo need, and nothing over the machine.
_CAPABILITIES = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7,
    "SETPCAP": 8, "NET_BIND_SERVICE": 10, "NET_RAW": 13, "SYS_CHROOT": 18, "MKNOD": 27,
    "AUDIT_WRITE": 29, "SETFCAP": 31,
}  # fmt: skip
_SLOT = 65536
_NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time")


def _agent_of(node: Any, sandbox: Sandbox) -> int:
    """Host pid of a sandbox's agent, from the launcher's record."""
    record = json.loads(Path(node.run, "launcher", "sandboxes", f"{sandbox.id}.json").read_text())
    pid = int(record["phase"]["pid"])
    assert _status(pid)["NSpid"].split()[-1] == "1"
    return pid


def _processes_of(node: Any, sandbox: Sandbox) -> list[int]:
    """Every process with the users of a sandbox's agent."""
    users = os.readlink(f"/proc/{_agent_of(node, sandbox)}/ns/user")
    found: list[int] = []
    for process in host.processes():
        try:
            if os.readlink(f"/proc/{process.pid}/ns/user") == users:
                found.append(process.pid)
        except OSError:
            continue
    return found


@pytest.fixture
def busy(base: Sandbox, node: Any) -> Iterator[list[int]]:
    """Host pids of a sandbox's agent, of a command of root, of `user`, and of one under sudo."""
    commands = [
        base.spawn(["sleep", "1000"], user="root"),
        base.spawn(["sleep", "1000"], user="user"),
        base.spawn(["sudo", "-n", "sleep", "1000"], user="user"),
    ]
    try:
        base.run("until test $(pgrep -c -x sleep) -ge 3; do sleep 0.1; done", user="root")
        yield _processes_of(node, base)
    finally:
        for command in commands:
            command.kill()
        base.run(["pkill", "-x", "sleep"], user="root")


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _ids(pid: int) -> set[int]:
    status = _status(pid)
    return {int(word) for field in ("Uid", "Gid", "Groups") for word in status[field].split()}


def test_no_process_is_anybody_on_the_host(busy: list[int], node: Any) -> None:
    assert len(busy) >= 4
    ids = set[int]().union(*(_ids(pid) for pid in busy))
    slots = {(number - node.uid_base) // _SLOT for number in ids}
    assert min(ids) >= node.uid_base
    assert len(slots) == 1


def test_two_sandboxes_share_no_id(base: Sandbox, other: Sandbox, node: Any) -> None:
    slots = [
        (min(_ids(_agent_of(node, sandbox))) - node.uid_base) // _SLOT for sandbox in (base, other)
    ]
    assert slots[0] != slots[1]
    maps = [
        Path(f"/proc/{_agent_of(node, sandbox)}/uid_map").read_text().split()
        for sandbox in (base, other)
    ]
    assert [row[2] for row in maps] == ["65536", "65536"]


def test_capabilities_are_exactly_those_named(busy: list[int]) -> None:
    expected = sum(1 << bit for bit in _CAPABILITIES.values())
    for pid in busy:
        status = _status(pid)
        agent = status["NSpid"].split()[-1] == "1"
        assert int(status["CapBnd"], 16) == expected, status["Name"]
        assert int(status["CapEff"], 16) & ~expected == 0, status["Name"]
        assert int(status["CapAmb"], 16) == 0 or agent
        assert status["Seccomp"] == "2"


def test_every_namespace_is_its_own(busy: list[int]) -> None:
    for kind in _NAMESPACES:
        inside = {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in busy}
        assert len(inside) == 1, kind
        assert os.readlink(f"/proc/self/ns/{kind}") not in inside, kind


def test_no_descriptor_leads_outside(busy: list[int]) -> None:
    outside = _host_sockets()
    for pid in busy:
        mounts = {
            line.split()[0] for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        }
        own = _sockets_of(pid)
        for link in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(link)
            inode = re.fullmatch(r"socket:\[(\d+)]", target)
            if inode is not None:
                assert inode[1] not in outside - own, f"{target} of the host in {pid}"
            elif target.startswith("/") and "memfd:" not in target:
                info = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text()
                mount = re.search(r"^mnt_id:\s*(\d+)$", info, re.MULTILINE)
                assert mount is not None
                assert mount[1] in mounts, f"{target} ({link.name} of {pid}) is mounted elsewhere"


def _host_sockets() -> set[str]:
    """Inodes of the sockets of this process's network, and of every Unix socket there."""
    return _sockets_of(os.getpid())


def _sockets_of(pid: int) -> set[str]:
    found: set[str] = set()
    for name, column in (("unix", 6), ("tcp", 9), ("tcp6", 9), ("udp", 9), ("udp6", 9)):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            found.add(line.split()[column])
    return found


def test_the_agent_keeps_no_boot_descriptor(base: Sandbox, node: Any) -> None:
    agent = _agent_of(node, base)
    targets = [os.readlink(link) for link in Path(f"/proc/{agent}/fd").iterdir()]
    assert [target for target in targets if "memfd" in target] == []


def test_root_working_directory_and_program_lie_inside(busy: list[int]) -> None:
    for pid in busy:
        root = os.stat(f"/proc/{pid}/root/")
        assert (root.st_dev, root.st_ino) != (os.stat("/").st_dev, os.stat("/").st_ino)
        mounts = {
            line.split()[2] for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        }
        where = os.stat(f"/proc/{pid}/cwd/").st_dev
        assert f"{os.major(where)}:{os.minor(where)}" in mounts


def test_nothing_of_the_hosts_environment_comes_in(busy: list[int], node: Any) -> None:
    for pid in busy:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert node.marker.encode() not in environment
        assert b"CARGO" not in environment
        assert b"PYTEST" not in environment
        assert b"WARDIAN_HOME" not in environment


def test_processes_of_the_host_are_not_seen(base: Sandbox, found_pids: dict[str, str]) -> None:
    assert "1" in found_pids
    foreign = [line for line in found_pids.values() if "pytest" in line or "wardian-edge" in line]
    assert foreign == []
    assert len(found_pids) < 40


@pytest.fixture
def found_pids(base: Sandbox) -> dict[str, str]:
    """Command lines of all processes that root inside can see."""
    script = (
        "import glob,json\n"
        "print(json.dumps({p.split('/')[2]: open(p,'rb').read().decode(errors='replace')"
        " for p in glob.glob('/proc/[0-9]*/cmdline')}))"
    )
    return json.loads(base.run(["python3", "-c", script], user="root", check=True).stdout)


def test_mounts_do_not_come_back_to_the_host(base: Sandbox, node: Any) -> None:
    """No mount of a sandbox is shared with the host's, or could later become so."""
    agent = _agent_of(node, base)
    for line in Path(f"/proc/{agent}/mountinfo").read_text().splitlines():
        assert "shared:" not in line, line
    # The host sees the name of the wire, and nothing of the file system.
    here = Path("/proc/self/mountinfo").read_text().splitlines()
    assert [line for line in here if base.id in line and " - nsfs " not in line] == []
