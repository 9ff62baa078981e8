"""Git in a sandbox, against a real git server on the sandbox's own loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wardian import (
    GitAuthenticationFailed,
    GitBranchNotFound,
    GitConflict,
    GitError,
    GitMissing,
    GitNetworkError,
    GitNotARepository,
    GitNothingToCommit,
    GitPathExists,
    GitProgress,
    GitRejected,
    GitRepositoryNotFound,
    GitTimeout,
    InvalidRequest,
    Sandbox,
    WardianError,
)
from wardian.cli import main

from .waiting import until

SERVER = Path(__file__).parent / "programs" / "git_server.py"
PORT = 8123
URL = f"http://127.0.0.1:{PORT}"
PASSWORD = "s3cret-word"
AUTHOR = "Ann Author <ann@example.invalid>"
SEED = """
set -e
mkdir -p /srv/git/private; cd /srv/git
for repository in public.git private/project.git; do
    git init -q --bare -b main $repository
    git -C $repository config http.receivepack true
done
git init -q -b main /tmp/seed; cd /tmp/seed
git config user.name Seed; git config user.email seed@example.invalid
for n in 1 2 3; do echo $n > file; git add -A; git commit -qm "commit $n"; done
git checkout -q -b other; echo other > other; git add -A; git commit -qm other
for repository in public.git private/project.git; do
    git push -q /srv/git/$repository main other
done
cd /; rm -rf /tmp/seed; chmod -R a+rwX /srv/git
git config --system --add safe.directory '*'
"""


@pytest.fixture(scope="module")
def served(base: Sandbox) -> Iterator[Sandbox]:
    """A sandbox with a git server in it."""
    done = base.run(SEED, user="root")
    assert done.ok, done.stderr
    base.files.write("/tmp/git_server.py", SERVER.read_bytes())
    server = base.spawn(["python3", "/tmp/git_server.py", "/srv/git", str(PORT)], user="root")
    until(lambda: base.run(f"exec 3<>/dev/tcp/127.0.0.1/{PORT}").ok, "the git server")
    yield base
    server.kill()


@pytest.fixture
def work(served: Sandbox, unique: str) -> Iterator[str]:
    """A clone of the public repository."""
    path = f"/home/user/{unique}"
    served.git.clone(f"{URL}/public.git", path)
    yield path
    served.files.remove(path)


def test_clone(served: Sandbox, unique: str) -> None:
    told: list[GitProgress] = []
    head = served.git.clone(f"{URL}/public.git", f"{unique}/a", on_progress=told.append)
    assert head.path == f"/home/user/{unique}/a"
    assert head.branch == "main"
    assert [c.subject for c in served.git.log(head.path)] == ["commit 3", "commit 2", "commit 1"]
    assert served.git.log(head.path, limit=1)[0].id == head.commit
    assert any(at.stage == "Receiving objects" and at.percent == 100 for at in told)
    assert served.files.stat(f"{head.path}/file").owner == "user"
    other = served.git.clone(f"{URL}/public.git", f"{unique}/b", branch="other", depth=1)
    assert other.branch == "other"
    assert len(served.git.log(other.path)) == 1
    for number, url in enumerate(("file:///srv/git/public.git", "/srv/git/public.git")):
        assert served.git.clone(url, f"{unique}/local-{number}").commit == head.commit


def test_a_clone_without_a_path_is_named_as_git_would(served: Sandbox) -> None:
    assert served.git.clone(f"{URL}/public.git").path == "/home/user/public"
    with pytest.raises(GitPathExists):
        served.git.clone(f"{URL}/public.git")
    served.files.remove("/home/user/public")


FAILURES: dict[str, tuple[dict[str, Any], type[GitError]]] = {
    "no repository": ({"url": f"{URL}/absent.git"}, GitRepositoryNotFound),
    "no file": ({"url": "file:///srv/git/absent.git"}, GitRepositoryNotFound),
    "no branch": ({"url": f"{URL}/public.git", "branch": "absent"}, GitBranchNotFound),
    "no credentials": ({"url": f"{URL}/private/project.git"}, GitAuthenticationFailed),
    "wrong password": (
        {"url": f"{URL}/private/project.git", "username": "alice", "password": "wrong-one"},
        GitAuthenticationFailed,
    ),
    "nobody listens": ({"url": "http://127.0.0.1:9/x.git"}, GitNetworkError),
    "no such host": ({"url": "http://absent.invalid/x.git"}, GitNetworkError),
    "git protocol": ({"url": "git://127.0.0.1:9/x.git"}, GitNetworkError),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_clone_that_fails_says_why(served: Sandbox, unique: str, case: str) -> None:
    arguments, kind = FAILURES[case]
    with pytest.raises(GitError) as caught:
        served.git.clone(path=f"/tmp/{unique}", **arguments)
    assert type(caught.value) is kind, str(caught.value)
    assert not served.files.exists(f"/tmp/{unique}")


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch /tmp/injected",
        "-u./x",
        "ext::sh -c 'touch /tmp/injected'",
        "fd::0",
        "",
        "ftp://127.0.0.1/x",
        "http://127.0.0.1/\nx",
    ],
)
def test_no_address_runs_a_program(served: Sandbox, url: str) -> None:
    with pytest.raises(InvalidRequest):
        served.git.clone(url, "/tmp/injected-clone")
    assert not served.files.exists("/tmp/injected")


def test_no_name_is_an_option(served: Sandbox, work: str) -> None:
    for name in ("--output=/tmp/injected", "-b", "", "a b"):
        with pytest.raises(InvalidRequest):
            served.git.checkout(work, name)
        with pytest.raises(InvalidRequest):
            served.git.diff(work, ref=name)
        with pytest.raises(InvalidRequest):
            served.git.log(work, ref=name)
        with pytest.raises(InvalidRequest):
            served.git.push(work, name)
        with pytest.raises(InvalidRequest):
            served.git.pull(work, branch=name)
        with pytest.raises(InvalidRequest):
            served.git.clone(f"{URL}/public.git", "/tmp/x", branch=name)
    served.run("git config remote.evil.url 'ext::touch /tmp/injected'", cwd=work, check=True)
    with pytest.raises(WardianError):
        served.git.pull(work, "evil", "main")
    assert not served.files.exists("/tmp/injected")
    served.git.diff(work, paths=["--output=/tmp/injected"])
    assert not served.files.exists("/tmp/injected")


def test_credentials_are_used_and_kept_nowhere(node: Any, served: Sandbox, unique: str) -> None:
    address = f"http://alice:{PASSWORD}@127.0.0.1:{PORT}/private/project.git"
    said: list[object] = []
    path = f"/home/user/{unique}"
    said.append(served.git.clone(address, path))
    assert served.run("git config remote.origin.url", cwd=path).stdout.strip() == (
        f"{URL}/private/project.git"
    )
    served.files.write(f"{path}/new", "x")
    said.append(served.git.commit(path, "new", author=AUTHOR, all=True))
    with pytest.raises(GitAuthenticationFailed) as refused:
        served.git.push(path)
    said.append(refused.value)
    assert served.git.push(path, username="alice", password=PASSWORD)
    assert not served.git.push(path, address), "an address does as well as a remote"
    assert not served.git.pull(path, username="alice", password=PASSWORD)
    wrong = address.replace(PASSWORD, f"{PASSWORD}-wrong")
    for url in (wrong, address.replace("project", "absent"), address.replace(str(PORT), "9")):
        with pytest.raises(GitError) as caught:
            served.git.clone(url, f"/tmp/{unique}")
        said += [caught.value, str(caught.value), caught.value.hint]
    served.run(["git", "remote", "set-url", "origin", wrong], cwd=path, check=True)
    with pytest.raises(GitAuthenticationFailed) as caught:
        served.git.pull(path)
    said.append(caught.value)
    served.run(["git", "remote", "remove", "origin"], cwd=path, check=True)
    told = repr([getattr(each, "__dict__", each) for each in said]) + str(said)
    assert PASSWORD not in told and "alice" not in told
    found = served.run(["grep", "-rl", PASSWORD, "/home", "/tmp", "/srv/git"], user="root").stdout
    assert found.split() == ["/tmp/git_server.py"]
    assert PASSWORD.encode() not in node.log()


def test_no_argument_list_shows_a_password(served: Sandbox, unique: str) -> None:
    """Looked at from within, all the while: by a wrapper that git itself starts."""
    served.run(
        "mkdir -p /tmp/hooks; printf '#!/bin/sh\\ncat /proc/[0-9]*/cmdline > /tmp/seen\\n' "
        "> /tmp/hooks/post-checkout; chmod +x /tmp/hooks/post-checkout; "
        "git config --global core.hooksPath /tmp/hooks",
        check=True,
    )
    try:
        address = f"http://alice:{PASSWORD}@127.0.0.1:{PORT}/private/project.git"
        served.git.clone(address, f"/tmp/{unique}")
        seen = served.files.read("/tmp/seen", "bytes")
        assert b"clone" in seen, "the hook ran while git did"
        assert PASSWORD.encode() not in seen
    finally:
        served.run("git config --global --unset core.hooksPath; rm -rf /tmp/hooks", check=True)


def test_status_diff_commit(served: Sandbox, work: str) -> None:
    odd = os.fsdecode(b"\xff -rf\nname")
    clean = served.git.status(work)
    assert clean.clean and clean.branch == "main" and clean.upstream == "origin/main"
    with pytest.raises(GitNothingToCommit):
        served.git.commit(work, "nothing", author=AUTHOR)
    served.run("echo changed > file; mkdir d; touch d/new '*' -- -rf", cwd=work, check=True)
    served.run(["bash", "-c", r"touch $'\xff -rf\nname'"], cwd=work, check=True)
    status = served.git.status(work)
    assert {(f.path, f.index + f.worktree) for f in status.files} == {
        ("file", ".M"),
        ("d/new", "??"),
        ("*", "??"),
        ("-rf", "??"),
        (odd, "??"),
    }
    assert "+changed" in served.git.diff(work)
    assert served.git.diff(work, staged=True) == ""
    first = served.git.commit(work, "- one\n\nbody\n", author=AUTHOR, paths=["*"])
    assert {f.path for f in served.git.status(work).files} == {"file", "d/new", "-rf", odd}
    second = served.git.commit(work, "two", author=AUTHOR, all=True)
    assert first.commit != second.commit
    assert served.git.status(work).clean and served.git.status(work).ahead == 2
    log = served.git.log(work, limit=2)
    assert [(c.subject, c.body, c.author) for c in log] == [
        ("two", "", "Ann Author"),
        ("- one", "body", "Ann Author"),
    ]
    served.run(["git", "mv", "file", "moved"], cwd=work, check=True)
    moved = served.git.status(work).files
    assert [(f.path, f.from_path, f.index) for f in moved] == [("moved", "file", "R")]
    assert "rename to moved" in served.git.diff(work, staged=True)
    assert "two" not in served.git.diff(work, ref="HEAD~1", paths=["d"])


def test_branches_and_checkout(served: Sandbox, work: str) -> None:
    assert served.git.checkout(work, "mine", create=True).branch == "mine"
    branches = {b.name: b for b in served.git.branches(work)}
    assert branches.keys() == {"main", "mine", "origin/main", "origin/other"}
    assert branches["mine"].current and branches["origin/main"].remote
    assert branches["main"].upstream == "origin/main"
    assert served.git.checkout(work, "other").branch == "other"
    detached = served.git.checkout(work, "main~1")
    assert detached.branch is None and detached.commit
    with pytest.raises(GitBranchNotFound):
        served.git.checkout(work, "absent")
    served.git.checkout(work, "main")
    served.run("echo mine > file; rm -f other; touch other", cwd=work, check=True)
    with pytest.raises(GitConflict):
        served.git.checkout(work, "other")


def test_push_and_pull_between_two(served: Sandbox, work: str, unique: str) -> None:
    second = f"/home/user/{unique}-second"
    served.git.clone(f"{URL}/public.git", second)
    branch = f"b-{unique}"
    served.git.checkout(work, branch, create=True)
    served.files.write(f"{work}/{unique}", "first")
    served.git.commit(work, "first", author=AUTHOR, all=True)
    assert served.git.push(work, set_upstream=True)
    assert not served.git.push(work)
    assert served.git.pull(second, branch=branch)
    assert served.files.read(f"{second}/{unique}") == "first"
    served.files.write(f"{work}/{unique}", "second")
    served.git.commit(work, "second", author=AUTHOR, all=True)
    served.git.push(work)
    served.files.write(f"{second}/{unique}", "other")
    served.git.commit(second, "other", author=AUTHOR, all=True)
    with pytest.raises(GitRejected):
        served.run(["git", "branch", "-m", branch], cwd=second, check=True)
        served.git.push(second)
    with pytest.raises(GitRejected):
        served.git.pull(second)
    served.run("git config user.name a; git config user.email b@c", cwd=second, check=True)
    with pytest.raises(GitConflict):
        served.git.pull(second, rebase=True)
    served.run("git rebase --abort", cwd=second, check=True)
    assert served.git.push(second, force=True)
    with pytest.raises(GitBranchNotFound):
        served.git.pull(second, branch="absent")
    served.files.remove(second)


def test_what_is_no_repository(served: Sandbox, minimal: Sandbox) -> None:
    with pytest.raises(GitNotARepository):
        served.git.status("/tmp")
    with pytest.raises(GitNotARepository):
        served.git.status("/absent")
    with pytest.raises(GitMissing):
        minimal.git.status("/tmp")


def test_a_clone_that_takes_too_long_is_stopped_whole(served: Sandbox, unique: str) -> None:
    """By a server that takes the connection and never answers."""
    silent = "import socket,time; s=socket.create_server(('127.0.0.1',8124)); time.sleep(1000)"
    process = served.spawn(["python3", "-c", silent])
    until(lambda: served.run("exec 3<>/dev/tcp/127.0.0.1/8124").ok, "the silent server")
    with pytest.raises(GitTimeout):
        served.git.clone("http://127.0.0.1:8124/x.git", f"/tmp/{unique}", timeout=0.5)
    process.kill()
    until(lambda: not served.run("pgrep -x git").ok, "the end of git")
    assert not served.files.exists(f"/tmp/{unique}")


def test_from_the_command_line(
    served: Sandbox,
    unique: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GIT_PASSWORD", PASSWORD)
    url = f"{URL}/private/project.git"
    arguments = ["git", "clone", served.id, url, f"/tmp/{unique}", "--username", "alice"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert f"/tmp/{unique}: branch main" in capsys.readouterr().out
