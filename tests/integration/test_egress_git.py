"""A private repository, worked on from inside with a token that is nowhere inside."""

from __future__ import annotations

import base64
import json
import runpy
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from wardian import Egress, GitAuthenticationFailed, Sandbox, Secrets

from .waiting import until

HERE = Path(__file__).parent
EXAMPLE = runpy.run_path(str(HERE.parents[1] / "examples/coding_agent_day.py"))
SEARCH = (HERE / "programs/search_everything.py").read_text()


@pytest.fixture
def token(node: Any) -> Iterator[str]:
    """The token of a git server, kept by the node."""
    token = secrets.token_hex(20)
    Secrets().set(EXAMPLE["SECRET"], token, hosts=[EXAMPLE["HOST"]])
    yield token
    until(_forgotten, "the secret to be free")


def _forgotten() -> bool:
    Secrets().delete(EXAMPLE["SECRET"])
    return True


def halves(word: str) -> str:
    """A word that is not whole on a command line."""
    return f"{word[: len(word) // 2]}:{word[len(word) // 2 :]}"


def test_a_coding_agents_day(node: Any, token: str) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(EXAMPLE["git_server"](token))
        with Sandbox.create("base", timeout=900, egress=EXAMPLE["policy"](server)) as sandbox:
            commit = EXAMPLE["a_day"](sandbox)
            repository = str(server.root / "app.git")
            assert EXAMPLE["git"]("-C", repository, "rev-parse", "fix-readme").strip() == commit
            assert server.refused == 0, "every request had the token"
            requests = [each for each in sandbox.egress.events(kind="request")]
            assert requests and all(each.secrets == [EXAMPLE["SECRET"]] for each in requests)
            assert {each.verdict for each in requests} == {"allowed"}

            # What is there is found: on disk, and in the memory and environment of a process.
            sandbox.run("printf '%s%s' control -of-the-disk > /home/user/control")
            control = sandbox.spawn(
                ["python3", "-c", "import time; w = 'control' + '-of-the-memory'; time.sleep(900)"],
                env={"CONTROL": "control-of-the-environment"},
            )
            basic = base64.b64encode(f"agent:{token}".encode()).decode().rstrip("=")
            words = (token, basic, "control-of-the-disk", "control-of-the-memory",
                     "control-of-the-environment")  # fmt: skip
            sandbox.files.write("/tmp/search.py", SEARCH)
            found: dict[str, list[str]] = {}
            # Root here is root over files, not over other users' processes.
            for user in ("root", "user"):
                done = sandbox.run(
                    ["python3", "/tmp/search.py", *map(halves, words)], user=user, timeout=600
                )
                assert done.ok, done.stderr
                for word, places in json.loads(done.stdout)["found"].items():
                    found.setdefault(word, []).extend(places)
            assert set(found["2"]) == {"/home/user/control"}
            assert f"environ of {control.pid}" in found["4"]
            assert f"memory of {control.pid}" in found["3"]
            assert found["0"] == [] and found["1"] == [], found
            assert EXAMPLE["found_in"](sandbox, token) == []
    assert token.encode() not in node.log() and basic.encode() not in node.log()


def test_without_the_rules_injection_the_server_refuses(node: Any, token: str) -> None:
    with EXAMPLE["git_server"](token) as server:
        rule = Egress().allow(EXAMPLE["HOST"], ports=80, connect_to=server.address)
        with Sandbox.create("base", egress=rule) as sandbox:
            with pytest.raises(GitAuthenticationFailed):
                sandbox.git.clone(EXAMPLE["URL"], "app")
            assert server.refused > 0
