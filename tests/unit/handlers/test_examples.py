"""The handlers in examples/, called as functions, as their operators test their own."""

from __future__ import annotations

import gzip
import json
import runpy
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from wardian.handlers import Refuse, Request, Response, Sandbox

EXAMPLES = Path(__file__).parents[3] / "examples" / "handlers"
GITHUB = runpy.run_path(str(EXAMPLES / "github.py"))["github"]
LLM = runpy.run_path(str(EXAMPLES / "llm.py"))["llm"]
SANDBOX = Sandbox("s" * 20, "box", None, {"team": "a"})

API, GIT = "https://api.github.com", "https://github.com"
READS = [
    ("GET", f"{API}/repos/acme/app"),
    ("HEAD", f"{API}/repos/Acme/app/contents/a%20b.txt?ref=main"),
    ("GET", f"{API}/orgs/acme/repos"),
    ("GET", f"{GIT}/acme/app.git/info/refs?service=git-upload-pack"),
    ("POST", f"{GIT}/acme/app/git-upload-pack"),
]
WRITES = [
    ("POST", f"{API}/repos/acme/app/issues"),
    ("DELETE", f"{API}/repos/acme/app"),
    ("GET", f"{GIT}/acme/app.git/info/refs?service=git-receive-pack"),
    ("POST", f"{GIT}/acme/app.git/git-receive-pack"),
]
NEVER = [
    ("GET", f"{API}/repos/other/app"),
    ("GET", f"{API}/repos/acme/../other/app"),
    ("GET", f"{API}/repos/acme/%2e%2e/other/app"),
    ("GET", f"{API}/repos/acme/app/..%2f..%2fother"),
    ("GET", f"{API}/repos/acme/app/%252e%252e/other"),
    ("GET", f"{API}/repos//acme/app"),
    ("GET", f"{API}/repos/acme"),
    ("GET", f"{API}/repositories/1"),
    ("GET", f"{API}/user"),
    ("POST", f"{API}/graphql"),
    ("PATCH", f"{API}/orgs/acme/repos"),
    ("POST", f"{API}/"),
    ("GET", f"{GIT}/other/app.git/info/refs?service=git-upload-pack"),
    ("GET", f"{GIT}/acme/app.git/info/refs?service=git-upload-pack&service=git-receive-pack"),
    ("GET", f"{GIT}/acme/app.git/info/refs"),
    ("GET", f"{GIT}/acme/app"),
    ("POST", f"{GIT}/acme/app/settings"),
    ("POST", f"{GIT}/session"),
]


async def allowed(method: str, url: str, **parameters: Any) -> bool:
    request = Request(method, url, parameters={"organisation": "acme", **parameters})
    try:
        return (await GITHUB(request, SANDBOX)) is request
    except Refuse as refusal:
        assert refusal.status == 403
        return False


@pytest.mark.parametrize(("method", "url"), READS)
async def test_repositories_of_the_organisation_are_read(method: str, url: str) -> None:
    assert await allowed(method, url)


@pytest.mark.parametrize(("method", "url"), WRITES)
async def test_they_are_written_only_where_that_is_said(method: str, url: str) -> None:
    for word in (False, "false", "no", "", None, 0):
        assert not await allowed(method, url, write=word)
    assert not await allowed(method, url)
    assert await allowed(method, url, write=True) and await allowed(method, url, write="true")


@pytest.mark.parametrize(("method", "url"), NEVER)
async def test_nothing_else_passes(method: str, url: str) -> None:
    assert not await allowed(method, url, write=True)


OPENAI = [
    b'data: {"choices": [{"delta": {"content": "a"}}], "usage": null}\n\n',
    b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}\n\n',
    b"data: [DONE]\n\n",
]
ANTHROPIC = [
    b"event: message_start\n",
    b'data: {"message": {"usage": {"input_tokens": 5, "output_tokens": 1}}}\n\n',
    b'data: {"type": "content_block_delta", "delta": {"text": "a"}}\n\n',
    b'data: {"type": "message_delta", "usage": {"output_tokens": 9}}\n\n',
]
SILENT = [b'data: {"choices": []}\n\n', b": a comment\n\n", b'data: {"choices": []}']
WHOLE = json.dumps({"usage": {"prompt_tokens": 6, "completion_tokens": 7}}, indent=2).encode()
STREAM = "text/event-stream; charset=utf-8"


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Asks the handler for an answer of these pieces, with a budget of 20 tokens; a new process
    each time, for all that it keeps is its directory."""
    monkeypatch.setenv("WARDIAN_HANDLERS_STATE", str(tmp_path))

    async def asked(pieces: list[bytes], kind: str = STREAM) -> tuple[Request, Response]:
        sent: list[Request] = []

        async def body() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        async def send(request: Request) -> Response:
            sent.append(request)
            return Response(200, {"Content-Type": kind}, body())

        request = Request("POST", "https://llm.example/v1", parameters={"tokens": 20}, sender=send)
        response = await LLM(request, SANDBOX)
        assert await response.body() == b"".join(pieces)
        return sent[0], response

    return asked


@pytest.mark.parametrize(
    ("pieces", "kind", "tokens"),
    [
        (OPENAI, STREAM, 7),
        ([b"".join(OPENAI)], STREAM, 7),
        ([bytes([byte]) for byte in b"".join(OPENAI)], STREAM, 7),
        (ANTHROPIC, STREAM, 14),
        (SILENT, STREAM, 2),
        ([WHOLE[:20], WHOLE[20:]], "application/json", 13),
        ([b'{"error": "no"}'], "application/json", 0),
        ([gzip.compress(WHOLE)], "application/json", 0),
        ([b"[1, 2]"], "application/json", 0),
        ([b'{"usage": {"prompt_tokens": "9", "completion_tokens": true}}'], "a/b", 0),
    ],
)
async def test_tokens_are_counted(
    ask: Callable[..., Any], pieces: list[bytes], kind: str, tokens: int
) -> None:
    request, response = await ask(pieces, kind)
    assert response.headers["X-Tokens-Left"] == "20"
    assert (request.headers["X-Sandbox"], request.headers["X-Team"]) == ("box", "a")
    assert (await ask([], kind))[1].headers["X-Tokens-Left"] == str(20 - tokens)


async def test_the_budget_ends(ask: Callable[..., Any]) -> None:
    for left in ("20", "13", "6"):
        assert (await ask(OPENAI))[1].headers["X-Tokens-Left"] == left
    with pytest.raises(Refuse) as refused:
        await ask(OPENAI)
    assert refused.value.status == 429
