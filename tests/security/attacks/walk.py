"""Runs inside a sandbox as root: lists what could be written or read where nothing should be.

Opens for writing, but writes nothing. Prints one JSON object.
"""

import json
import os
import stat
import sys


def can_open(path: str, flags: int) -> bool:
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return False
    what = os.fstat(descriptor)
    os.close(descriptor)
    # What is masked is covered by the device that swallows everything.
    return not (stat.S_ISCHR(what.st_mode) and what.st_rdev == os.makedev(1, 3))


def writable_below(top: str) -> list[str]:
    found: list[str] = []
    for directory, _, names in os.walk(top):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path) and can_open(path, os.O_WRONLY):
                found.append(path)
    return found


def creatable_below(top: str) -> list[str]:
    """Directories that take a new entry."""
    found: list[str] = []
    for directory, _, _ in os.walk(top):
        try:
            os.mkdir(os.path.join(directory, "wardian-probe"))
        except OSError:
            continue
        os.rmdir(os.path.join(directory, "wardian-probe"))
        found.append(directory)
    return found


def content(path: str) -> int:
    """How many of the first bytes can be read; -1 if it can't be opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return len(os.read(descriptor, 64))
        finally:
            os.close(descriptor)
    except OSError:
        return -1


def devices() -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for directory, _, names in os.walk("/dev"):
        for name in names:
            path = os.path.join(directory, name)
            what = os.lstat(path)
            if stat.S_ISCHR(what.st_mode) or stat.S_ISBLK(what.st_mode):
                found[path] = [os.major(what.st_rdev), os.minor(what.st_rdev)]
    return found


def nodes(wanted: list[str]) -> dict[str, str]:
    """Makes device nodes in every place and tries to read them ("b:8:0")."""
    outcome: dict[str, str] = {}
    for spec in wanted:
        kind, major, minor = spec.split(":")
        mode = (stat.S_IFBLK if kind == "b" else stat.S_IFCHR) | 0o600
        for place in ("/tmp", "/dev/shm", "/home/user", "/root"):
            path = f"{place}/wardian-node"
            try:
                os.mknod(path, mode, os.makedev(int(major), int(minor)))
            except OSError as error:
                outcome[f"{spec}@{place}"] = f"mknod {error.errno}"
                continue
            try:
                outcome[f"{spec}@{place}"] = "opened" if can_open(path, os.O_RDONLY) else "refused"
            finally:
                os.unlink(path)
    return outcome


SECRET_FILES = (
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/kmsg",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/kpagecgroup",
    "/proc/vmallocinfo",
    "/proc/slabinfo",
    "/dev/kmsg",
    "/dev/mem",
    "/dev/port",
    "/dev/fuse",
    "/dev/net/tun",
    "/dev/kvm",
    "/dev/vsock",
    "/sys/kernel/security/lockdown",
    "/sys/kernel/debug/sleep_time",
    "/sys/firmware/memmap",
    "/sys/kernel/vmcoreinfo",
    "/sys/kernel/notes",
)
TRIGGERS = (
    "/proc/sysrq-trigger",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hotplug",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/conf/all/route_localnet",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/mtrr",
    "/proc/irq/default_smp_affinity",
    "/sys/power/state",
    "/sys/kernel/uevent_helper",
    "/sys/fs/cgroup/release_agent",
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/memory/release_agent",
    "/sys/module/nf_conntrack/parameters/hashsize",
)


def mounts() -> list[list[str]]:
    with open("/proc/self/mountinfo") as file:
        rows = [line.split() for line in file]
    return [[row[4], row[5], row[row.index("-") + 1]] for row in rows]


def cgroup_files() -> list[str]:
    names = {"release_agent", "notify_on_release", "cgroup.procs", "tasks", "devices.allow"}
    return [
        os.path.join(directory, name)
        for directory, _, files in os.walk("/sys")
        for name in files
        if name in names
    ]


if __name__ == "__main__":
    print(
        json.dumps(
            {
                "proc_sys": writable_below("/proc/sys"),
                "sys": writable_below("/sys") + creatable_below("/sys"),
                "proc_rest": [
                    path
                    for top in (
                        "/proc/acpi",
                        "/proc/bus",
                        "/proc/fs",
                        "/proc/irq",
                        "/proc/scsi",
                        "/proc/driver",
                        "/proc/tty",
                        "/proc/asound",
                        "/proc/sysvipc",
                    )
                    for path in writable_below(top)
                ],
                "triggers": [path for path in TRIGGERS if can_open(path, os.O_WRONLY)],
                "secrets": [path for path in SECRET_FILES if content(path) > 0],
                "devices": devices(),
                "device_places": creatable_below("/dev/pts"),
                "nodes": nodes(sys.argv[1:]),
                "mounts": mounts(),
                "cgroup_files": cgroup_files(),
                "environment": dict(os.environ),
                "pids": [name for name in os.listdir("/proc") if name.isdecimal()],
            }
        )
    )
