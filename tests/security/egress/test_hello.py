"""Who TLS says it wants must be whom it dialled, however the hello is written."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from doubles.outside import Outside

from . import campaign, hello
from .campaign import Campaign
from .confined import ALLOWED, ALLOWED_ADDRESS, LEAK, OPENED, OTHER, SPLICED, Confined, Talk
from .conftest import Confine

_ALLOWED, _OTHER = ALLOWED.encode(), OTHER.encode()
_WRONG = {
    "another name": hello.hello(hello.server_name(_OTHER)),
    "a name below": hello.hello(hello.server_name(b"x." + _ALLOWED)),
    "a name above": hello.hello(hello.server_name(b"example")),
    "an address": hello.hello(hello.server_name(ALLOWED_ADDRESS.encode())),
    "no name": hello.hello(),
    "an empty name": hello.hello(hello.server_name(b"")),
    "an empty list": hello.hello(hello.server_name()),
    "an empty extension": hello.hello(hello.extension(hello.SERVER_NAME, b"")),
    "two names": hello.hello(hello.server_name(_ALLOWED, _OTHER)),
    "two names, the other first": hello.hello(hello.server_name(_OTHER, _ALLOWED)),
    "two extensions": hello.hello(hello.server_name(_ALLOWED), hello.server_name(_OTHER)),
    "the same name twice": hello.hello(hello.server_name(_ALLOWED), hello.server_name(_ALLOWED)),
    "nul and another name": hello.hello(hello.server_name(_ALLOWED + b"\0." + _OTHER)),
    "another name and nul": hello.hello(hello.server_name(_OTHER + b"\0" + _ALLOWED)),
    "nul at the end": hello.hello(hello.server_name(_ALLOWED + b"\0")),
    "a space at the end": hello.hello(hello.server_name(_ALLOWED + b" ")),
    "a line end": hello.hello(hello.server_name(_ALLOWED + b"\r\n" + _OTHER)),
    "another kind of name": hello.hello(hello.server_name(_ALLOWED, kind=1)),
    "a dot at the end": hello.hello(hello.server_name(_ALLOWED + b".")),
    "two dots at the end": hello.hello(hello.server_name(_ALLOWED + b"..")),
    "no utf-8": hello.hello(hello.server_name(b"\xff" + _ALLOWED)),
    "a name of 10,000 bytes": hello.hello(hello.server_name(b"a" * 10000)),
    "another name in small records": hello.in_records(hello.message(hello.server_name(_OTHER)), 16),
    "another name in records of one byte": hello.in_records(
        hello.message(hello.server_name(_OTHER)), 1
    ),
    "encrypted": hello.hello(
        hello.server_name(_ALLOWED), hello.extension(hello.ENCRYPTED_HELLO, b"\0" * 200)
    ),
    "encrypted, another name": hello.hello(
        hello.server_name(_OTHER), hello.extension(hello.ENCRYPTED_HELLO, b"\0" * 200)
    ),
    "encrypted, empty": hello.hello(
        hello.server_name(_ALLOWED), hello.extension(hello.ENCRYPTED_HELLO, b"")
    ),
    "length beyond the extension": hello.hello(
        hello.extension(hello.SERVER_NAME, b"\x00\xff\x00\x00\x0f" + _ALLOWED)
    ),
    "length short of the name": hello.hello(
        hello.extension(hello.SERVER_NAME, b"\x00\x12\x00\x00\x03" + _ALLOWED)
    ),
}


_RULES = {"spliced": SPLICED, "opened": OPENED}


@pytest.fixture(scope="module", params=_RULES)
def wrong(request: Any, api: httpx.Client, outside: Outside) -> Campaign:
    """All of them, where the connection is passed on and where it is opened."""
    talks = {way: Talk(ALLOWED, 443, [sent], wait=15) for way, sent in _WRONG.items()}
    return campaign.run(api, outside, _RULES[request.param], talks)


@pytest.mark.parametrize("way", _WRONG)
def test_another_name_in_tls_gets_nowhere(wrong: Campaign, way: str) -> None:
    outcome = wrong[way]
    assert outcome.heard.refused, outcome
    assert outcome.heard.end != "silent"
    # A server that may be reached may be dialled before it is clear who is asked for; it hears
    # nothing then.
    assert [arrival for arrival in outcome.arrivals if arrival.raw] == []
    outcome.nothing_leaked()
    outcome.told(
        verdict="denied", port=443, kind="connection",
        reason={"sni_mismatch", "encrypted_hello", "malformed", "too_large", "not_http"},
    )  # fmt: skip


_MALFORMED = {
    "two alerts": hello.record(b"\x02\x28", kind=21) * 2,
    "application data first": hello.record(LEAK.encode(), kind=23),
    "records without anything": hello.record(b"") * 200,
    "server hello": hello.record(b"\x02" + hello.message()[1:]),
    "version 2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + LEAK.encode() + b"\0" * 40,
    "a record that promises too much": b"\x16\x03\x01\xff\xff" + LEAK.encode() + b"\0" * 70000,
    "a hello of 16 MiB": hello.record(b"\x01\xff\xff\xff" + LEAK.encode()) * 3000,
    "wrong version of records": b"\x16\x09\x09\x00\x20" + b"\x01\0\0\x1c" + b"\0" * 28,
}


@pytest.fixture(scope="module")
def malformed(api: httpx.Client, outside: Outside) -> Campaign:
    """All of them, where the connection must be opened."""
    talks = {way: Talk(ALLOWED, 443, [sent], end=True) for way, sent in _MALFORMED.items()}
    return campaign.run(api, outside, OPENED, talks)


@pytest.mark.parametrize("way", _MALFORMED)
def test_what_is_no_hello_gets_nowhere_where_tls_is_opened(malformed: Campaign, way: str) -> None:
    outcome = malformed[way]
    assert outcome.heard.refused, outcome
    outcome.nothing_leaked()
    outcome.told(
        verdict="denied", port=443, reason={"malformed", "not_http", "too_large", "sni_mismatch"}
    )


@pytest.mark.parametrize("rules", [SPLICED, OPENED], ids=["spliced", "opened"])
def test_a_hello_in_single_bytes_is_read_whole(confine: Confine, rules: list) -> None:
    inside = confine(rules)
    wrong = hello.hello(hello.server_name(_OTHER))
    right = hello.hello(hello.server_name(_ALLOWED))
    pieces = [bytes([byte]) for byte in wrong]
    talks = [Talk(ALLOWED, 443, pieces, gap=0.001)]
    talks.append(Talk(ALLOWED, 443, [bytes([byte]) for byte in right], gap=0.001, wait=1))
    refused, passed = inside.talk(*talks)
    assert refused.refused, refused
    # A server's hello: the connection is on its way.
    assert passed.received.startswith("\x16\x03"), passed
    assert all(each.server_name != OTHER for each in inside.outside.record.arrivals)


@pytest.mark.parametrize("name", [ALLOWED, ALLOWED.upper()])
def test_the_right_name_passes_in_other_spellings(confine: Confine, name: str) -> None:
    """Without this, an edge that refuses everything would pass the tests above."""
    inside = confine(OPENED)
    heard = inside.say(Talk(ALLOWED, 443, [hello.hello(hello.server_name(name.encode()))], wait=1))
    assert heard.received.startswith("\x16\x03"), heard


@pytest.mark.parametrize("version", ["1.0"])
def test_old_tls_is_not_spoken(confine: Confine, version: str) -> None:
    inside = confine(OPENED)
    heard = inside.say(_get({"name": ALLOWED, "highest": version}))
    assert heard.stage == "tls"
    inside.nothing_got_out()


def test_plain_words_on_the_port_of_tls_are_read_as_http(confine: Confine) -> None:
    inside = confine(OPENED)
    request = f"GET /{LEAK} HTTP/1.1\r\nHost: {OTHER}\r\nConnection: close\r\n\r\n"
    assert inside.say(Talk(ALLOWED, 443, [request])).status == 403
    inside.nothing_got_out()
    inside.told(verdict="denied", reason="host_mismatch", kind="request", host=ALLOWED)


def test_tls_on_the_port_of_http_is_read_as_tls(confine: Confine) -> None:
    inside = confine(SPLICED)
    assert inside.say(Talk(ALLOWED, 80, [hello.hello(hello.server_name(_OTHER))])).refused
    inside.nothing_got_out(but=(ALLOWED_ADDRESS,))
    inside.told(verdict="denied", reason="sni_mismatch", port=80)


@pytest.mark.parametrize(
    "first",
    ["SSH-2.0-attack\r\n", "\0\0\0\x08\x04\xd2\x16\x2f", "EHLO attack\r\n", "\x05\x01\x00"],
    ids=["ssh", "postgres", "smtp", "socks"],
)
def test_other_protocols_do_not_pass_where_requests_are_decided(
    confine: Confine, first: str
) -> None:
    inside = confine(OPENED)
    assert inside.say(Talk(ALLOWED, 9000, [first + LEAK])).refused
    inside.nothing_got_out()
    inside.told(verdict="denied", reason="not_http", port=9000)


def _get(tls: dict, host: str = ALLOWED) -> Talk:
    request = f"GET /{LEAK} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    return Talk(host, 443, [request], tls=tls)


@pytest.mark.parametrize("kind", ["expired", "wrongname", "untrusted"])
def test_servers_with_a_bad_certificate_are_not_spoken_to(confine: Confine, kind: str) -> None:
    name = f"{kind}.example"
    inside: Confined = confine([{"action": "allow", "host": name, "methods": ["GET"]}])
    inside.outside.names.set(name, ALLOWED_ADDRESS)
    heard = inside.say(_get({"name": name}, name))
    assert heard.status == 502, heard
    assert "wardian-egress: failed" in heard.received.lower()
    assert inside.outside.record.requests == []
    inside.told(verdict="failed", reason="certificate", host=name)
