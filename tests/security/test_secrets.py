"""Secrets stay where they belong: in no log, listing, file, error or other sandbox."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from wardian import Sandbox

from .raw_http import request


@dataclass(frozen=True, slots=True)
class Known:
    """A sandbox, and everything about it that nobody else may learn."""

    sandbox: Sandbox
    words: dict[str, str]


@pytest.fixture(scope="module")
def known(node: Any) -> Iterator[Known]:
    mark = secrets.token_hex(16)
    with Sandbox.create(
        "base", env={"MARKED": f"env-{mark}"}, traffic="private", labels={"a": "b"}
    ) as sandbox:
        info = sandbox.info()
        assert info.agent is not None
        assert info.traffic_token is not None
        words = {
            "sandbox env": f"env-{mark}",
            "command env": f"command-{mark}",
            "command input": f"input-{mark}",
            "file content": f"content-{mark}",
            "agent token": info.agent.token,
            "traffic token": info.traffic_token,
            "API key": node.api_key,
        }
        _use(sandbox, words)
        _provoke(node, sandbox, words)
        yield Known(sandbox, words)


def _use(sandbox: Sandbox, words: dict[str, str]) -> None:
    shown = sandbox.run('echo "$MARKED" "$OWN"', env={"OWN": words["command env"]}, check=True)
    assert shown.stdout == f"{words['sandbox env']} {words['command env']}\n"
    sandbox.run("cat > /dev/null", stdin=words["command input"], check=True)
    sandbox.files.write("/home/user/secret", words["file content"])
    assert sandbox.files.read("/home/user/secret") == words["file content"]


def _provoke(node: Any, sandbox: Sandbox, words: dict[str, str]) -> None:
    """Calls that go wrong while they carry secrets: their errors must not repeat them."""
    said = b""
    agent = [("Wardian-Sandbox-Id", sandbox.id), ("X-Access-Token", words["agent token"])]
    key = [("Authorization", f"Bearer {words['API key']}")]
    bad_env = b'{"template":"base","env":{"A=B":"%s"}}' % words["sandbox env"].encode()
    long_env = b'{"template":"nope","env":{"A":"%s"}}' % words["sandbox env"].encode()
    for path, method, headers, body in (
        ("/v1/sandboxes", "POST", key, bad_env),
        ("/v1/sandboxes", "POST", key, long_env),
        ("/v1/sandboxes", "POST", key, b'{"env":"' + words["sandbox env"].encode() + b'"}'),
        ("/v1/sandboxes", "POST", key, b'{"' + words["sandbox env"].encode() + b'":1}'),
        ("/v1/nowhere", "GET", key, b""),
        ("/files?path=/nowhere", "GET", agent, b""),
        ("/process.Process/Start", "POST", agent, b"noise"),
        ("/process.Process/Start", "POST", [*agent, ("Content-Type", "application/connect+json")],
         b"\0\0\0\0\x05noise"),
        ("/init", "POST", agent, b"{}"),
    ):  # fmt: skip
        said += request(node.port, path, method=method, headers=headers, body=body).raw
    for name in ("agent token", "traffic token", "API key"):
        assert words[name].encode() not in said, f"{name} in an error"


def _held(text: bytes, known: Known) -> list[str]:
    return [name for name, word in known.words.items() if word.encode() in text]


def test_not_in_any_log(node: Any, known: Known) -> None:
    log = node.log()
    assert b"control" in log
    assert _held(log, known) == []


def test_not_in_any_process_listing(known: Known) -> None:
    """Also not while a command with secrets in its environment runs."""
    running = known.sandbox.spawn(
        ["sleep", "1000"], env={"OWN": known.words["command env"]}, user="user"
    )
    try:
        listing = b""
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                listing += file.read_bytes()
            except OSError:
                continue
        assert b"sleep\x001000" in listing
        assert _held(listing, known) == []
    finally:
        running.kill()


def test_not_in_plain_in_the_database(node: Any, known: Known) -> None:
    files = sorted(Path(node.home, "control").glob("wardian.db*"))
    assert files
    for file in files:
        data = file.read_bytes()
        assert _held(data, known) == [], file.name
    assert known.sandbox.id.encode() in b"".join(file.read_bytes() for file in files)


def test_what_stays_on_disk_is_closed_to_others(node: Any, known: Known) -> None:
    """No file of the node that everybody may read holds a secret, also the launcher's records."""
    for top in (Path(node.home), Path(node.run)):
        for file in top.rglob("*"):
            if {"pool", "pool.img", "seed"} & {*file.parts} or not file.is_file():
                continue
            try:
                held = _held(file.read_bytes(), known)
            except OSError:
                continue  # a network namespace by name
            if held:
                assert file.stat().st_mode & 0o077 == 0, f"{file} holds {held}"
                assert file.name == "api-key" or str(file).startswith(f"{node.run}/launcher/")


def test_not_in_errors_of_wrong_calls(node: Any, known: Known) -> None:
    """The wrong token is not repeated either: it may be right somewhere else."""
    wrong = "e2b_" + secrets.token_hex(20)
    answer = request(node.port, "/v1/sandboxes", headers=[("X-API-Key", wrong)])
    assert answer.status == 401
    assert wrong.encode() not in answer.raw
    assert wrong.encode() not in node.log()


def test_not_in_another_sandbox(known: Known, other: Sandbox) -> None:
    script = (
        "import glob\n"
        "data=b''\n"
        "for p in glob.glob('/proc/[0-9]*/environ')+glob.glob('/proc/[0-9]*/cmdline'):\n"
        "    try: data+=open(p,'rb').read()\n"
        "    except OSError: pass\n"
        "import sys; sys.stdout.buffer.write(data)\n"
    )
    result = other.run(["python3", "-c", script], user="root", check=True)
    assert _held(result.stdout_bytes, known) == []


@pytest.mark.parametrize("user", ["user", "root"])
def test_the_agents_token_cannot_be_read_inside(known: Known, user: str) -> None:
    """Not from its memory, environment, descriptors or command line."""
    token = known.words["agent token"]
    script = (
        "import glob,os,re,sys\n"
        "token=sys.stdin.read().encode()\n"
        "found=[]\n"
        "names=['environ','cmdline','mem','maps','auxv','stat','status','comm','stack','syscall']\n"
        "for name in names:\n"
        "    try:\n"
        "        with open('/proc/1/'+name,'rb') as f:\n"
        "            if name=='mem': found.append('opened mem')\n"
        "            elif token in f.read(): found.append(name)\n"
        "    except OSError: pass\n"
        "try: links=os.listdir('/proc/1/fd')\n"
        "except OSError: links=[]\n"
        "for link in links:\n"
        "    try:\n"
        "        if token in open('/proc/1/fd/'+link,'rb').read(1<<20): found.append('fd '+link)\n"
        "    except OSError: pass\n"
        "if token in repr(dict(os.environ)).encode(): found.append('own environ')\n"
        "print(found)\n"
    )
    result = known.sandbox.run(
        ["python3", "-c", script], user=user, stdin=token, timeout=60, check=True
    )
    assert result.stdout == "[]\n"


def test_not_in_files_inside(known: Known) -> None:
    """The agent writes its token to no file of the sandbox."""
    token = known.words["agent token"]
    script = "grep -rlFf /dev/stdin /etc /run /var/log /tmp /root /home /dev/shm 2>/dev/null; true"
    # The marker of the file written above shows that the search finds what is there.
    both = known.sandbox.run(
        script, user="root", stdin=f"{token}\n{known.words['file content']}\n", check=True
    )
    assert both.stdout == "/home/user/secret\n"


def test_a_reader_key_of_the_node_file_learns_nothing(node: Any, known: Known) -> None:
    """node.json is world-readable, so it holds no secret."""
    text = Path(node.home, "node.json").read_bytes()
    assert _held(text, known) == []
    assert Path(node.home, "api-key").stat().st_mode & 0o077 == 0


def test_the_api_description_is_open_and_empty_of_secrets(node: Any, known: Known) -> None:
    text = httpx.get(f"{node.url}/v1/openapi.json", trust_env=False).content
    assert _held(text, known) == []
