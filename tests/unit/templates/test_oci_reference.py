"""References are read strictly: what is accepted is written back as it was."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardian.server.errors import InvalidRequest
from wardian.server.templates.oci_reference import Reference, parse

DIGEST = "sha256:" + "0a" * 32
_word = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
_part = st.lists(_word, min_size=1, max_size=3).flatmap(
    lambda words: st.sampled_from([".", "_", "__", "-", "---"]).map(lambda s: s.join(words))
)
_repository = st.lists(_part, min_size=1, max_size=4).map("/".join)
_registry = st.one_of(
    st.builds(lambda a, b: f"{a}.{b}", _word, _word),
    st.builds(lambda a, port: f"{a}:{port}", _word, st.integers(1, 65535)),
    st.sampled_from(["localhost", "LOCALHOST", "127.0.0.1:5000", "[::1]:5000", "[2001:db8::1]"]),
)
_tag = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")


@given(_registry, _repository, st.none() | _tag, st.none() | st.just(DIGEST))
def test_what_is_well_formed_is_read_and_written_back(
    registry: str, repository: str, tag: str | None, digest: str | None
) -> None:
    text = registry + "/" + repository
    text += f":{tag}" if tag else ""
    text += f"@{digest}" if digest else ""
    found = parse(text)
    assert (found.registry, found.repository, found.digest) == (registry, repository, digest)
    assert found.tag == (tag or (None if digest else "latest"))
    assert parse(str(found)) == found


@given(st.text(max_size=600))
def test_anything_else_is_refused_and_nothing_else_happens(text: str) -> None:
    try:
        found = parse(text)
    except InvalidRequest:
        return
    assert parse(str(found)) == found
    assert not set(str(found)) & set(" \t\r\n?#%\\\"'<>{}|^`")
    assert ".." not in found.repository and not found.repository.startswith("/")


@pytest.mark.parametrize(
    "text",
    ["", "app", "team/app", "registry.example", "registry.example/", "registry.example/App",
     "registry.example//app", "registry.example/../app", "registry.example/app:",
     "registry.example/app@", "registry.example/app@sha256:00", f"registry.example/app@{DIGEST}0",
     "registry.example:0/app", "registry.example:65536/app", "registry.example:x/app",
     "user@registry.example/app", "http://registry.example/app", "registry.example/app?x=1",
     "[::1/app", "[::g]/app", "registry.example/app:tag/more", "registry.example/app:a b",
     "registry.example/" + "a" * 256, "registry.example/app:" + "a" * 129, "re_g.example/app",
     "registry.example/app\n", "-registry.example/app"],
)  # fmt: skip
def test_what_is_not_of_the_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse(text)


@pytest.mark.parametrize(
    ("registry", "loopback"),
    [("localhost", True), ("localhost:5000", True), ("127.0.0.1:1", True), ("127.9.9.9:1", True),
     ("[::1]:1", True), ("localhost.example", False), ("127.0.0.1.example", False),
     ("10.0.0.1:1", False), ("[2001:db8::1]:1", False)],
)  # fmt: skip
def test_which_registries_are_this_machine(registry: str, loopback: bool) -> None:
    assert Reference(registry, "app", None, None).loopback is loopback
