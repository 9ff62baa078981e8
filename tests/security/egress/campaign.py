"""Many attacks from one sandbox at once, each on a host of its own: so one knows which did what.

An attack is written against :data:`ALLOWED`. Each gets another name of the same length in its
place, so that lengths in what it sends stay true, and an address that is nobody else's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx
from doubles.outside import Outside
from doubles.record import Arrival, Request
from integration.waiting import until

from wardian import Sandbox

from .confined import ALLOWED, LEAK, OTHER, OTHER_ADDRESS, Confined, Heard, Rule, Talk


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attack.

    Args:
        heard: what its program was told.
        host: the name it used for :data:`ALLOWED`.
        arrivals, requests: what reached that name's server.
        events: what was told of it.
        stray: everything that reached any address that is no attack's at all.
    """

    heard: Heard
    host: str
    arrivals: list[Arrival]
    requests: list[Request]
    events: list[dict[str, Any]]
    stray: set[tuple[str, str, int | None]]

    def nothing_leaked(self) -> None:
        """What must not get out did not, and no other address was reached."""
        got = [bytes(each.first) + bytes(each.raw) for each in self.arrivals]
        got += [each.head + each.body for each in self.requests]
        assert [each for each in got if LEAK.encode() in each] == []
        assert self.stray == set()

    def told(self, **expected: Any) -> None:
        """An event has these values; a set stands for any one in it."""
        assert [
            event
            for event in self.events
            if all(
                event[name] in value if isinstance(value, set) else event[name] == value
                for name, value in expected.items()
            )
        ], (self.events, self.heard)


Campaign = Mapping[str, Outcome]


def run(
    api: httpx.Client, outside: Outside, rules: list[Rule], talks: Mapping[str, Talk]
) -> dict[str, Outcome]:
    """Lets every attack happen under a policy that is written for :data:`ALLOWED`."""
    hosts = {way: f"a{number:06}.example" for number, way in enumerate(talks)}
    addresses = {host: _address(number) for number, host in enumerate(hosts.values())}
    outside.names.forget()
    outside.names.set(OTHER, OTHER_ADDRESS)
    for host, address in addresses.items():
        outside.names.set(host, address)
    outside.clear()
    with _confined(api, outside) as inside:
        inside.allow([_for(rule, [*addresses]) for rule in rules])
        heard = inside.talk(*[_on(talk, hosts[way]) for way, talk in talks.items()])
        # An attack of which nothing is told fails later, with what was heard beside it.
        with contextlib.suppress(AssertionError):
            until(lambda: {*addresses} <= {e["host"] for e in inside.events()}, "events", bound=4)
        events = inside.events()
    requests, arrivals = list(outside.record.requests), list(outside.record.arrivals)
    stray = {each for each in outside.reached() if each[1] not in addresses.values()}
    return {
        way: Outcome(
            said,
            host,
            [each for each in arrivals if each.address == addresses[host]],
            [each for each in requests if each.arrival.address == addresses[host]],
            [each for each in events if each["host"] == host],
            stray,
        )
        for (way, host), said in zip(hosts.items(), heard, strict=True)
    }


@contextlib.contextmanager
def _confined(api: httpx.Client, outside: Outside) -> Iterator[Confined]:
    with Sandbox.create("base", timeout=600) as sandbox:
        yield Confined(sandbox, api, outside)


def _address(number: int) -> str:
    return f"93.185.{number // 200}.{number % 200 + 1}"


def _for(rule: Rule, hosts: list[str]) -> Rule:
    return {"hosts" if name == "host" else name: hosts if name == "host" else value
            for name, value in rule.items()}  # fmt: skip


def _on(talk: Talk, host: str) -> Talk:
    """The same attack on another host."""
    tls = None if talk.tls is None else dict(talk.tls)
    if tls is not None and isinstance(tls.get("name"), str):
        tls["name"] = tls["name"].replace(ALLOWED, host)
    pieces: list[str | bytes] = [
        each.replace(ALLOWED.encode(), host.encode())
        if isinstance(each, bytes)
        else each.replace(ALLOWED, host)
        for each in talk.send
    ]
    return replace(talk, to=talk.to.replace(ALLOWED, host), send=pieces, tls=tls)
