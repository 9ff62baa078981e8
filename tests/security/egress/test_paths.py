"""Rules of methods and paths, and paths that mean another one to the server."""

from __future__ import annotations

import pytest

from . import frames
from .confined import ALLOWED, ALLOWED_ADDRESS, LEAK, Rule, Talk
from .conftest import Confine

#: Everything but what is below /admin.
_DENYING: list[Rule] = [
    {"action": "deny", "host": ALLOWED, "path": "/admin/**"},
    {"action": "deny", "host": ALLOWED, "path": "/admin"},
    {"action": "allow", "host": ALLOWED},
]
#: Nothing but what is below /v1/open.
_ALLOWING: list[Rule] = [
    {"action": "allow", "host": ALLOWED, "path": "/v1/open/**", "methods": ["GET"]}
]

_ADMIN = (
    "/admin", "/admin/", "/admin/x", "//admin/x", "///admin/x", "/./admin/x", "/x/../admin/x",
    "/x/..//admin/x", "/%61dmin/x", "/%2561dmin/../admin/x", "/admin%2fx", "/%2fadmin/x",
    "/%2e/admin/x", "/x/%2e%2e/admin/x", "/x/.%2E/admin/x", "/x/..%2fadmin/x", "/x%2f..%2fadmin/x",
    "/x/..;/admin/x", "/..;a=b/admin/x", "/x\\..\\admin\\x", "/x%5c..%5cadmin", "/admin\\x",
    "/admin?x", "/admin#x", "/admin;x", "/admin;a=b/x", "/admin%00/x", "/admin%3fx", "/admin%23",
    "/admin\t/x", "/admin%09", "/admin%20", "/admin.", "/admi%6e", "/%41dmin/../admin",
    f"http://{ALLOWED}/admin/x", f"http://{ALLOWED}//admin/x", f"http://{ALLOWED}/x/../admin",
)  # fmt: skip
#: What many servers take for something below /admin.
_ARGUABLE = {"/admin;x", "/admin;a=b/x", "/admin%3fx", "/admin%23", "/admin%20", "/admin.",
             "/%2561dmin/../admin/x"}  # fmt: skip
_CLOSED = (
    "/", "/v1", "/v1/open", "/v1/openx", "/v1/opener/x", "/v1/open/../closed", "/v1/open/..",
    "/v1/open//../closed", "/v1/open/%2e%2e/closed", "/v1/open/.%2e/closed", "/v1/open/%2E./closed",
    "/v1/open/..%2fclosed", "/v1/open%2f..%2f..%2fclosed", "/v1/open/..;/closed",
    "/v1/open/..\\closed", "/v1/open/..%5cclosed", "/v1/open/x/../../closed", "/V1/open/x",
    "/v1/closed?/v1/open/x", "/v1/closed#/v1/open/x", "/v1/closed;/v1/open/x", "*",
    f"http://{ALLOWED}/v1/closed", f"http://{ALLOWED}?/v1/open/x", "/v1/open/%00/../../closed",
    "/v1/open/%252e%252e/%2e%2e/closed", "/v1/open/\xc0\xae\xc0\xae/../closed",
)  # fmt: skip


def _talks(paths: tuple[str, ...]) -> list[Talk]:
    head = f" HTTP/1.1\r\nHost: {ALLOWED}\r\nX: {LEAK}\r\nConnection: close\r\n\r\n"
    return [Talk(ALLOWED, 80, [f"GET {path}{head}"]) for path in paths]


def test_no_spelling_of_a_denied_path_passes(confine: Confine) -> None:
    inside = confine(_DENYING)
    paths = tuple(each for each in _ADMIN if each not in _ARGUABLE)
    for path, heard in zip(paths, inside.talk(*_talks(paths)), strict=True):
        assert heard.refused, (path, heard)
    assert [each.target for each in inside.outside.record.requests] == []
    inside.nothing_got_out(but={ALLOWED_ADDRESS})
    inside.told(verdict="denied", kind="request", path="/admin/x")


def test_no_spelling_leads_out_of_an_allowed_path(confine: Confine) -> None:
    inside = confine(_ALLOWING)
    for path, heard in zip(_CLOSED, inside.talk(*_talks(_CLOSED)), strict=True):
        assert heard.refused, (path, heard)
    assert [each.target for each in inside.outside.record.requests] == []
    inside.nothing_got_out(but={ALLOWED_ADDRESS})


def test_the_same_in_http_2(confine: Confine) -> None:
    inside = confine(_ALLOWING)
    data = frames.begin()
    for number, path in enumerate(_CLOSED):
        fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", ALLOWED.encode())]
        fields += [(b":path", path.encode("latin-1")), (b"x", LEAK.encode())]
        # One connection each: a malformed one ends it.
        heard = inside.say(
            Talk(ALLOWED, 80, [data + frames.request(fields, stream=2 * number + 1)], wait=0.3)
        ) if number % 4 == 0 else None  # fmt: skip
        if heard is not None:
            statuses = frames.statuses(heard.received.encode("latin-1"))
            assert all(each in (400, 403) for each in statuses.values()), (path, statuses)
    assert inside.outside.record.requests == []


def test_what_is_allowed_passes(confine: Confine) -> None:
    inside = confine(_ALLOWING)
    paths = ("/v1/open/x", "/v1/open/x/y?z=/../admin", "/v1/open/%20x", "/v1/open/x;y=z")
    statuses = [each.status for each in inside.talk(*_talks(paths))]
    assert statuses == [200] * len(paths)
    assert {each.target for each in inside.outside.record.requests} == set(paths)
    inside.allow(_DENYING)
    assert [each.status for each in inside.talk(*_talks(("/", "/administer", "/x/admin")))] == [
        200
    ] * 3


@pytest.mark.parametrize("override", ["X-HTTP-Method-Override", "X-Method-Override"])
def test_a_method_is_what_the_first_line_says(confine: Confine, override: str) -> None:
    """What a server makes of other headers is its own affair; the rule is about the method."""
    inside = confine(_ALLOWING)
    for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS", "get", "Get", "GET\t", "QUERY"):
        request = f"{method} /v1/open/x HTTP/1.1\r\nHost: {ALLOWED}\r\n{override}: GET\r\n"
        heard = inside.say(Talk(ALLOWED, 80, [f"{request}Content-Length: 0\r\n\r\n"], wait=0.5))
        assert heard.refused, method
    assert inside.outside.record.requests == []
