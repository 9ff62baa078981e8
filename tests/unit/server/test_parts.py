"""The small parts, each for itself."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_peers.node import configuration_for

from wardian.server import configuration, logs, sockets
from wardian.server.api import models, views
from wardian.server.configuration import ConfigurationError
from wardian.server.errors import InvalidRequest, WardianError
from wardian.server.sandboxes import identifiers
from wardian.server.sandboxes.changes import Changes
from wardian.server.sandboxes.expiry import Expiry
from wardian.server.store.pages import Position
from wardian.server.store.sealing import Sealer


def test_ids_are_of_their_alphabet_and_differ() -> None:
    made = [identifiers.new_sandbox_id() for _ in range(2000)]
    assert all(identifiers.is_sandbox_id(one) for one in made) and len(set(made)) == 2000
    assert set("".join(made)) == set(identifiers.ALPHABET)


@given(st.text(max_size=70))
def test_a_name_is_one_dns_label_and_never_an_id(text: str) -> None:
    if identifiers.is_name(text):
        assert 1 <= len(text) <= 63 and text.isascii() and text == text.lower()
        assert text[0] != "-" and text[-1] != "-" and text.replace("-", "a").isalnum()
        assert not identifiers.is_sandbox_id(text)


@given(st.integers(0, 2**62), st.text(identifiers.ALPHABET, min_size=20, max_size=20))
def test_cursors_come_back_as_they_were(moment: int, sandbox: str) -> None:
    position = Position(moment, sandbox)
    assert Position.parse(position.cursor()) == position


@given(st.text(max_size=150))
def test_other_cursors_are_refused_and_nothing_else_happens(text: str) -> None:
    try:
        position = Position.parse(text)
    except InvalidRequest:
        return
    assert identifiers.is_sandbox_id(position.id)


@given(st.integers(0, 4_000_000_000_000))
def test_times_are_rfc_3339_with_milliseconds(moment: int) -> None:
    from datetime import datetime

    text = views.timestamp(moment)
    assert len(text) == 24 and text.endswith("Z")
    assert round(datetime.fromisoformat(text).timestamp() * 1000) == moment


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=300), max_size=3))
def test_labels_that_pass_can_be_stored(labels: dict[str, str]) -> None:
    try:
        body = msgspec.json.decode(
            json.dumps({"labels": labels}).encode(), type=models.UpdateSandbox
        )
    except msgspec.ValidationError:
        return
    assert isinstance(body.labels, dict)
    for key, value in body.labels.items():
        assert 1 <= len(key) <= 63 and key.isascii() and not key.isspace()
        assert len(value.encode()) <= 255 and "\0" not in value


def test_sealed_text_opens_only_with_its_key_and_context() -> None:
    sealer = Sealer(b"k" * 32)
    sealed = sealer.seal(b"secret", "one")
    assert sealer.open(sealed, "one") == b"secret"
    assert sealed != sealer.seal(b"secret", "one")
    for opener, context, text in [
        (sealer, "two", sealed),
        (Sealer(b"l" * 32), "one", sealed),
        (sealer, "one", sealed[:-8] + "AAAAAAA="),
        (sealer, "one", "!"),
        (sealer, "one", ""),
    ]:
        with pytest.raises(WardianError, match=r"one|two"):
            opener.open(text, context)


def test_the_key_file_is_made_once_and_never_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    sealed = Sealer.from_file(path).seal(b"x", "c")
    assert path.stat().st_mode & 0o777 == 0o600
    assert Sealer.from_file(path).open(sealed, "c") == b"x"
    path.write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="5 bytes"):
        Sealer.from_file(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"colour": "red"}, "colour"),
        ({"instance": "xyz"}, "instance"),
        ({"home": "relative"}, "home"),
        ({"edge_uid": "root"}, "edge_uid"),
        ({"pool": {"path": "/", "kind": "zfs", "image": None}}, "pool.kind"),
        ({"tls": {"certificate": "/c"}}, "tls"),
    ],
)
def test_a_configuration_that_is_wrong_is_refused(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    good = configuration_for(tmp_path)
    path = tmp_path / "home" / "node.json"
    assert configuration.load(path) == good
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConfigurationError, match=says):
        configuration.load(path)
    with pytest.raises(ConfigurationError):
        configuration.load(tmp_path / "none.json")


def test_the_database_url(tmp_path: Path) -> None:
    config = configuration_for(tmp_path)
    assert configuration.database_url(config) is None
    path = config.control_home / "database-url"
    path.write_text("postgresql://u@/d?host=/run\n")
    assert configuration.database_url(config) == "postgresql+asyncpg://u@/d?host=/run"
    path.write_text("mysql://secret@host")
    with pytest.raises(ConfigurationError) as refused:
        configuration.database_url(config)
    assert "secret" not in str(refused.value)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 9)), max_size=30))
def test_expiry_keeps_the_last_deadline_of_each(steps: list[tuple[str, int | None]]) -> None:
    expiry = Expiry()
    last: dict[str, int] = {}
    for sandbox, deadline in steps:
        expiry.schedule(sandbox, deadline)
        last.pop(sandbox, None)
        if deadline is not None:
            last[sandbox] = deadline
    for now in range(10):
        due = expiry.take_due(now)
        assert len(due) == len(set(due))
        assert set(due) == {sandbox for sandbox, deadline in last.items() if deadline == now}


async def test_changes_of_one_sandbox_take_turns_and_are_seen() -> None:
    changes = Changes()
    inside: list[str] = []

    async def change(sandbox: str) -> None:
        async with changes.of(sandbox):
            assert sandbox not in inside
            inside.append(sandbox)
            await asyncio.sleep(0)
            inside.remove(sandbox)

    async with asyncio.TaskGroup() as group, changes.of("held"):
        with changes.observe() as touched:
            assert touched == {"held"}
            for sandbox in "aabbb":
                group.create_task(change(sandbox))
            await asyncio.sleep(0.01)
            assert touched == {"held", "a", "b"}
    with changes.observe() as touched:
        assert touched == set()


def test_log_lines_are_json_with_the_request_and_without_line_feeds() -> None:
    record = logging.makeLogRecord(
        {
            "name": "wardian.x",
            "levelname": "WARNING",
            "msg": "a\nb %s",
            "args": (1,),
            "sandbox": "s",
        }
    )
    token = logs.request_id.set("r")
    try:
        line = logs.JsonFormatter().format(record)
    finally:
        logs.request_id.reset(token)
    assert "\n" not in line
    read = json.loads(line)
    assert (read["level"], read["message"], read["sandbox"]) == ("warn", "a\nb 1", "s")
    assert read["request"] == "r"


def test_a_socket_left_behind_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with sockets.listening(path):
        assert path.stat().st_mode & 0o777 == 0o660
        with pytest.raises(ConfigurationError, match="another"), sockets.listening(path):
            pass
        assert path.exists()
    assert not path.exists()
    path.touch()
    with sockets.listening(path):
        assert path.is_socket()
