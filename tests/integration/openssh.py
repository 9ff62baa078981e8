"""A git repository behind a real sshd on loopback, run from Debian's package without privilege."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .waiting import until

#: An account with a shell that is there with the tests' packages; nobody else may log in.
USER = "postgres"


@dataclass(frozen=True, slots=True)
class GitOverSsh:
    """The server.

    Attributes:
        address: host and port of sshd.
        host_key: its public key, as ``known_hosts`` has it behind the name.
        client_key: the private key that it lets in.
        repository: a bare repository with one commit.
    """

    address: str
    host_key: str
    client_key: str
    repository: Path


@contextmanager
def git_over_ssh() -> Iterator[GitOverSsh]:
    """Runs one that lets its one key do nothing but git."""
    directory = Path(tempfile.mkdtemp(prefix="wardian-ssh-", dir="/tmp"))
    try:
        shutil.chown(directory, USER, USER)
        repository = directory / "app.git"
        for key in ("host", "client"):
            generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key]
            _run(directory, *generate, "-f", str(directory / key))
        _run(directory, "git", "init", "--quiet", "--bare", "-b", "main", str(repository))
        _run(directory, "git", "clone", "--quiet", str(repository), "seed")
        (directory / "seed" / "README").write_text("over ssh\n")
        for words in (("add", "README"), ("commit", "--quiet", "-m", "First"), ("push", "--quiet")):
            _run(directory / "seed", "git", *words)
        with _sshd(directory) as port:
            kind, key = (directory / "host.pub").read_text().split()[:2]
            client_key = (directory / "client").read_text()
            yield GitOverSsh(f"127.0.0.1:{port}", f"{kind} {key}", client_key, repository)
    finally:
        shutil.rmtree(directory)


@contextmanager
def _sshd(directory: Path) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    forced = 'restrict,command="git-shell -c \\"$SSH_ORIGINAL_COMMAND\\""'
    public = (directory / "client.pub").read_text()
    (directory / "authorized_keys").write_text(f"{forced} {public}")
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": directory / "host",
        "AuthorizedKeysFile": directory / "authorized_keys",
        "PidFile": "none",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        # The directory above belongs to everybody.
        "StrictModes": "no",
    }
    (directory / "config").write_text("".join(f"{key} {is_}\n" for key, is_ in settings.items()))
    command = ["/usr/sbin/sshd", "-D", "-f", str(directory / "config")]
    command += ["-E", str(directory / "log")]
    server = subprocess.Popen(command, cwd=directory, user=USER, group=USER, extra_groups=[])
    try:
        until(lambda: socket.create_connection(("127.0.0.1", port)).close() is None, "sshd")
        yield port
    finally:
        server.terminate()
        server.wait(30)


def _run(directory: Path, *command: str) -> None:
    who = {f"GIT_{role}_{what}": "team@example.com" for role in ("AUTHOR", "COMMITTER")
           for what in ("NAME", "EMAIL")}  # fmt: skip
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(directory), **who}
    subprocess.run(
        command, check=True, cwd=directory, env=environment, user=USER, group=USER, extra_groups=[]
    )
