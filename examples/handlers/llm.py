"""A budget of tokens for each sandbox, counted while a language model's answers stream by.

    Egress().allow(
        "api.openai.com", methods="POST",
        handler=Handler("llm", tokens=200_000),
        inject=Header("Authorization", "Bearer {OPENAI_API_KEY}"),
    )

Answers of OpenAI's and Anthropic's kind say how many tokens they took; where a stream does not,
each event counts as one. Requests under way at the same time may go past the budget together.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from typing import Any, cast

from wardian.handlers import Refuse, Request, Response, Sandbox, handler, state_directory

#: What is longer is not understood: a line of a stream, or a whole answer, in bytes.
LONGEST = 1024 * 1024
KINDS = {
    "in": ("prompt_tokens", "input_tokens"),
    "out": ("completion_tokens", "output_tokens"),
}


@handler("llm")
async def llm(request: Request, sandbox: Sandbox) -> Response:
    """Parameter: ``tokens``, how many the sandbox may use in all."""
    budget = int(request.parameters["tokens"])
    left = budget - spent(sandbox.id)
    if left <= 0:
        raise Refuse(429, f"this sandbox has used its {budget} tokens")
    # For whoever looks at the provider's or a proxy's log.
    request.headers["X-Sandbox"] = sandbox.name or sandbox.id
    request.headers["X-Team"] = sandbox.labels.get("team", "none")
    # What is compressed can't be counted.
    request.headers["Accept-Encoding"] = "identity"
    response = await request.send()
    response.headers["X-Tokens-Left"] = str(left)
    return response.replace(body=counted(response, sandbox.id))


async def counted(response: Response, sandbox: str) -> AsyncIterator[bytes]:
    """The answer as it comes; what it took is noted however it ends."""
    count = Count(response.headers.get("Content-Type", "").startswith("text/event-stream"))
    try:
        async for piece in response.stream():
            count.see(piece)
            yield piece
    finally:
        spend(sandbox, count.end())


class Count:
    """Counts the tokens of one answer, from its bytes in whatever pieces.

    Args:
        streams: it is a stream of events, else one JSON document.
    """

    def __init__(self, streams: bool) -> None:
        self._streams = streams
        self._rest = b""
        self._told: dict[str, int] = {}
        self._events = 0

    def see(self, piece: bytes) -> None:
        """Takes the next bytes."""
        self._rest += piece
        if self._streams:
            *lines, self._rest = self._rest.split(b"\n")
            for line in lines:
                self._read(line)
        if len(self._rest) > LONGEST:
            self._rest = b""

    def end(self) -> int:
        """How many there were."""
        self._read(self._rest)
        return sum(self._told.values()) or (self._events if self._streams else 0)

    def _read(self, line: bytes) -> None:
        try:
            said = json.loads(line.removeprefix(b"data:"))
        except ValueError:
            return
        self._events += 1
        for usage in usages(said):
            for kind, names in KINDS.items():
                told = [n for name in names if type(n := usage.get(name)) is int]
                # Later events repeat what earlier ones said, and what came since.
                self._told[kind] = max([self._told.get(kind, 0), *told])


def usages(said: Any) -> Iterable[dict[str, Any]]:
    """Where an answer, or an event of one, says what was used."""
    if isinstance(said, dict):
        whole = cast(dict[str, Any], said)
        for place in (whole, whole.get("message"), whole.get("response")):
            usage = cast(dict[str, Any], place).get("usage") if isinstance(place, dict) else None
            if isinstance(usage, dict):
                yield cast(dict[str, Any], usage)


def spent(sandbox: str) -> int:
    """How many tokens a sandbox has used."""
    with closing(_database()) as database:
        question = "SELECT tokens FROM spent WHERE sandbox = ?"
        return next((int(row[0]) for row in database.execute(question, [sandbox])), 0)


def spend(sandbox: str, tokens: int) -> None:
    """Adds to what a sandbox has used."""
    statement = (
        "INSERT INTO spent VALUES (?, ?)"
        " ON CONFLICT (sandbox) DO UPDATE SET tokens = tokens + excluded.tokens"
    )
    with closing(_database()) as database, database:
        database.execute(statement, [sandbox, tokens])


def _database() -> sqlite3.Connection:
    # A file, not a variable: this module begins anew whenever a handler is changed.
    database = sqlite3.connect(state_directory() / "tokens.db")
    database.execute("CREATE TABLE IF NOT EXISTS spent (sandbox TEXT PRIMARY KEY, tokens INTEGER)")
    return database
