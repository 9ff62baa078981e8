"""A sandbox with a policy, what is said in it, and what was told of that."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from doubles.outside import Outside
from integration.waiting import until

from wardian import Sandbox

_TALK: Final = (Path(__file__).parents[1] / "attacks" / "talk.py").read_text()

ALLOWED: Final = "allowed.example"
ALLOWED_ADDRESS: Final = "93.184.216.34"
OTHER: Final = "other.example"
OTHER_ADDRESS: Final = "93.184.216.99"
#: In what must not get out.
LEAK: Final = "l3ak-of-the-attack"

Rule = dict[str, Any]
#: Passed through without being looked into, where it is TLS.
SPLICED: Final[list[Rule]] = [{"name": "allowed", "action": "allow", "host": ALLOWED}]
#: Looked into.
OPENED: Final[list[Rule]] = [
    {"name": "allowed", "action": "allow", "host": ALLOWED, "methods": ["GET", "POST"]}
]
ANYWHERE: Final[list[Rule]] = [{"name": "anywhere", "action": "allow", "host": "*"}]


@dataclass(frozen=True, slots=True)
class Talk:
    """One connection: what is dialled and said. See ``attacks/talk.py``.

    Args:
        tls: ``None``: none.
        send: the pieces, written one by one.
        gap: seconds between pieces.
        wait: seconds of silence after which the other side has said its last.
        enough: what ends the reading.
        end: end the sending half after the last piece.
    """

    to: str
    port: int
    send: list[str | bytes] = field(default_factory=list[str | bytes])
    tls: dict[str, Any] | None = None
    gap: float = 0
    wait: float = 2
    enough: str = ""
    end: bool = False
    udp: bool = False

    def as_json(self) -> dict[str, Any]:
        """As the program inside reads it."""
        pieces = [each.decode("latin-1") if isinstance(each, bytes) else each for each in self.send]
        return {
            "to": self.to, "port": self.port, "send": pieces, "tls": self.tls, "gap": self.gap,
            "wait": self.wait, "enough": self.enough, "end": self.end, "udp": self.udp,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Heard:
    """How a conversation went; ``end`` is closed, reset or silent."""

    stage: str
    error: str | None
    received: str
    end: str
    issuer: str | None = None
    alpn: str | None = None

    @property
    def status(self) -> int | None:
        """Of the first answer of HTTP/1."""
        words = self.received.split(" ", 2)
        return int(words[1]) if words[0].startswith("HTTP/1.") and len(words) > 1 else None

    @property
    def refused(self) -> bool:
        """Whether nothing came back but an end, a refusal or an alert of TLS."""
        return (
            self.stage != "talk"
            or self.received == ""
            or self.received.startswith("\x15\x03")
            or self.status in (400, 403, 408, 413, 421, 431, 501, 502, 505)
        )


@dataclass(slots=True)
class Confined:
    """A sandbox that is the attacker's."""

    sandbox: Sandbox
    api: httpx.Client
    outside: Outside

    @property
    def path(self) -> str:
        """Where the API has it."""
        return f"/v1/sandboxes/{self.sandbox.id}"

    def allow(self, rules: list[Rule]) -> None:
        """Replaces its policy."""
        answer = self.api.put(f"{self.path}/egress", json={"rules": rules, "template": False})
        assert answer.status_code == 200, answer.text

    def talk(self, *talks: Talk, user: str = "user") -> list[Heard]:
        """Holds conversations, all at the same time."""
        result = self.sandbox.run(
            ["python3", "-c", _TALK], user=user, timeout=90, check=True,
            stdin=json.dumps([each.as_json() for each in talks]),
        )  # fmt: skip
        return [Heard(**each) for each in json.loads(result.stdout)]

    def say(self, talk: Talk) -> Heard:
        """Holds one."""
        return self.talk(talk)[0]

    def events(self, **query: str) -> list[dict[str, Any]]:
        """What was told so far."""
        answer = self.api.get(f"{self.path}/egress/events", params={"limit": "1000", **query})
        assert answer.status_code == 200, answer.text
        return answer.json()["events"]

    def told(self, **expected: Any) -> dict[str, Any]:
        """Waits for an event that has these values.

        A value that is a set stands for any one in it.
        """

        def matches(event: dict[str, Any]) -> bool:
            return all(
                event[name] in value if isinstance(value, set) else event[name] == value
                for name, value in expected.items()
            )

        def look() -> dict[str, Any] | None:
            events = self.events()
            found = next(filter(matches, events), None)
            if found is None:
                raise LookupError(f"no event with {expected} among {events}")
            return found

        return until(look, "the event", bound=5)

    def nothing_got_out(self, *, but: Collection[str] = ()) -> None:
        """Nothing reached any double, or only these addresses, and none of them :data:`LEAK`."""
        got = {each for each in self.outside.reached() if each[1] not in but}
        assert got == set()
        assert LEAK.encode() not in self.outside.record.all_bytes()
        assert [name for name, _ in self.outside.names.asked if LEAK in name] == []
