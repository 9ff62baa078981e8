"""A node of one's own that leaves nothing behind: for the demo, for benchmarks and for tests."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from wardian.server import configuration
from wardian.server.node import accounts, home, setup
from wardian.server.node.progress import Report, to_stderr
from wardian.server.node.setup_error import SetupError

_READY_SECONDS: Final = 300.0
_STOP_SECONDS: Final = 60.0
_RELEASE_SECONDS: Final = 20.0
_LOG_SHOWN: Final = 6000
#: In the server's environment, so that tests can look for it where it must not be.
_MARKER: Final = "WARDIAN_MARKER"


class TemporaryNodeError(Exception):
    """The node did not start, did not stop, or left something behind."""


@dataclass(frozen=True, slots=True)
class TemporaryNode:
    """A node that runs.

    Args:
        url: address of its API.
        port: the port in it.
        api_key: its first key.
        home: everything of it that stays.
        run: everything of it that a reboot would take.
        supervisor: pid of the process that started the others.
        configuration: its node.json.
        marker: a value in the server's environment, which no sandbox may see.
    """

    url: str
    port: int
    api_key: str = field(repr=False)
    home: Path
    run: Path
    supervisor: int
    configuration: configuration.Configuration
    marker: str

    @property
    def pool(self) -> Path:
        """The disk pool, as the launcher sees it."""
        return Path(self.configuration.pool.path)

    @property
    def control_uid(self) -> int:
        """Whom the control plane runs as."""
        return self.configuration.control_uid

    @property
    def edge_uid(self) -> int:
        """Whom the edge runs as."""
        return self.configuration.edge_uid

    @property
    def gid(self) -> int:
        """The group of both."""
        return self.configuration.gid

    @property
    def uid_base(self) -> int:
        """First uid of the first sandbox."""
        return self.configuration.uid_base

    @property
    def launcher_socket(self) -> Path:
        """Where the launcher listens."""
        return self.configuration.launcher_socket

    def launcher_pid(self) -> int:
        """The launcher that runs now.

        Raises:
            LookupError: none does.
        """
        return self._child("wardian-launcher")

    def edge_pid(self) -> int:
        """The edge that runs now.

        Raises:
            LookupError: none does.
        """
        return self._child("wardian-edge")

    def control_pid(self) -> int:
        """The control plane that runs now.

        Raises:
            LookupError: none does.
        """
        return self._child("wardian.server")

    def handlers_pid(self) -> int:
        """The process of egress handlers that runs now.

        Raises:
            LookupError: none does.
        """
        return self._child("wardian.handlers")

    def log(self) -> bytes:
        """Everything its processes have logged."""
        return (self.home / "log").read_bytes()

    def request(self, method: str, path: str) -> Any:
        """Makes one API call without a body; returns the decoded answer.

        Raises:
            OSError: no answer, or one with an error status.
        """
        call = urllib.request.Request(
            self.url + path, method=method, headers={"Authorization": f"Bearer {self.api_key}"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(call, timeout=30) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def _child(self, sign: str) -> int:
        for pid, parent, command in _processes():
            if parent == self.supervisor and sign in command:
                return pid
        raise LookupError(f"no {sign} runs under process {self.supervisor}")


@contextmanager
def running(
    *,
    templates: tuple[str, ...] = ("base",),
    pool_size: str = "8G",
    database_url: str | None = None,
    arguments: tuple[str, ...] = (),
    report: Report = to_stderr,
) -> Generator[TemporaryNode]:
    """Starts a node on a home of its own, waits until it is ready, and removes all of it after.

    It starts in the network namespace of the calling thread.

    Args:
        templates: recipes it must offer before it counts as ready.
        pool_size: its disk pool.
        database_url: a PostgreSQL database for its records; ``None``: SQLite.
        arguments: more words for ``wardian serve``; with a certificate the node is spoken to over
            TLS, and SSL_CERT_FILE must name whom to trust.
        report: told what is being done.

    Raises:
        SetupError: not root, or set-up failed.
        TemporaryNodeError: it did not start or stop, or left something behind.
    """
    setup.require_root()
    where = Path(f"/var/lib/wardian-{os.getpid()}-{secrets.token_hex(3)}")
    where.mkdir(mode=0o755)
    with suppress(FileNotFoundError):
        os.chmod(where, 0o755)
    process: subprocess.Popen[bytes] | None = None
    try:
        if database_url is not None:
            _write_database_url(where, database_url)
        port, marker = _free_port(), secrets.token_hex(16)
        environment = {**os.environ, "WARDIAN_POOL_SIZE": pool_size, _MARKER: marker}
        command = [sys.executable, "-m", "wardian.cli", "serve", "--home", str(where)]
        command += ["--listen", f"127.0.0.1:{port}"]
        # Not this machine's: whoever wants some names a directory in ``arguments``.
        command += ["--handlers", str(where / "no-handlers")]
        command += [word for name in templates for word in ("--template", name)]
        command += arguments
        with (where / "log").open("wb") as log:
            # A session of its own: a Ctrl-C is for us, who end the sandboxes first.
            process = subprocess.Popen(
                command, cwd="/", env=environment, stdin=subprocess.DEVNULL, stderr=log, stdout=log,
                start_new_session=True,
            )  # fmt: skip
        node = _wait_until_ready(where, port, marker, process, templates, report)
        with _ended_by_signals():
            try:
                yield node
            finally:
                _end_sandboxes(node)
    finally:
        if process is not None:
            _stop(process, where)
        _remove(where)
    _check_nothing_left(where)


@contextmanager
def _ended_by_signals() -> Generator[None]:
    """Lets SIGTERM and SIGHUP end this process the orderly way, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _write_database_url(where: Path, url: str) -> None:
    users = accounts.ensure(to_stderr)
    home.ensure_directories(where, users)
    path = where / "control" / "database-url"
    path.touch(mode=0o600)
    path.write_text(f"{url}\n")
    os.chown(path, users.control_uid, users.gid)


def _wait_until_ready(
    where: Path,
    port: int,
    marker: str,
    process: subprocess.Popen[bytes],
    templates: tuple[str, ...],
    report: Report,
) -> TemporaryNode:
    deadline, seen = time.monotonic() + _READY_SECONDS, "nothing"
    report(f"starting a node on {where}")
    while time.monotonic() < deadline:
        status = process.poll()
        if status is not None:
            raise TemporaryNodeError(f"the node ended with status {status}:\n{_log_end(where)}")
        try:
            node = _describe(where, port, marker, process.pid)
            health = node.request("GET", "/v1/health")
            offered = {each["name"] for each in node.request("GET", "/v1/templates")["templates"]}
            if health["status"] == "ok" and set(templates) <= offered:
                return node
            seen = f"health {health}, templates {sorted(offered)}"
        except (OSError, ValueError, configuration.ConfigurationError) as error:
            seen = str(error)
        time.sleep(0.05)
    raise TemporaryNodeError(
        f"the node was not ready in time; last seen: {seen}\n{_log_end(where)}"
    )


def _describe(where: Path, port: int, marker: str, supervisor: int) -> TemporaryNode:
    settings = configuration.load(where / "node.json")
    key = (where / "api-key").read_text().strip()
    scheme = "http" if settings.tls is None else "https"
    url = f"{scheme}://127.0.0.1:{port}"
    run = Path(settings.run)
    return TemporaryNode(url, port, key, where, run, supervisor, settings, marker)


def _end_sandboxes(node: TemporaryNode) -> None:
    deadline = time.monotonic() + _STOP_SECONDS
    while True:
        try:
            sandboxes = node.request("GET", "/v1/sandboxes?limit=100")["sandboxes"]
            for each in sandboxes:
                node.request("DELETE", f"/v1/sandboxes/{each['id']}")
        except OSError as error:
            # A test may have killed a part a moment ago; it is being started again.
            if time.monotonic() > deadline:
                raise TemporaryNodeError(f"sandboxes can't be ended: {error}") from error
            time.sleep(0.1)
        else:
            if not sandboxes:
                return


def _stop(process: subprocess.Popen[bytes], where: Path) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.wait()
        raise TemporaryNodeError(f"the node did not stop:\n{_log_end(where)}") from error


def _remove(where: Path) -> None:
    run = home.run_directory(where)
    for directory in (run, where):
        if not _mounts_below(directory):
            shutil.rmtree(directory, ignore_errors=True)
    with suppress(OSError):
        home.RUN_ROOT.rmdir()


def _check_nothing_left(where: Path) -> None:
    deadline = time.monotonic() + _RELEASE_SECONDS
    # The kernel lets go of loop devices and namespaces some time after their last user.
    while (left := _left_behind(where)) and time.monotonic() < deadline:
        time.sleep(0.1)
    if left:
        raise TemporaryNodeError("the node left something behind:\n" + "\n".join(left))


def _left_behind(where: Path) -> list[str]:
    run = home.run_directory(where)
    left = [f"process {pid}: {line}" for pid, _, line in _processes() if str(where) in line]
    left += [f"mount {path}" for top in (where, run) for path in _mounts_below(top)]
    left += [f"directory {path}" for path in (where, run) if path.exists()]
    left += [f"cgroup {path}" for path in _cgroups_named(f"wardian-{home.instance_of(where)}")]
    loops = subprocess.run(["losetup", "--list", "--noheadings", "--output", "BACK-FILE"],
                           capture_output=True, text=True, check=False)  # fmt: skip
    left += [f"loop device of {line}" for line in loops.stdout.splitlines() if str(where) in line]
    return left


def _mounts_below(directory: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    return [point for point in points if Path(point).is_relative_to(directory)]


def _cgroups_named(name: str) -> list[str]:
    found = [
        os.path.join(top, name) for top, names, _ in os.walk("/sys/fs/cgroup") if name in names
    ]
    return sorted(found)


def _processes() -> Generator[tuple[int, int, str]]:
    """Pid, parent and command line of every process that runs; zombies are not among them."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue
        if state != "Z":
            yield int(entry.name), int(parent), line.decode(errors="replace")


def _log_end(where: Path) -> str:
    try:
        with (where / "log").open("rb") as log:
            return _tail(log)
    except OSError as error:
        return f"(no log: {error})"


def _tail(log: IO[bytes]) -> str:
    log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_SHOWN))
    return log.read().decode(errors="replace")


__all__ = ["SetupError", "TemporaryNode", "TemporaryNodeError", "running"]
