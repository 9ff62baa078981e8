"""The resolver in a sandbox: it tells no more than the policy allows, and carries nothing out."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from . import questions
from .confined import ALLOWED, ANYWHERE, LEAK, OTHER, SPLICED, Confined, Heard, Talk
from .conftest import Confine

_RESOLVER = "10.0.0.1"
_SYNTHETIC = ipaddress.ip_network("198.18.0.0/15")


def _ask(inside: Confined, *messages: bytes, to: str = _RESOLVER, wait: float = 1) -> list[Heard]:
    return inside.talk(*[Talk(to, 53, [each], udp=True, wait=wait) for each in messages])


def _read(heard: Heard) -> questions.Reply:
    return questions.read(heard.received.encode("latin-1"))


def test_only_allowed_names_exist(confine: Confine) -> None:
    inside = confine([*SPLICED, {"action": "allow", "host": "*.wild.example"}])
    exist = [ALLOWED, ALLOWED.upper(), "a.wild.example", "a.b.wild.example"]
    unknown = [
        OTHER, f"x.{ALLOWED}", f"{ALLOWED}.{OTHER}", "example", "wild.example", "xwild.example",
        f"{LEAK}.{OTHER}", "localhost", "metadata.google.internal",
    ]  # fmt: skip
    replies = [
        _read(each)
        for each in _ask(inside, *[questions.question(questions.name(n)) for n in exist + unknown])
    ]
    for asked, reply in zip(exist, replies, strict=False):
        assert reply.code == questions.NO_ERROR, asked
        assert [ipaddress.ip_address(each) in _SYNTHETIC for each in reply.addresses] == [True]
    assert replies[0].addresses == replies[1].addresses
    assert {each.code for each in replies[len(exist) :]} == {questions.NO_SUCH_NAME}
    inside.nothing_got_out()
    assert inside.outside.names.asked == []
    inside.told(kind="name", verdict="denied", reason="no_rule", host=OTHER)


_TYPES = {
    "NS": 2, "CNAME": 5, "SOA": 6, "NULL": 10, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33,
    "NAPTR": 35, "DS": 43, "SVCB": 64, "HTTPS": 65, "private": 65280,
}  # fmt: skip


def test_other_types_have_no_data(confine: Confine) -> None:
    inside = confine(SPLICED)
    asked = [questions.question(questions.name(ALLOWED), kind) for kind in _TYPES.values()]
    for kind, heard in zip(_TYPES, _ask(inside, *asked), strict=True):
        reply = _read(heard)
        assert (reply.code, reply.addresses) == (questions.NO_ERROR, []), kind
        assert struct.unpack_from("!H", heard.received.encode("latin-1"), 6) == (0,), kind
    assert inside.outside.names.asked == []


@pytest.mark.parametrize("kind", [251, 252, 255], ids=["IXFR", "AXFR", "ANY"])
def test_whole_zones_are_not_told(confine: Confine, kind: int) -> None:
    inside = confine(SPLICED)
    (heard,) = _ask(inside, questions.question(questions.name(ALLOWED), kind))
    reply = _read(heard)
    assert reply.addresses == []
    assert reply.code in (questions.NOT_IMPLEMENTED, questions.REFUSED, questions.NO_ERROR)
    assert inside.outside.names.asked == []


_INVALID = {
    "nul in a label": questions.wire(ALLOWED.split(".")[0].encode(), b"example\0" + LEAK.encode()),
    "nul and another name": questions.wire(b"allowed", b"example\0", b"other", b"example"),
    "a dot in a label": questions.wire(ALLOWED.encode()),
    "a space": questions.wire(b"allowed ", b"example"),
    "a slash": questions.wire(b"allowed/x", b"example"),
    "an at sign": questions.wire(b"x@allowed", b"example"),
    "a colon": questions.wire(b"allowed:80", b"example"),
    "a star": questions.wire(b"*", b"example"),
    "beyond ascii": questions.wire(b"\xff\xfe", b"allowed", b"example"),
    "a long name": questions.wire(*[b"a" * 63] * 4, b"allowed", b"example"),
}


def test_what_is_no_host_name_is_refused(confine: Confine) -> None:
    inside = confine([*SPLICED, {"action": "allow", "host": "*"}])
    asked = [questions.question(each) for each in _INVALID.values()]
    for way, heard in zip(_INVALID, _ask(inside, *asked), strict=True):
        if heard.end == "silent":
            continue
        code = heard.received.encode("latin-1")[3] & 15
        assert code in (questions.FORMAT_ERROR, questions.NO_SUCH_NAME, questions.REFUSED), way
    inside.told(kind="name", verdict="denied", reason="invalid_name")
    inside.nothing_got_out()
    assert inside.outside.names.asked == []


_MALFORMED = {
    "nothing": b"",
    "half a head": b"\0\7\1\0\0",
    "no question": questions.question(b"", counts=(0, 0, 0, 0)),
    "two questions": questions.question(
        questions.name(ALLOWED), more=questions.name(OTHER) + b"\0\1\0\1", counts=(2, 0, 0, 0)
    ),
    "65,535 questions": questions.question(questions.name(ALLOWED), counts=(65535, 0, 0, 0)),
    "an answer": questions.question(questions.name(ALLOWED), flags=0x8180),
    "a pointer to itself": questions.question(b"\xc0\x0c"),
    "a pointer beyond": questions.question(b"\xc3\xff"),
    "a label that promises more": questions.question(b"\x3fshort"),
    "a reserved label": questions.question(b"\x80allowed\0"),
    "a name without end": questions.question(b"\x01a" * 2000),
    "an update": questions.question(questions.name(ALLOWED), 6, flags=0x2800),
    "a notice": questions.question(questions.name(ALLOWED), flags=0x2000),
    "another class": questions.question(questions.name("version.bind"), 16, class_=3),
    "any class": questions.question(questions.name(ALLOWED), class_=255),
    "60,000 bytes": questions.question(questions.name(ALLOWED), more=b"x" * 60000),
}


def test_malformed_questions_harm_nobody(confine: Confine) -> None:
    inside = confine(SPLICED)
    for way, heard in zip(_MALFORMED, _ask(inside, *_MALFORMED.values(), wait=0.5), strict=True):
        assert OTHER not in heard.received, way
    (after,) = _ask(inside, questions.question(questions.name(ALLOWED)))
    assert _read(after).code == questions.NO_ERROR
    assert inside.outside.names.asked == []
    inside.nothing_got_out()


def test_names_carry_nothing_out(confine: Confine) -> None:
    """Where every name is allowed, asking for one still tells nobody outside."""
    inside = confine(ANYWHERE)
    labels = [f"{LEAK}-{n:04x}.{OTHER}" for n in range(50)]
    asked = [
        questions.question(questions.name(name), kind)
        for name in labels
        for kind in (questions.A, 16, 28)
    ]
    options = struct.pack("!BHHIH", 0, 41, 4096, 0x8000, 4 + len(LEAK))
    options += struct.pack("!HH", 65001, len(LEAK)) + LEAK.encode()
    asked.append(questions.question(questions.name(OTHER), more=options, counts=(1, 0, 0, 1)))
    assert all(_read(each).code == questions.NO_ERROR for each in _ask(inside, *asked))
    assert inside.outside.names.asked == []
    inside.nothing_got_out()


@pytest.mark.parametrize("server", ["8.8.8.8", "1.1.1.1", "10.255.255.53", "192.0.2.1", "10.0.0.9"])
def test_other_resolvers_are_not_asked(confine: Confine, server: str) -> None:
    inside = confine(SPLICED)
    question = questions.question(questions.name(f"{LEAK}.{OTHER}"))
    (heard,) = _ask(inside, question, to=server, wait=0.5)
    assert heard.received == ""
    framed = struct.pack("!H", len(question)) + question
    stream = inside.say(Talk(server, 53, [framed], wait=1))
    assert stream.received == ""
    inside.nothing_got_out()
    assert inside.outside.names.asked == []
    inside.told(kind="packet", verdict="denied", reason="protocol", host=server)
    inside.told(kind="connection", verdict="denied", host=server, port=53)


def test_encrypted_resolvers_are_reached_only_by_rule(confine: Confine) -> None:
    inside = confine(SPLICED)
    over_tls = Talk("1.1.1.1", 853, [b"\0\x10" + LEAK.encode()], tls={"name": None})
    over_http = Talk("1.1.1.1", 443, [f"GET /{LEAK} HTTP/1.1\r\n\r\n"], tls={"name": "one.one"})
    assert all(each.refused for each in inside.talk(over_tls, over_http))
    inside.nothing_got_out()
    inside.told(kind="connection", verdict="denied", reason="no_rule", host="1.1.1.1", port=853)


def test_the_resolver_over_tcp_says_the_same(confine: Confine) -> None:
    inside = confine(SPLICED)
    asked = [questions.question(questions.name(each)) for each in (ALLOWED, OTHER)]
    framed = b"".join(struct.pack("!H", len(each)) + each for each in asked)
    heard = inside.say(Talk(_RESOLVER, 53, [framed], end=True)).received.encode("latin-1")
    codes = []
    while heard:
        length = int.from_bytes(heard[:2], "big")
        codes.append(questions.read(heard[2 : 2 + length]).code)
        heard = heard[2 + length :]
    assert codes == [questions.NO_ERROR, questions.NO_SUCH_NAME]
    assert inside.outside.names.asked == []


def test_addresses_tell_only_their_own_name(confine: Confine) -> None:
    inside = confine(SPLICED)
    (heard,) = _ask(inside, questions.question(questions.name(ALLOWED)))
    (address,) = _read(heard).addresses
    reverse = [f"{ipaddress.ip_address(each).reverse_pointer}" for each in (address, "192.0.2.1")]
    own, foreign = _ask(inside, *[questions.question(questions.name(r), 12) for r in reverse])
    assert "allowed" in own.received
    assert _read(foreign).code == questions.NO_SUCH_NAME
    assert inside.outside.names.asked == []


def test_an_address_stands_for_a_name_in_its_own_sandbox_only(confine: Confine) -> None:
    first, second = confine(ANYWHERE), confine(ANYWHERE)
    (heard,) = _ask(first, questions.question(questions.name(ALLOWED)))
    (address,) = _read(heard).addresses
    request = f"GET /{LEAK} HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n"
    assert second.say(Talk(address, 80, [request])).refused
    second.nothing_got_out()
    second.told(kind="connection", verdict="denied", reason="unknown_address", host=address)


def test_thousands_of_names_make_room_for_each_other(confine: Confine) -> None:
    inside = confine(ANYWHERE)
    script = (
        "import socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); good = 0\n"
        "s.connect(('10.0.0.1', 53))\n"
        "for n in range(6000):\n"
        "    label = b'n%d' % n\n"
        "    s.send(b'\\0\\7\\1\\0\\0\\1' + b'\\0' * 6 + bytes([len(label)]) + label\n"
        "           + b'\\5other\\7example\\0\\0\\1\\0\\1')\n"
        "    good += s.recv(512)[3] & 15 == 0\n"
        "print(good)\n"
    )
    assert inside.sandbox.run(["python3", "-c", script], timeout=60, check=True).stdout == "6000\n"
    request = f"GET /late HTTP/1.1\r\nHost: {ALLOWED}\r\nConnection: close\r\n\r\n"
    assert inside.say(Talk(ALLOWED, 80, [request])).status == 200
    assert {name for name, _ in inside.outside.names.asked} == {ALLOWED}
