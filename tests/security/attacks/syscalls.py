"""Runs inside a sandbox: makes each system call an attacker would, and prints what came of it.

Every call is made so that it would do no harm if it were allowed (bad pointers, own namespaces,
times that are already so), and in a child of its own. Prints one JSON object: name → "ok", the
name of the errno, or the name of the signal that ended the child.
"""

import ctypes
import errno
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable

libc = ctypes.CDLL(None, use_errno=True)

CLONE_FLAGS = {
    "newns": 0x00020000,
    "newcgroup": 0x02000000,
    "newuts": 0x04000000,
    "newipc": 0x08000000,
    "newuser": 0x10000000,
    "newpid": 0x20000000,
    "newnet": 0x40000000,
    "newtime": 0x00000080,
}
AT_FDCWD = -100


def call(number: int, *arguments: object) -> int:
    """One system call; raises OSError when the kernel refuses it."""
    converted = [
        ctypes.c_long(a) if isinstance(a, int) else a  # bytes and buffers go as pointers
        for a in arguments
    ]
    result = libc.syscall(ctypes.c_long(number), *converted)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def attempt(probe: Callable[[], object]) -> str:
    """What came of ``probe`` in a child of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        signal.alarm(10)  # A call that blocks was let in.
        try:
            probe()
            outcome = "ok"
        except OSError as error:
            outcome = errno.errorcode.get(error.errno or 0, str(error.errno))
        os.write(writer, outcome.encode())
        os._exit(0)
    os.close(writer)
    said = os.read(reader, 64).decode()
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return said


def clone(flags: int) -> None:
    if call(56, flags | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)


def clone3(flags: int) -> None:
    arguments = struct.pack("=11Q", flags, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
    if call(435, arguments, len(arguments)) == 0:
        os._exit(0)


def join_own(kind: str) -> None:
    call(308, os.open(f"/proc/self/ns/{kind}", os.O_RDONLY), 0)


def join_by_pidfd(flags: int) -> None:
    call(308, os.pidfd_open(1), flags)


def set_clock() -> None:
    call(227, 0, struct.pack("=qq", int(time.time()), 0))


def steal_descriptor() -> None:
    call(438, os.pidfd_open(1), 3, 0)


def read_memory(pid: int) -> None:
    """Reads 8 bytes of the first mapping of ``pid``."""
    with open(f"/proc/{pid}/maps") as maps:
        start = int(maps.readline().split("-")[0], 16)
    local = ctypes.create_string_buffer(8)
    here = struct.pack("=QQ", ctypes.addressof(local), 8)
    there = struct.pack("=QQ", start, 8)
    call(310, pid, here, 1, there, 1, 0)


def read_blind_memory() -> None:
    local = ctypes.create_string_buffer(8)
    here = struct.pack("=QQ", ctypes.addressof(local), 8)
    there = struct.pack("=QQ", 0x400000, 8)
    call(310, 1, here, 1, there, 1, 0)


def open_memory() -> None:
    os.open("/proc/1/mem", os.O_RDONLY)


def handle_of_root() -> None:
    """Opens inode 2 by its handle, as the "shocker" escape did."""
    handle = struct.pack("=II8s", 8, 1, struct.pack("=II", 2, 0))
    call(304, os.open("/", os.O_RDONLY), handle, os.O_RDONLY)


def netlink(protocol: int, kind: int, payload: bytes) -> None:
    """Sends one netlink request and raises what the kernel answers."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as link:
        link.settimeout(5)
        link.bind((0, 0))
        acknowledge, create, request = 0x4, 0x400, 0x1
        header = struct.pack(
            "=IHHII", 16 + len(payload), kind, request | acknowledge | create, 1, 0
        )
        link.send(header + payload)
        answer = link.recv(4096)
    code = struct.unpack_from("=i", answer, 16)[0]
    if code:
        raise OSError(-code, os.strerror(-code))


def add_address() -> None:
    index = socket.if_nametoindex("eth0")
    attribute = struct.pack("=HH", 8, 2) + socket.inet_aton("192.0.2.99")
    netlink(0, 20, struct.pack("=BBBBi", 2, 32, 0, 0, index) + attribute)


def add_route() -> None:
    gateway = struct.pack("=HH", 8, 5) + socket.inet_aton("10.0.0.1")
    netlink(0, 24, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + gateway)


def add_link() -> None:
    info = struct.pack("=HH8s", 12, 1, b"dummy\0\0\0")
    attribute = struct.pack("=HH", 4 + len(info), 18) + info
    netlink(0, 16, struct.pack("=BBHiII", 0, 0, 0, 0, 0, 0) + attribute)


def add_firewall_table() -> None:
    name = struct.pack("=HH4s", 8, 1, b"own\0")
    netlink(12, 10 << 8, struct.pack("=BBH", 2, 0, 0) + name)


def set_interface_address() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack(
            "=16sHH4s8s", b"eth0", socket.AF_INET, 0, socket.inet_aton("192.0.2.98"), b""
        )
        buffer = ctypes.create_string_buffer(request, 40)
        call(16, control.fileno(), 0x8916, ctypes.addressof(buffer))


def open_socket(family: int, kind: int, protocol: int = 0) -> None:
    socket.socket(family, kind, protocol).close()


def any_socket(family: int) -> None:
    last: OSError | None = None
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        try:
            open_socket(family, kind, 3 if family == socket.AF_PACKET else 0)
            return
        except OSError as error:
            last = error
    if last is not None:
        raise last


def trace_me_and_parent() -> None:
    call(101, 16, 1, 0, 0)  # PTRACE_ATTACH


def seize() -> None:
    call(101, 0x4206, 1, 0, 0)


def keep_realtime() -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def lower_oom_score(score: int) -> None:
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(score))


def raise_limit() -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard + 1))
    except ValueError as error:  # how Python says EPERM here
        raise PermissionError(errno.EPERM, str(error)) from error


def probes() -> dict[str, Callable[[], object]]:
    nowhere = b"/wardian-no-such-file"
    found: dict[str, Callable[[], object]] = {
        # What is allowed shows that a refusal below is one.
        "allowed_getpid": lambda: call(39),
        "allowed_socket": lambda: open_socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "allowed_clone": lambda: clone(0),
        "mount": lambda: call(165, b"none", b"/mnt", b"tmpfs", 0, 0),
        "mount_proc": lambda: call(165, b"none", b"/mnt", b"proc", 0, 0),
        "mount_bind": lambda: call(165, b"/etc", b"/mnt", 0, 0x1000, 0),
        "mount_remount_proc_rw": lambda: call(165, 0, b"/proc/sys", 0, 0x1020, 0),
        "umount2": lambda: call(166, b"/proc/sys", 2),
        "pivot_root": lambda: call(155, b"/mnt", b"/mnt"),
        "fsopen": lambda: call(430, b"tmpfs", 0),
        "fsconfig": lambda: call(431, 0, 0, 0, 0, 0),
        "fsmount": lambda: call(432, 0, 0, 0),
        "fspick": lambda: call(433, AT_FDCWD, b"/", 0),
        "open_tree": lambda: call(428, AT_FDCWD, b"/", 1),
        "move_mount": lambda: call(429, AT_FDCWD, b"/mnt", AT_FDCWD, b"/mnt", 0),
        "mount_setattr": lambda: call(442, AT_FDCWD, b"/proc/sys", 0, b"\0" * 32, 32),
        "setns_mnt": lambda: join_own("mnt"),
        "setns_net": lambda: join_own("net"),
        "setns_pid": lambda: join_own("pid"),
        "setns_pidfd": lambda: join_by_pidfd(CLONE_FLAGS["newns"]),
        "add_key": lambda: call(248, b"user", b"a", b"b", 1, -3),
        "request_key": lambda: call(249, b"user", b"a", 0, -3),
        "keyctl": lambda: call(250, 0, -3, 0),
        "bpf": lambda: call(321, 5, b"\0" * 64, 64),
        "bpf_map_create": lambda: call(321, 0, struct.pack("=4I", 2, 4, 4, 1), 16),
        "perf_event_open": lambda: call(298, struct.pack("=II", 1, 64) + b"\0" * 56, 0, -1, -1, 0),
        "userfaultfd": lambda: call(323, 0),
        "io_uring_setup": lambda: call(425, 1, b"\0" * 120),
        "io_uring_enter": lambda: call(426, -1, 0, 0, 0, 0, 0),
        "io_uring_register": lambda: call(427, -1, 0, 0, 0),
        "kexec_load": lambda: call(246, 0, 1, 0, 0),
        "kexec_file_load": lambda: call(320, -1, -1, 0, 0, 0),
        "init_module": lambda: call(175, 0, 0, b""),
        "finit_module": lambda: call(313, -1, b"", 0),
        "delete_module": lambda: call(176, nowhere, 0),
        "reboot": lambda: call(169, 0, 0, 0, 0),
        "swapon": lambda: call(167, nowhere, 0),
        "swapoff": lambda: call(168, nowhere),
        "acct": lambda: call(163, nowhere),
        "quotactl": lambda: call(179, 0, 0, 0, 0),
        "syslog": lambda: call(103, 3, b"\0" * 16, 16),
        "clock_settime": set_clock,
        "settimeofday": lambda: call(164, 0, struct.pack("=ii", 0, 0)),
        "adjtimex_write": lambda: call(159, struct.pack("=I", 0x4000) + b"\0" * 204),
        "iopl": lambda: call(172, 3),
        "ioperm": lambda: call(173, 0x80, 1, 1),
        "open_by_handle_at": handle_of_root,
        "pidfd_getfd_agent": steal_descriptor,
        "ptrace_attach_agent": trace_me_and_parent,
        "ptrace_seize_agent": seize,
        "process_vm_readv_agent": read_blind_memory,
        "open_agent_memory": open_memory,
        "read_agent_environ": lambda: os.open("/proc/1/environ", os.O_RDONLY),
        "nfsservctl": lambda: call(180, 0, 0, 0),
        "vhangup": lambda: call(153),
        "lookup_dcookie": lambda: call(212, 0, 0, 0),
        "fanotify_init": lambda: call(300, 0x4, 0),
        "x32_getpid": lambda: call(0x40000000 + 39),
        "x32_mount": lambda: call(0x40000000 + 165, b"none", b"/mnt", b"tmpfs", 0, 0),
        "netlink_add_address": add_address,
        "netlink_add_route": add_route,
        "netlink_add_link": add_link,
        "netlink_firewall": add_firewall_table,
        "ioctl_set_address": set_interface_address,
        "realtime_scheduling": keep_realtime,
        # Whoever could would have the host kill others in its place when memory is short.
        "oom_score_minus_1000": lambda: lower_oom_score(-1000),
        "oom_score_minus_500": lambda: lower_oom_score(-500),
        "oom_score_minus_1": lambda: lower_oom_score(-1),
        "raise_hard_limit": raise_limit,
        "nice_minus_20": lambda: os.setpriority(os.PRIO_PROCESS, 0, -20),
        "nice_minus_1": lambda: os.setpriority(os.PRIO_PROCESS, 0, -1),
        "chroot_then_up": chroot_then_up,
        "stat_of_initial_namespace": stat_of_initial_namespace,
    }
    for name, flag in CLONE_FLAGS.items():
        found[f"unshare_{name}"] = lambda flag=flag: call(272, flag)
        found[f"clone3_{name}"] = lambda flag=flag: clone3(flag)
        if name != "newtime":  # its bit is part of the signal number there
            found[f"clone_{name}"] = lambda flag=flag: clone(flag)
    allowed = {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK}
    for family in set(range(1, 47)) - allowed:
        found[f"socket_family_{family}"] = lambda family=family: any_socket(family)
    return found


def chroot_then_up() -> None:
    """The classic way out of a chroot: must lead back to this sandbox's own root."""
    own = os.stat("/proc/self/root/")
    os.makedirs("/tmp/cage", exist_ok=True)
    outside = os.open("/", os.O_RDONLY)
    os.chroot("/tmp/cage")
    os.fchdir(outside)
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
    found = os.stat("/")
    if (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino):
        raise OSError(errno.ENOENT, "back at the own root")


def stat_of_initial_namespace() -> None:
    """Fails unless this process is in the machine's first user namespace."""
    with open("/proc/self/uid_map") as file:
        if file.read().split() != ["0", "0", "4294967295"]:
            raise OSError(errno.EPERM, "a user namespace of its own")


if __name__ == "__main__":
    wanted = set(sys.argv[1:])
    print(
        json.dumps(
            {
                name: attempt(probe)
                for name, probe in probes().items()
                if not wanted or name in wanted
            }
        )
    )
