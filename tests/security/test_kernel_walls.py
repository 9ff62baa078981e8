"""What the kernel refuses to code in a sandbox, be it root there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from wardian import Sandbox

from . import attack

_REFUSED = {"EPERM", "EACCES", "ENOSYS", "SIGSYS"}
_NO_SUCH_FAMILY = _REFUSED | {"EAFNOSUPPORT", "ESOCKTNOSUPPORT", "EPROTONOSUPPORT"}
# The agent is out of reach whether the kernel says so or has no such process for the caller.
_EXPECTED = {
    "chroot_then_up": {"EPERM", "ENOENT"},
    "netlink_add_link": _REFUSED | {"EOPNOTSUPP"},
    "netlink_firewall": _NO_SUCH_FAMILY,
}
# A clone with the shell of another architecture's numbers, a file only root could open, …: 100
# and more. Fewer would mean that the program skipped some.
_FEWEST_PROBES = 100


def _unexpected(outcomes: dict[str, str]) -> dict[str, str]:
    def fits(name: str, outcome: str) -> bool:
        if name.startswith("allowed_"):
            return outcome == "ok"
        if name.startswith("socket_family_"):
            return outcome in _NO_SUCH_FAMILY
        return outcome in _EXPECTED.get(name, _REFUSED)

    return {name: outcome for name, outcome in outcomes.items() if not fits(name, outcome)}


@pytest.mark.parametrize("user", ["root", "user"])
def test_every_dangerous_system_call_is_refused(base: Sandbox, user: str) -> None:
    outcomes: dict[str, str] = attack.run(base, "syscalls.py", user=user)
    assert len(outcomes) >= _FEWEST_PROBES
    assert _unexpected(outcomes) == {}


def test_the_32_bit_gate_is_closed(base: Sandbox) -> None:
    source = attack.put(base, "int80.c")
    base.run(["gcc", "-O1", "-o", "/tmp/int80", source], user="root", check=True)
    result = base.run(["/tmp/int80"], user="root")
    numbers = [int(word) for word in result.stdout.split()]
    assert all(number < 0 for number in numbers)
    assert result.exit_code != 0 or len(numbers) == 3


@pytest.fixture(scope="module")
def found(base: Sandbox, node: Any) -> dict[str, Any]:
    """What root inside can open, write and make."""
    return attack.run(base, "walk.py", *_devices_of_the_host())


def _devices_of_the_host() -> list[str]:
    """What holds the host's files, and the usual ways to its memory, as "kind:major:minor"."""
    numbers = {os.stat(path).st_dev for path in ("/", "/var/lib", "/tmp")}
    with open("/proc/partitions") as file:
        disks = [line.split()[:2] for line in file.readlines()[2:]]
    return [
        *(f"b:{os.major(number)}:{os.minor(number)}" for number in sorted(numbers)),
        *(f"b:{major}:{minor}" for major, minor in disks[:4]),
        *("c:1:1", "c:1:2", "c:1:4", "c:1:11", "c:10:200", "c:10:229", "c:10:237"),
    ]


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_nothing_of_the_kernel_is_writable(found: dict[str, Any]) -> None:
    assert found["proc_sys"] == []
    assert found["sys"] == []
    assert found["proc_rest"] == []
    assert found["triggers"] == []


def test_what_tells_about_the_host_is_masked(found: dict[str, Any]) -> None:
    assert found["secrets"] == []


def test_no_cgroup_file_is_visible(found: dict[str, Any]) -> None:
    assert found["cgroup_files"] == []
    kinds = {kind for _, _, kind in found["mounts"]}
    assert kinds.isdisjoint({"cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "bpf"})


def test_dev_holds_only_what_every_program_expects(found: dict[str, Any]) -> None:
    usual = {
        "/dev/null": [1, 3],
        "/dev/zero": [1, 5],
        "/dev/full": [1, 7],
        "/dev/random": [1, 8],
        "/dev/urandom": [1, 9],
        "/dev/tty": [5, 0],
    }
    rest = {
        path: number
        for path, number in found["devices"].items()
        if usual.get(path) != number and not path.startswith("/dev/pts/") and path != "/dev/ptmx"
    }
    assert rest == {}
    assert found["device_places"] == []


def test_device_nodes_of_the_host_cannot_be_used(found: dict[str, Any]) -> None:
    assert len(found["nodes"]) >= 4
    assert [where for where, outcome in found["nodes"].items() if outcome == "opened"] == []


def test_the_terminal_of_another_is_out_of_reach(base: Sandbox) -> None:
    """A terminal's input can't be pushed by someone who does not own it."""
    terminal = base.pty(["cat"])
    try:
        script = (
            "import fcntl,os,glob,termios\n"
            "for path in glob.glob('/dev/pts/[0-9]*'):\n"
            "    try:\n"
            "        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)\n"
            "        fcntl.ioctl(fd, termios.TIOCSTI, b'x')\n"
            "        print('pushed', path)\n"
            "    except OSError as error: print('refused', error.errno)\n"
        )
        said = base.run(["python3", "-c", script], user="nobody", cwd="/", check=True).stdout
        assert "refused" in said
        assert "pushed" not in said
    finally:
        terminal.kill()


def test_the_agent_cannot_be_replaced_stopped_or_killed(base: Sandbox, node: Any) -> None:
    program = node.configuration.binaries.agent
    before = _digest(program)
    script = (
        "for how in 'w' 'a'; do\n"
        "  python3 -c \"open('/proc/1/exe', '$how')\" 2>/dev/null && echo opened-$how\n"
        "done\n"
        "path=$(readlink /proc/1/exe || echo /proc/1/exe)\n"
        'echo x 2>/dev/null > "$path" && echo wrote\n'
        'rm "$path" 2>/dev/null && echo removed\n'
        'mv /bin/true "$path" 2>/dev/null && echo moved\n'
        "for signal in STOP KILL TERM INT HUP SEGV ABRT; do kill -$signal 1; done 2>/dev/null\n"
        "echo done"
    )
    assert base.run(script, user="root", cwd="/").stdout == "done\n"
    assert base.run("echo still here", user="user").stdout == "still here\n"
    assert _digest(program) == before


def test_no_way_leads_to_files_of_the_host(base: Sandbox, tmp_path: Any) -> None:
    """The names by which deny-lists have been walked around."""
    mark = tmp_path / "wardian-mark"
    mark.write_text("of the host")
    tries = [
        f"{top}{mark}"
        for top in (
            "", "/proc/1/root", "/proc/self/root", "/proc/1/cwd/../../../..",
            "/proc/self/fd/0/../../../..", "/dev/fd/../../..", "/../../../..",
            "/proc/self/task/1/root", "/proc/thread-self/root/..",
        )
    ]  # fmt: skip
    script = "\n".join(f"cat '{path}' 2>/dev/null" for path in tries) + "\ntrue"
    assert base.run(script, user="root", cwd="/").stdout == ""
