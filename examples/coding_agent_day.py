"""A coding agent's day: clone, edit, commit and push, with a token that never enters its sandbox.

A private git server runs here, on loopback: git's own HTTP backend, which wants a token. The
sandbox is let out to it alone, under a name of its own, and the edge puts the token into its
requests. `python examples/coding_agent_day.py` on the machine that the server runs on, as its
administrator: leading a sandbox to loopback takes a key with the scope `admin`.
"""

from __future__ import annotations

import argparse
import base64
import secrets as random
import subprocess
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from wardian import Basic, CommandFailed, Egress, Sandbox, Secrets, WardianError

HOST = "git.team.example"
URL = f"http://{HOST}/app.git"
SECRET = "EXAMPLE_GIT_TOKEN"
AUTHOR = "Agent <agent@example.com>"


class GitServer(ThreadingHTTPServer):
    """Git repositories below a directory, for who brings the token."""

    daemon_threads = True

    def __init__(self, root: Path, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.root = root
        self.wanted = "Basic " + base64.b64encode(f"agent:{token}".encode()).decode()
        self.refused = 0

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: GitServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        body = self._body()
        if self.headers.get("Authorization") != self.server.wanted:
            self.server.refused += 1
            return self._answer(401, [("WWW-Authenticate", 'Basic realm="git"')], b"")
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "REMOTE_USER": "agent",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        backend = ["git", "http-backend"]
        done = subprocess.run(backend, input=body, env=environment, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [tuple(line.split(": ", 1)) for line in head.decode().split("\r\n")]
        said = {name: value for name, value in headers}
        status = int(said.pop("Status", "200").split()[0])
        return self._answer(status, list(said.items()), content)

    do_POST = do_GET

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def git_server(token: str) -> Generator[GitServer]:
    """A server with one repository, `app.git`, that has one commit."""
    with tempfile.TemporaryDirectory(prefix="git-") as folder:
        root = Path(folder)
        git("init", "--quiet", "--bare", "-b", "main", str(root / "app.git"))
        git("-C", str(root / "app.git"), "config", "http.receivepack", "true")
        git("init", "--quiet", "-b", "main", str(root / "seed"))
        (root / "seed" / "README.md").write_text("Teh readme.\n")
        git("-C", str(root / "seed"), "add", "README.md")
        who = ("-c", "user.name=Team", "-c", "user.email=team@example.com")
        git("-C", str(root / "seed"), *who, "commit", "--quiet", "-m", "First")
        git("-C", str(root / "seed"), "push", "--quiet", str(root / "app.git"), "main")
        with GitServer(root, token) as server:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            yield server
            server.shutdown()


def git(*words: str) -> str:
    """Git on this machine."""
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout


def policy(server: GitServer) -> Egress:
    """The git server alone, and the token put into what is asked of it."""
    return Egress().allow(
        HOST,
        ports=80,
        name="git",
        inject=Basic("agent", f"{{{SECRET}}}"),
        connect_to=server.address,
    )


def a_day(sandbox: Sandbox) -> str:
    """Clone, edit, commit, push; the commit that was pushed."""
    sandbox.git.clone(URL, "app")
    sandbox.git.checkout("app", "fix-readme", create=True)
    sandbox.run("sed -i s/Teh/The/ README.md", cwd="app", check=True)
    made = sandbox.git.commit("app", "Fix a typo", author=AUTHOR, all=True)
    sandbox.git.push("app", set_upstream=True)
    assert made.commit is not None
    return made.commit


def found_in(sandbox: Sandbox, token: str) -> list[str]:
    """Files and environments in the sandbox that hold the token."""
    # Each character apart: else the search itself would bring it in.
    pattern = "".join(f"[{character}]" for character in token)
    where = "/home /tmp /etc /var /root /proc/[0-9]*/environ /proc/[0-9]*/cmdline"
    return sandbox.run(f"grep -rsl '{pattern}' {where}", user="root").stdout.split()


def main() -> int:
    """Exit code 0 if all of it worked."""
    parser = argparse.ArgumentParser(description="A coding agent's day.")
    parser.add_argument("--url", help="the server; WARDIAN_URL if not given")
    url = parser.parse_args().url
    token = random.token_hex(20)
    try:
        with git_server(token) as server:
            Secrets(url).set(SECRET, token, hosts=[HOST])
            with Sandbox.create("base", egress=policy(server), url=url) as sandbox:
                commit = a_day(sandbox)
                print(f"pushed {commit[:12]} from {sandbox.id}")
                for event in sandbox.egress.events():
                    print(event.verdict, event.method, event.host, event.path, event.secrets)
                print("files with the token:", found_in(sandbox, token) or "none")
            there = git("-C", str(server.root / "app.git"), "rev-parse", "fix-readme").strip()
            print(f"the server has {there[:12]} now")
            return 0 if there == commit else 1
    except WardianError as error:
        print(f"error: {error}")
        if isinstance(error, CommandFailed):
            print(error.result.stderr[-2000:])
        elif error.hint:
            print(f"hint: {error.hint}")
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
