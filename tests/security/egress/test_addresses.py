"""Where names lead, and addresses themselves: nothing private is dialled that no rule grants."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from security.network import NODE_ADDRESS, NODE_ADDRESS_6, NODE_PUBLIC_ADDRESS, World

from . import questions
from .confined import ALLOWED, ALLOWED_ADDRESS, ANYWHERE, LEAK, OTHER, OTHER_ADDRESS, Talk
from .conftest import Confine

_OUTER = "GET /outer HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
_REQUEST = f"GET /{LEAK} HTTP/1.1\r\nHost: {{host}}\r\nConnection: close\r\n\r\n"
_PRIVATE = (
    "0.0.0.1", "10.0.0.1", "10.0.0.3", "10.255.255.53", "100.64.0.1", "100.100.100.200",
    "127.0.0.2", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.1",
    "192.0.0.192", "192.0.2.1", NODE_ADDRESS, "192.88.99.1", "192.168.0.1", "198.51.100.7",
    "203.0.113.7", "240.0.0.1", "255.255.255.254", NODE_PUBLIC_ADDRESS,
)  # fmt: skip
_PRIVATE_6 = (
    "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", NODE_ADDRESS_6,
    "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::10.0.0.1", "64:ff9b::a00:1",
    "64:ff9b:1::a00:1", "2002:a00:1::1", "2001:0:a00:1::1", "100::1", "5f00::1", "3fff::1",
)  # fmt: skip


@pytest.fixture(scope="module")
def bait(world: World) -> Iterator[list[socket.socket]]:
    """Services of the node's own on every address of it."""
    with world.node.entered():
        listeners = [
            socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
            for port in (80, 6379)
        ]
    for listener in listeners:
        listener.setblocking(False)
    yield listeners
    for listener in listeners:
        listener.close()


def _untouched(bait: list[socket.socket]) -> None:
    for listener in bait:
        with pytest.raises(BlockingIOError):
            listener.accept()


# Addresses of the sandbox's own loopback never leave it, so they prove nothing.
_DIALLED = [each for each in _PRIVATE if not each.startswith("127.")]


def test_private_addresses_are_not_dialled(confine: Confine, bait: list[socket.socket]) -> None:
    inside = confine(ANYWHERE)
    dialled = [(each, port) for each in _DIALLED for port in (80, 6379)]
    talks = [Talk(each, port, [_REQUEST.format(host=each)]) for each, port in dialled]
    for talk, heard in zip(talks, inside.talk(*talks), strict=True):
        assert heard.refused, (talk.to, heard)
    inside.nothing_got_out()
    _untouched(bait)
    for address in ("169.254.169.254", NODE_ADDRESS, NODE_PUBLIC_ADDRESS, "10.255.255.53"):
        inside.told(
            kind={"connection", "request"}, verdict="denied", host=address, port=80,
            reason="private_address",
        )  # fmt: skip


def test_names_of_private_addresses_are_not_dialled(
    confine: Confine, bait: list[socket.socket]
) -> None:
    inside = confine(ANYWHERE)
    names = {f"n{n}.example": each for n, each in enumerate((*_PRIVATE, *_PRIVATE_6))}
    for name, address in names.items():
        inside.outside.names.set(name, address)
    talks = [Talk(name, 80, [_REQUEST.format(host=name)], wait=5) for name in names]
    for talk, heard in zip(talks, inside.talk(*talks), strict=True):
        assert heard.refused, (names[talk.to], heard)
    inside.nothing_got_out()
    _untouched(bait)
    for name in names:
        inside.told(host=name, verdict="denied", reason="private_address")


@pytest.mark.parametrize("name", ["localhost", "metadata.google.internal", "ip6-localhost"])
def test_names_of_the_node_itself_lead_nowhere(
    confine: Confine, bait: list[socket.socket], name: str
) -> None:
    """The node's /etc/hosts knows names that its nameserver does not."""
    inside = confine(ANYWHERE)
    inside.outside.names.set(name, "169.254.169.254")
    (heard,) = inside.talk(
        Talk("10.0.0.1", 53, [questions.question(questions.name(name))], udp=True)
    )
    for address in questions.read(heard.received.encode("latin-1")).addresses:
        assert inside.say(Talk(address, 80, [_REQUEST.format(host=name)])).refused
    inside.nothing_got_out()
    _untouched(bait)


_NUMBERS = (
    "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "2852039166", "0xa9fea9fe",
    "169.254.43518", "0251.0376.0251.0376", "127.0.0.1", "169.254.169.254", "0",
)  # fmt: skip


def test_numbers_are_no_names(confine: Confine, bait: list[socket.socket]) -> None:
    """What the C library would take for an address must not lead to it by way of a name."""
    inside = confine(ANYWHERE)
    asked = [questions.question(questions.name(each)) for each in _NUMBERS]
    replies = inside.talk(*[Talk("10.0.0.1", 53, [each], udp=True, wait=1) for each in asked])
    for name, heard in zip(_NUMBERS, replies, strict=True):
        if heard.received == "":
            continue
        for address in questions.read(heard.received.encode("latin-1")).addresses:
            assert inside.say(Talk(address, 80, [_REQUEST.format(host=name)])).refused, name
            assert inside.say(Talk(address, 6379, [LEAK])).refused, name
    inside.nothing_got_out()
    _untouched(bait)


def test_an_alias_of_a_private_name_is_not_dialled(confine: Confine) -> None:
    inside = confine(ANYWHERE)
    inside.outside.names.alias("alias.example", "inner.example")
    inside.outside.names.set("inner.example", "10.0.0.7")
    assert inside.say(Talk("alias.example", 80, [_REQUEST.format(host="alias.example")])).refused
    inside.nothing_got_out()
    inside.told(host="alias.example", reason="private_address", verdict="denied")


def test_a_name_that_changes_its_mind_is_judged_each_time(confine: Confine) -> None:
    # Opened, so that each request is resolved for once; what is spliced is dialled meanwhile.
    inside = confine([{"action": "allow", "host": "*", "methods": ["GET"]}])
    inside.outside.names.set("moves.example", OTHER_ADDRESS, "169.254.169.254", "10.0.0.1", "::1")
    talk = Talk("moves.example", 80, [_OUTER.format(host="moves.example")])
    statuses = [inside.say(talk).status for _ in range(4)]
    assert statuses[0] == 200
    assert all(each in (403, 200, None) for each in statuses[1:])
    assert inside.outside.reached() <= {("tcp", OTHER_ADDRESS, 80)}


def test_of_mixed_answers_only_public_ones_are_dialled(confine: Confine) -> None:
    inside = confine(ANYWHERE)
    inside.outside.names.set("mixed.example", ["10.0.0.1", "169.254.169.254", OTHER_ADDRESS])
    talk = Talk("mixed.example", 80, [_OUTER.format(host="mixed.example")])
    heard = inside.talk(*[talk] * 5)
    assert all(each.status in (200, 403) for each in heard)
    assert inside.outside.reached() <= {("tcp", OTHER_ADDRESS, 80)}


def test_a_redirect_opens_no_door(confine: Confine, bait: list[socket.socket]) -> None:
    inside = confine(ANYWHERE)
    for target in (f"http://169.254.169.254/{LEAK}", f"http://{NODE_ADDRESS}/{LEAK}"):
        url = f"http://{ALLOWED}/redirect?to={target}"
        result = inside.sandbox.run(["curl", "-sSL", "-m", "10", url])
        assert "egress_denied" in result.stdout or result.exit_code != 0
    assert {each[1] for each in inside.outside.reached()} == {ALLOWED_ADDRESS}
    _untouched(bait)


def test_an_address_is_not_granted_by_a_name_that_leads_there(confine: Confine) -> None:
    inside = confine([{"action": "allow", "host": ALLOWED}])
    for host in (ALLOWED, ALLOWED_ADDRESS):
        assert inside.say(Talk(ALLOWED_ADDRESS, 80, [_REQUEST.format(host=host)])).refused
    inside.nothing_got_out()
    inside.told(verdict="denied", reason="no_rule", host=ALLOWED_ADDRESS, port=80)


def test_other_ports_are_not_granted(confine: Confine) -> None:
    inside = confine([{"action": "allow", "host": ALLOWED, "ports": ["80", "8080-8081"]}])
    ports = [22, 79, 81, 443, 6379, 8079, 8082, 8443, 9000, 65535]
    heard = inside.talk(*[Talk(ALLOWED, port, [LEAK], wait=1) for port in ports])
    assert all(each.refused for each in heard)
    inside.nothing_got_out()
    for port in ports:
        inside.told(verdict="denied", reason="no_rule", host=ALLOWED, port=port)


def test_a_rule_grants_private_addresses_where_it_says_so(confine: Confine) -> None:
    """And no others: the sandbox's key is an administrator's here."""
    inside = confine([{"action": "allow", "cidrs": ["10.9.0.0/16"]}])
    good = inside.say(Talk("10.9.1.1", 80, [_OUTER.format(host="10.9.1.1")]))
    assert good.status == 200
    assert inside.say(Talk("10.8.1.1", 80, [_REQUEST.format(host="10.8.1.1")])).refused
    inside.nothing_got_out(but={"10.9.1.1"})


@pytest.mark.parametrize(
    "rule",
    [
        {"action": "allow", "cidrs": ["10.0.0.0/8"]},
        {"action": "allow", "host": "169.254.169.254"},
        {"action": "allow", "host": ALLOWED, "connect_to": "127.0.0.1:80"},
        {"action": "allow", "host": "*", "cidrs": ["0.0.0.0/0"]},
        {"action": "allow", "cidrs": ["::/0"]},
    ],
    ids=["network", "address", "connect to", "everything", "everything, version 6"],
)
def test_only_an_administrator_grants_private_addresses(
    confine: Confine, node: object, rule: dict
) -> None:
    inside = confine([])
    made = inside.api.post("/v1/keys", json={"name": "plain", "scopes": ["sandboxes", "read"]})
    key = made.json()["key"]
    answer = inside.api.put(
        f"{inside.path}/egress", json={"rules": [rule], "template": False},
        headers={"authorization": f"Bearer {key}"},
    )  # fmt: skip
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "private_destination")
    inside.api.delete(f"/v1/keys/{made.json()['id']}")
    assert inside.say(Talk("10.9.1.1", 80, [_REQUEST.format(host="10.9.1.1")])).refused
    inside.nothing_got_out()


def test_a_name_nobody_answers_for_fails(confine: Confine) -> None:
    inside = confine(ANYWHERE)
    request = _REQUEST.format(host="nowhere.example")
    assert inside.say(Talk("nowhere.example", 80, [request], wait=15)).status == 502
    inside.told(host="nowhere.example", verdict="failed", reason="unresolved")
    inside.nothing_got_out()


def test_the_double_would_have_seen_it(confine: Confine) -> None:
    """Without this, doubles that see nothing prove nothing."""
    inside = confine(ANYWHERE)
    for port, host in ((80, ALLOWED), (8080, f"{OTHER}:8080")):
        name = host.partition(":")[0]
        heard = inside.say(Talk(name, port, [_REQUEST.format(host=host)]))
        assert heard.status == 200, heard
    assert {each[1] for each in inside.outside.reached()} == {ALLOWED_ADDRESS, OTHER_ADDRESS}
    assert LEAK.encode() in inside.outside.record.all_bytes()
