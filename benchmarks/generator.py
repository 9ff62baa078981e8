"""Load from inside a network namespace, the same whatever stands at its other end."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
_SIZES = {"B": 1e-6, "KB": 1.024e-3, "MB": 1.048576, "GB": 1073.741824}
_HOST = "198.51.100.1"
# Names come from a file, so that both ends need no resolver.
_ENTER = 'mount --bind "$1" /etc/hosts && shift && exec nsenter --net="$0" "$@"'


@dataclass(frozen=True, slots=True)
class Load:
    """What `wrk` saw: times in milliseconds, rates per second."""

    requests: float
    megabytes: float
    median: float
    p99: float


@dataclass(frozen=True, slots=True)
class Place:
    """A network namespace, and the address every name has in it.

    Args:
        namespace: its file.
        addresses: name → address.
    """

    namespace: str
    addresses: dict[str, str]

    def wrk(
        self, url: str, *, connections: int, seconds: int, headers: tuple[str, ...] = ()
    ) -> Load:
        """Asks for `url` as often as it can.

        Raises:
            RuntimeError: answers were no 200, or connections broke.
        """
        command = ["wrk", "--latency", f"-t{min(2, connections)}", f"-c{connections}"]
        command += [f"-d{seconds}s", "--timeout", "20s"]
        command += [word for header in headers for word in ("-H", header)]
        with tempfile.NamedTemporaryFile("w") as hosts:
            hosts.writelines(f"{address} {name}\n" for name, address in self.addresses.items())
            hosts.flush()
            enter = ["unshare", "--mount", "sh", "-c", _ENTER, self.namespace, hosts.name]
            done = subprocess.run([*enter, *command, url], capture_output=True, text=True)
        return _read(done.stdout, done.stderr)


@contextmanager
def beside() -> Generator[str]:
    """A namespace joined to this machine's by a wire, as a sandbox's is to its edge.

    Yields:
        Its file; this machine is 198.51.100.1 in it.
    """
    name = f"wardian-bench-{os.getpid()}"
    link = f"wb{os.getpid()}"
    _ip(f"netns add {name}")
    try:
        _ip(f"link add {link} type veth peer name eth0 netns {name}")
        _ip(f"addr add {_HOST}/30 dev {link}")
        _ip(f"link set {link} up")
        for command in ("addr add 198.51.100.2/30 dev eth0", "link set eth0 up", "link set lo up"):
            _ip(f"-n {name} {command}")
        yield f"/run/netns/{name}"
    finally:
        _ip(f"netns delete {name}")


def at_this_machine(namespace: str, names: tuple[str, ...]) -> Place:
    """A place of :func:`beside` where all names are this machine."""
    return Place(namespace, dict.fromkeys(names, _HOST))


def _ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True)


def _read(output: str, errors: str) -> Load:
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    size = re.search(r"Transfer/sec:\s+([\d.]+)([KMG]?B)", output)
    times = [re.search(rf"{n}%\s+([\d.]+)(us|ms|s|m)\b", output) for n in (50, 99)]
    broken = "Non-2xx" in output or "Socket errors" in output
    if rate is None or size is None or None in times or broken:
        raise RuntimeError(f"wrk measured nothing that counts:\n{output}{errors}")
    median, p99 = (float(t[1]) * _UNITS[t[2]] for t in times if t is not None)
    return Load(float(rate[1]), float(size[1]) * _SIZES[size[2]], median, p99)
