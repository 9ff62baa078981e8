"""Secrets that the edge puts in: they go where the rule says, and nowhere else."""

from __future__ import annotations

import base64
import json
import re
import secrets as random_words
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from doubles.outside import Outside

from wardian import Sandbox
from wardian.server.node.temporary import TemporaryNode

from . import frames
from .confined import ALLOWED, OTHER, Confined, Rule, Talk
from .conftest import Confine


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret of the node, and what nobody in a sandbox may see of it."""

    name: str
    value: str

    def absent_in(self, *texts: str) -> None:
        """No text shows it, plainly or encoded."""
        forms = {self.value, self.value[3:-3], base64.b64encode(self.value.encode()).decode()[4:-6]}
        assert [text for text in texts if any(form in text for form in forms)] == []


@pytest.fixture(scope="module")
def secret(api: httpx.Client) -> Iterator[Secret]:
    made = Secret(f"T{random_words.token_hex(4).upper()}", f"s3cr3t-{random_words.token_hex(16)}")
    answer = api.put(f"/v1/secrets/{made.name}", json={"value": made.value})
    assert answer.status_code == 201, answer.text
    yield made
    api.delete(f"/v1/secrets/{made.name}")


def _injecting(secret: Secret, **more: object) -> list[Rule]:
    header = {"header": "Authorization", "value": f"Bearer {{{secret.name}}}"}
    return [
        {"name": "with", "action": "allow", "host": ALLOWED, "inject": [header], **more},
        {"name": "without", "action": "allow", "host": OTHER, "methods": ["GET", "POST"]},
    ]


def _get(path: str, *headers: str, host: str = ALLOWED, wait: float = 3) -> Talk:
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "Connection: close", "", ""]
    return Talk(
        host, 443, ["\r\n".join(lines)], tls={"name": host, "alpn": ["http/1.1"]}, wait=wait
    )


_ECHOES = ("body", "header", "chunks", "trickle", "gzip", "cookie", "location", "name", "error",
           "reason", "early", "trailer", "extension")  # fmt: skip


@pytest.mark.parametrize("way", _ECHOES)
def test_no_echo_shows_the_secret(
    confine: Confine, doubles: Outside, secret: Secret, way: str
) -> None:
    inside = confine(_injecting(secret, redact=True))
    path = f"/reflect?header=authorization&as={way}"
    # A name that speaks no HTTP/2, for what only HTTP/1 can say.
    first = inside.say(_get(path, "Accept-Encoding: gzip, br"))
    secret.absent_in(first.received)
    assert first.status in (200, 302, 500, 502), first
    (request,) = doubles.record.requests
    assert request.all("authorization") == [f"Bearer {secret.value}"]
    if way in ("body", "chunks", "trickle", "error"):
        unframed = re.sub(r"\r\n(?:[0-9A-Fa-f]+\r\n)?", "", first.received)
        assert "Bearer ***" in unframed
    if way == "gzip":
        assert request.all("accept-encoding") == ["identity"]
        inside.told(verdict="failed", reason="credential")


@pytest.mark.parametrize("way", ["body", "header", "chunks", "trickle", "trailer", "early"])
def test_no_echo_shows_the_secret_over_one(
    confine: Confine, doubles: Outside, secret: Secret, way: str
) -> None:
    """The same from a server that speaks no HTTP/2."""
    name = "one.allowed.example"
    doubles.names.set(name, "93.184.216.34")
    header = {"header": "Authorization", "value": f"Bearer {{{secret.name}}}"}
    inside = confine([{"action": "allow", "host": name, "inject": [header], "redact": True}])
    heard = inside.say(_get(f"/reflect?header=authorization&as={way}", "TE: trailers", host=name))
    secret.absent_in(heard.received)
    assert doubles.record.requests[0].version == "1.1"


_OWN = {
    "the same header": ["Authorization: Bearer mine"],
    "twice": ["Authorization: Bearer mine", "authorization: Basic x"],
    "in other letters": ["aUTHORIZATION: Bearer mine"],
    "as a hop": ["Connection: authorization"],
    "as a hop, given": ["Authorization: Bearer mine", "Connection: keep-alive, Authorization"],
    "of a proxy": ["Proxy-Authorization: Bearer mine"],
    "with a space": ["Authorization : Bearer mine"],
    "folded": ["X: y", " Authorization: Bearer mine"],
}


@pytest.mark.parametrize("way", _OWN)
def test_the_sandbox_cannot_put_its_own_in_the_place(
    confine: Confine, doubles: Outside, secret: Secret, way: str
) -> None:
    inside = confine(_injecting(secret))
    inside.say(_get("/outer", *_OWN[way]))
    for request in doubles.record.requests:
        assert request.all("authorization") == [f"Bearer {secret.value}"]
        assert "mine" not in request.head.decode("latin-1") or way == "of a proxy"
        assert [v for v in request.all("connection") if "authorization" in v.lower()] == []


_ELSEWHERE = {
    "another name": _get("/x", host=OTHER),
    "another host in the request": Talk(
        ALLOWED, 443, [f"GET /x HTTP/1.1\r\nHost: {OTHER}\r\n\r\n"], tls={"name": ALLOWED}
    ),
    "the allowed host on another name": Talk(
        OTHER, 443, [f"GET /x HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n"], tls={"name": OTHER}
    ),
    "the allowed name in tls": Talk(
        OTHER, 443, [f"GET /x HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n"], tls={"name": ALLOWED}
    ),
    "absolute form": Talk(
        OTHER, 443, [f"GET https://{ALLOWED}/x HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n"],
        tls={"name": OTHER},
    ),
    "two hosts": _get("/x", f"Host: {ALLOWED}", host=OTHER),
    "forwarded": _get("/x", f"X-Forwarded-Host: {ALLOWED}", host=OTHER),
}  # fmt: skip


@pytest.mark.parametrize("way", _ELSEWHERE)
def test_another_host_is_given_no_secret(
    confine: Confine, doubles: Outside, secret: Secret, way: str
) -> None:
    inside = confine(_injecting(secret))
    inside.say(_ELSEWHERE[way])
    assert secret.value.encode() not in doubles.record.all_bytes()


def test_a_redirect_takes_no_secret_along(
    confine: Confine, doubles: Outside, secret: Secret
) -> None:
    inside = confine(_injecting(secret))
    url = f"https://{ALLOWED}/redirect?to=https://{OTHER}/taken"
    inside.sandbox.run(["curl", "-sSkL", "-m", "10", url], check=True)
    (taken,) = [each for each in doubles.record.requests if each.target == "/taken"]
    assert taken.all("authorization") == []


@pytest.fixture
def holder(api: httpx.Client, doubles: Outside, secret: Secret) -> Iterator[Confined]:
    """A sandbox that holds a placeholder, which is swapped towards the allowed host only."""
    rules: list[Rule] = [
        {"name": "swaps", "action": "allow", "host": ALLOWED, "ports": [443],
         "substitute": [secret.name]},
        {"name": "swaps-not", "action": "allow", "host": OTHER, "methods": ["GET", "POST"]},
        {"name": "plain", "action": "allow", "host": ALLOWED, "ports": [80]},
    ]  # fmt: skip
    answer = api.post(
        "/v1/sandboxes",
        json={
            "template": "base",
            "timeout": 600,
            "env": {"TOKEN": {"secret": secret.name}},
            "egress": {"rules": rules, "template": False},
        },
    )
    assert answer.status_code == 201, answer.text
    with Sandbox.get(answer.json()["id"]) as sandbox:
        yield Confined(sandbox, api, doubles)
        sandbox.kill()


def _placeholder(holder: Confined, secret: Secret) -> str:
    held = holder.sandbox.run("printf %s $TOKEN", check=True).stdout
    secret.absent_in(held)
    assert len(held) >= 16
    return held


def test_a_placeholder_becomes_the_secret_where_it_belongs(
    holder: Confined, secret: Secret
) -> None:
    held = _placeholder(holder, secret)
    basic = base64.b64encode(f"user:{held}".encode()).decode()
    holder.talk(
        _get(f"/query?key={held}"), _get("/header", f"X-Key: {held}"),
        _get("/basic", f"Authorization: Basic {basic}"),
    )  # fmt: skip
    by_path = {each.target.partition("?")[0]: each for each in holder.outside.record.requests}
    assert by_path["/query"].target == f"/query?key={secret.value}"
    assert by_path["/header"].all("x-key") == [secret.value]
    encoded = base64.b64encode(f"user:{secret.value}".encode()).decode()
    assert by_path["/basic"].all("authorization") == [f"Basic {encoded}"]


_ASTRAY = {
    "a header elsewhere": lambda held: _get("/x", f"X-Key: {held}", host=OTHER),
    "a query elsewhere": lambda held: _get(f"/x?key={held}", host=OTHER),
    "basic credentials elsewhere": lambda held: _get(
        "/x", f"Authorization: Basic {base64.b64encode(f'u:{held}'.encode()).decode()}", host=OTHER
    ),
    "a plain connection": lambda held: Talk(
        ALLOWED, 80,
        [f"GET /x HTTP/1.1\r\nHost: {ALLOWED}\r\nX-Key: {held}\r\nConnection: close\r\n\r\n"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", _ASTRAY)
def test_a_placeholder_elsewhere_stays_what_it_is_and_is_told(
    holder: Confined, secret: Secret, way: str
) -> None:
    held = _placeholder(holder, secret)
    assert holder.say(_ASTRAY[way](held)).status == 200
    assert secret.value.encode() not in holder.outside.record.all_bytes()
    event = holder.told(verdict="attempt", kind="request")
    assert event["secrets"] == [secret.name]


@pytest.mark.parametrize(
    "where", ["path", "body", "header name", "split", "encoded", "reversed", "host"]
)
def test_a_placeholder_where_it_is_not_looked_for_stays_what_it_is(
    holder: Confined, secret: Secret, where: str
) -> None:
    held = _placeholder(holder, secret)
    talks = {
        "path": _get(f"/{held}"),
        "body": Talk(
            ALLOWED, 443,
            [f"POST /x HTTP/1.1\r\nHost: {ALLOWED}\r\nContent-Length: {len(held)}\r\n"
             f"Connection: close\r\n\r\n{held}"],
            tls={"name": ALLOWED},
        ),
        "header name": _get("/x", f"{held}: x"),
        "split": _get("/x", f"X-A: {held[:8]}", f"X-B: {held[8:]}"),
        "encoded": _get("/x", f"X-A: {held.encode().hex()}"),
        "reversed": _get("/x", f"X-A: {held[::-1]}"),
        "host": _get("/x", f"X-A: {held}@{OTHER}", host=OTHER),
    }  # fmt: skip
    holder.say(talks[where])
    assert secret.value.encode() not in holder.outside.record.all_bytes()


def test_http_2_carries_secrets_the_same_way(
    confine: Confine, doubles: Outside, secret: Secret
) -> None:
    inside = confine(_injecting(secret, redact=True))
    fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", ALLOWED.encode())]
    path = b"/reflect?header=authorization&as=trickle"
    fields += [(b":path", path), (b"authorization", b"Bearer mine"), (b"authorization", b"x")]
    data = frames.begin() + frames.request(fields)
    heard = inside.say(Talk(ALLOWED, 443, [data], tls={"name": ALLOWED, "alpn": ["h2"]}, wait=1))
    secret.absent_in(heard.received)
    (request,) = doubles.record.requests
    assert request.all("authorization") == [f"Bearer {secret.value}"]


def test_no_secret_is_told_anywhere(confine: Confine, node: TemporaryNode, secret: Secret) -> None:
    inside = confine(_injecting(secret))
    inside.say(_get(f"/x?{secret.name}=1"))
    inside.told(verdict="allowed", secrets=[secret.name])
    shown = [inside.api.get(path).text for path in (
        f"{inside.path}/egress", f"{inside.path}/egress/events", inside.path, "/v1/secrets",
    )]  # fmt: skip
    shown.append(json.dumps(inside.events()))
    shown.append(node.log().decode(errors="replace"))
    for pid in (node.edge_pid(), node.control_pid(), node.launcher_pid()):
        for part in ("cmdline", "environ"):
            shown.append(Path(f"/proc/{pid}/{part}").read_text(errors="replace"))
    shown.append(inside.sandbox.run("env; cat /proc/1/environ", user="root").stdout)
    database = node.home / "control"
    shown += [path.read_bytes().decode("latin-1") for path in database.iterdir() if path.is_file()]
    secret.absent_in(*shown)
