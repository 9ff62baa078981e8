"""Clients that people use, unmodified, through connections that the edge opens: they verify its
certificate with no word on their command lines, and the server outside gets a token they never had.
"""

from __future__ import annotations

import base64
import json
import secrets as random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.authority import Authority
from doubles.shelf import Shelf
from doubles.shelf import shelf as make_shelf

from wardian import Basic, Egress, Header, Sandbox, Secret, Secrets

from . import sandbox_wheels, shelf_packages
from .waiting import until

TOKEN = random.token_hex(20)
NAME = "CLIENTS_TOKEN"
BEARER = f"Bearer {TOKEN}"
BASIC = "Basic " + base64.b64encode(f"agent:{TOKEN}".encode()).decode()
WEB, MODELS, NPM, PYPI, GIT = (
    f"{each}.team.example" for each in ("web", "models", "npm", "pypi", "git")
)
OTHER = "other.team.example"
GITHUB = "api.github.com"
PROGRAMS = Path(__file__).parent / "programs"
HELLO = "hello from outside"
#: What fetches the address behind it and prints what it got.
FETCHERS = {
    "curl": "curl --silent --show-error",
    "curl over HTTP/1.1": "curl --silent --show-error --http1.1",
    "urllib": """python3 -c "import sys, urllib.request as u
print(u.urlopen(sys.argv[1]).read().decode())" """,
    "requests": 'python3 -c "import sys, requests; print(requests.get(sys.argv[1]).text)"',
    "httpx": 'python3 -c "import sys, httpx; print(httpx.get(sys.argv[1]).text)"',
    "fetch of Node.js": "node -e 'fetch(process.argv[1]).then(r => r.text()).then(console.log)'",
    "https of Node.js": "node -e"
    " 'require(`https`).get(process.argv[1], answer => answer.pipe(process.stdout))'",
}


@pytest.fixture(scope="module")
def shelf(authority: Authority) -> Iterator[Shelf]:
    """The server outside; who brings no token gets nothing."""
    with make_shelf(authority, {BEARER, BASIC, f"token {TOKEN}"}) as server:
        server.put("/user", "application/json", b'{"login": "an-agent"}')
        server.put("/hello", "text/plain", HELLO.encode())
        shelf_packages.put(server, f"https://{NPM}")
        server.put("/v1/models", "application/json", json.dumps(_models()).encode())
        server.put("/v1/chat/completions", "text/event-stream", *_events(), awaits="/v1/models")
        yield server


def _models() -> dict[str, Any]:
    model = {"id": "a-model", "object": "model", "created": 0, "owned_by": "team"}
    return {"object": "list", "data": [model]}


def _events() -> Iterator[bytes]:
    for word in ("one", "two", "three"):
        choice = {"index": 0, "delta": {"role": "assistant", "content": word}}
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "a-model"}
        yield f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n".encode()
    yield b"data: [DONE]\n\n"


@pytest.fixture(scope="module")
def sandbox(node: Any, shelf: Shelf) -> Iterator[Sandbox]:
    """A sandbox with clients, and placeholders where they want a key."""
    Secrets().set(NAME, TOKEN, hosts=["*.team.example", GITHUB])
    there: dict[str, Any] = {"ports": 443, "connect_to": shelf.address}
    egress = (
        Egress()
        .allow(WEB, name="web", inject=Header("Authorization", f"Bearer {{{NAME}}}"), **there)
        .allow(PYPI, name="pypi", inject=Basic("agent", f"{{{NAME}}}"), **there)
        .allow(MODELS, name="models", substitute=NAME, **there)
        .allow(NPM, name="npm", substitute=NAME, **there)
        .allow(GIT, name="git", substitute=NAME, **there)
        .allow(GITHUB, name="github", substitute=NAME, **there)
        .allow(OTHER, name="other", path="/**", **there)
    )
    env = {
        "OPENAI_API_KEY": Secret(NAME),
        "OPENAI_BASE_URL": f"https://{MODELS}/v1",
        "NPM_TOKEN": Secret(NAME),
        "GIT_TOKEN": Secret(NAME),
        "GH_TOKEN": Secret(NAME),
        "NPM_CONFIG_REGISTRY": f"https://{NPM}/",
        "PIP_INDEX_URL": f"https://{PYPI}/simple/",
        "PYTHONPATH": sandbox_wheels.SITE,
    }
    with Sandbox.create("base", egress=egress, env=env, timeout=1200) as made:
        sandbox_wheels.install(made, "openai", "requests", "httpx")
        yield made
        seen = made.run("env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'").stdout
        assert TOKEN not in seen and "wardian_CLIENTS_TOKEN_" in seen


@pytest.mark.parametrize("client", FETCHERS)
def test_a_client_fetches_with_a_token_it_has_not(
    sandbox: Sandbox, shelf: Shelf, client: str
) -> None:
    path = f"/hello?{client.replace(' ', '-').replace('/', '-')}"
    done = sandbox.run(f"{FETCHERS[client]} 'https://{WEB}{path}'", timeout=60)
    assert (done.stdout.strip(), done.stderr) == (HELLO, "")
    (asked,) = [each for each in shelf.asked if each.path == path]
    assert (asked.host, asked.authorization) == (WEB, BEARER)


def test_a_client_that_asks_for_http_2_has_it(sandbox: Sandbox) -> None:
    """Although the server outside does not speak it."""
    ask = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_version}"]
    assert sandbox.run([*ask, f"https://{WEB}/hello"]).stdout == "2"


def test_clients_verify(sandbox: Sandbox) -> None:
    """What verifies against other authorities gets no further: so the others do verify."""
    other = "/usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt"
    done = sandbox.run(["curl", "--silent", "--cacert", other, f"https://{WEB}/hello"])
    assert done.exit_code == 60


def test_a_models_words_come_one_by_one(sandbox: Sandbox, shelf: Shelf) -> None:
    program = (PROGRAMS / "openai_stream.py").read_text()
    told = json.loads(sandbox.run(["python3", "-c", program], timeout=100, check=True).stdout)
    assert (told["words"], told["models"]) == (["one", "two", "three"], ["a-model"])
    assert told["key"].startswith("wardian_CLIENTS_TOKEN_")
    (asked,) = [each for each in shelf.asked if each.path == "/v1/chat/completions"]
    assert asked.authorization == BEARER and asked.agent.startswith("OpenAI/")
    assert json.loads(asked.body)["stream"] is True


def test_npm_installs_from_a_private_registry(sandbox: Sandbox, shelf: Shelf) -> None:
    sandbox.files.write("/home/user/.npmrc", f"//{NPM}/:_authToken=${{NPM_TOKEN}}\n")
    viewed = sandbox.run(f"npm view {shelf_packages.NAME} version", timeout=100, check=True)
    assert viewed.stdout.strip() == shelf_packages.VERSION
    install = f"mkdir -p js && cd js && npm install --no-audit --no-fund {shelf_packages.NAME}"
    sandbox.run(install, timeout=100, check=True)
    question = f"console.log(require('{shelf_packages.NAME}').said)"
    assert sandbox.run(["node", "-e", question], cwd="js").stdout == "from a tarball\n"
    asked = [each for each in shelf.asked if each.host == NPM]
    assert asked and {each.authorization for each in asked} == {BEARER}


def test_gh_is_who_its_placeholder_stands_for(sandbox: Sandbox, shelf: Shelf) -> None:
    sandbox.files.upload("/usr/bin/gh", "/tmp/gh")
    asked = sandbox.run("chmod +x /tmp/gh && /tmp/gh api user --jq .login", timeout=60)
    assert (asked.stdout, asked.stderr) == ("an-agent\n", "")
    (request,) = [each for each in shelf.asked if each.path == "/user"]
    assert (request.host, request.authorization) == (GITHUB, f"token {TOKEN}")


def test_pip_installs_from_a_private_index(sandbox: Sandbox, shelf: Shelf) -> None:
    pip = ["pip", "install", "--quiet", "--disable-pip-version-check", "--target", "/tmp/demo"]
    done = sandbox.run([*pip, shelf_packages.NAME], timeout=100, check=True)
    assert done.stderr == ""
    question = "import wardian_demo; print(wardian_demo.said)"
    said = sandbox.run(["python3", "-c", question], env={"PYTHONPATH": "/tmp/demo"})
    assert said.stdout == "from a wheel\n"
    asked = [each for each in shelf.asked if each.host == PYPI]
    assert asked and {each.authorization for each in asked} == {BASIC}


def test_git_clones_with_a_placeholder_for_a_password(sandbox: Sandbox, shelf: Shelf) -> None:
    helper = "!f() { echo username=agent; echo password=$GIT_TOKEN; }; f"
    repository = f"https://{GIT}/{shelf_packages.NAME}.git"
    clone = ["git", "-c", f"credential.helper={helper}", "clone", "--quiet", repository, "cloned"]
    done = sandbox.run(clone, env={"GIT_TERMINAL_PROMPT": "0"}, timeout=100)
    assert done.ok, done.stderr
    assert sandbox.files.read("/home/user/cloned/README") == "from a repository\n"
    # It asks without first, as it always does.
    assert [each.authorization for each in shelf.refused if each.host == GIT] == [""]
    asked = [each for each in shelf.asked if each.host == GIT]
    assert asked and {each.authorization for each in asked} == {BASIC}


def test_a_placeholder_is_worth_nothing_elsewhere(sandbox: Sandbox, shelf: Shelf) -> None:
    ask = f'curl --silent -H "Authorization: Bearer $OPENAI_API_KEY" https://{OTHER}/hello'
    assert sandbox.run(ask).stdout == "who are you?"
    held = sandbox.run("echo $OPENAI_API_KEY").stdout.strip()
    refused = [each.authorization for each in shelf.refused if each.host == OTHER]
    assert refused == [f"Bearer {held}"]
    (attempt,) = until(lambda: [*sandbox.egress.events(verdict="attempt")], "the attempt is told")
    assert (attempt.host, attempt.secrets, attempt.status) == (OTHER, [NAME], 401)


def test_everything_is_told(sandbox: Sandbox) -> None:
    """Of the tests before this one."""

    def told() -> dict[str, set[str]]:
        events = [each for each in sandbox.egress.events(kind="request", verdict="allowed")]
        assert {tuple(each.secrets) for each in events if each.status != 401} == {(NAME,)}
        return {each.host: {str(each.rule)} for each in events}

    expected = {WEB: {"web"}, MODELS: {"models"}, NPM: {"npm"}, PYPI: {"pypi"}, GIT: {"git"}}
    expected[GITHUB] = {"github"}
    until(lambda: told() == expected, "every request is told")
