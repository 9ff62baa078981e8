"""Any Linux image becomes a template: from a registry, an OCI layout or a plain tar."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from wardian import (
    ApiError,
    Client,
    InvalidArgument,
    InvalidRequest,
    Sandbox,
    TemplateInUse,
    TemplateNotFound,
)

from .conftest import Make
from .oci_image import as_tar, layer, write_layout
from .registry import Registry, running

OCI_LAYOUT = "application/vnd.oci.image.layout.v1+tar"
ACCOUNTS = {
    "etc/passwd": b"root:x:0:0::/:/bin/sh\nworker:x:1234:1234::/home/worker:/bin/sh\n",
    "etc/group": b"root:x:0:\nworker:x:1234:\n",
}


@pytest.fixture(scope="module")
def busybox(minimal: Sandbox) -> bytes:
    """One static program that can be a whole system."""
    return minimal.files.read("/bin/busybox", "bytes")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture
def template(node: Any, unique: str) -> Iterator[str]:
    """A name for a template that is removed after the test."""
    yield unique
    with contextlib.suppress(TemplateNotFound):
        Client().delete_template(unique)


@pytest.fixture
def layout(busybox: bytes, tmp_path: Path) -> Path:
    """Three layers, the upper two of which take away from the lower."""
    lowest = layer(
        {"bin/busybox": busybox, **ACCOUNTS, "data/keep": b"1", "data/gone": b"1",
         "whole/a": b"1", "opaque/old": b"1", "replaced/inner": b"1"},
        links={"bin/sh": "busybox", "bin/ls": "busybox", "bin/id": "busybox"},
        hard_links={"bin/cat": "bin/busybox"},
    )  # fmt: skip
    middle = layer({"data/.wh.gone": b"", ".wh.whole": b"", "replaced": b"a file now"})
    upper = layer({"opaque/.wh..wh..opq": b"", "opaque/new": b"1", "data/keep": b"2"})
    config = {
        "User": "worker",
        "WorkingDir": "/data",
        "Env": ["PATH=/bin", "GREETING=a=b c"],
    }
    return write_layout(tmp_path / "layout", [lowest, middle, upper], config)


def test_an_image_pulled_from_a_registry_runs_as_it_says(
    http: httpx.Client, registry: Registry, layout: Path, template: str, make: Make
) -> None:
    reference = registry.push(layout, "team/app:1.0")
    events = _pull(http, template, reference)
    assert [name for name, _ in events[:-1]] == ["progress"] * (len(events) - 1)
    assert events[-1][0] == "done", events
    assert {data["count"] for name, data in events if name == "progress"} == {3}
    _behaves_like_the_layout(make(template))
    listed = {each.name: each for each in Client().list_templates()}
    assert listed[template].user == "worker" and listed[template].workdir == "/data"
    assert reference in (listed[template].source or "")


def test_an_image_from_an_oci_layout_tar(layout: Path, template: str, make: Make) -> None:
    Client().put_template(template, as_tar(layout), media_type=OCI_LAYOUT)
    _behaves_like_the_layout(make(template))


def _behaves_like_the_layout(sandbox: Sandbox) -> None:
    assert sandbox.run("id -un; pwd; echo $GREETING").stdout == "worker\n/data\na=b c\n"
    names = {path: [e.name for e in sandbox.files.list(path)] for path in ("/data", "/opaque")}
    assert names == {"/data": ["keep"], "/opaque": ["new"]}
    assert sandbox.files.read("/data/keep") == "2"
    assert not sandbox.files.exists("/whole")
    assert sandbox.files.read("/replaced") == "a file now"


def test_a_plain_tar_with_defaults(busybox: bytes, template: str, make: Make) -> None:
    tar = layer({"bin/busybox": busybox, **ACCOUNTS}, links={"bin/sh": "busybox"})
    defaults = [("user", "worker"), ("workdir", "/bin"), ("env", "A=1"), ("env", "B=x=y")]
    made = Client().put_template(template, tar, query=defaults)
    assert (made.user, made.workdir, made.env) == ("worker", "/bin", {"A": "1", "B": "x=y"})
    assert make(template).run('echo "$A $B $PWD"').stdout == "1 x=y /bin\n"
    assert Client().put_template(template, tar, query=defaults).created_at == made.created_at


def test_an_image_without_a_shell_runs_programs_and_says_what_it_lacks(
    busybox: bytes, template: str, make: Make
) -> None:
    Client().put_template(template, layer({"echo": busybox}), query=[("user", "root")])
    sandbox = make(template)
    assert sandbox.run(["/echo", "one static program"]).stdout == "one static program\n"
    with pytest.raises(InvalidArgument, match="/bin/sh"):
        sandbox.run("echo hi")
    sandbox.files.write("/made/by/the/agent", "x")
    assert sandbox.files.read("/made/by/the/agent") == "x"


def test_a_template_in_use_can_not_be_removed(busybox: bytes, template: str, make: Make) -> None:
    Client().put_template(template, layer({"echo": busybox}))
    sandbox = make(template)
    with pytest.raises(TemplateInUse):
        Client().delete_template(template)
    assert sandbox.run(["/echo", "still here"]).stdout == "still here\n"
    sandbox.kill()
    Client().delete_template(template)
    with pytest.raises(TemplateNotFound):
        make(template)
    assert template not in [each.name for each in Client().list_templates()]


def test_a_layer_shared_by_two_templates_survives_the_removal_of_one(
    busybox: bytes, template: str, unique: str, make: Make
) -> None:
    tar, other = layer({"echo": busybox, "shared": b"x"}), f"{unique}-2"
    Client().put_template(template, tar)
    Client().put_template(other, tar)
    Client().delete_template(other)
    assert make(template).run(["/echo", "hi"]).stdout == "hi\n"


def test_an_image_that_is_not_there_is_an_error(
    http: httpx.Client, registry: Registry, template: str
) -> None:
    name, error = _pull(http, template, f"{registry.address}/no/such:image")[-1]
    assert name == "error"
    assert "no/such" in error["message"]
    with pytest.raises(TemplateNotFound):
        Client().get_template(template)


def test_a_registry_that_is_not_there_is_an_error(http: httpx.Client, template: str) -> None:
    name, error = _pull(http, template, "127.0.0.1:1/no/such:image")[-1]
    assert (name, "127.0.0.1:1" in error["message"]) == ("error", True)


def test_a_blob_that_is_not_what_its_digest_says_is_refused(layout: Path, template: str) -> None:
    blobs = sorted((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(blobs[-1].read_bytes())
    content[len(content) // 2] ^= 1
    blobs[-1].write_bytes(content)
    with pytest.raises(InvalidRequest):
        Client().put_template(template, as_tar(layout), media_type=OCI_LAYOUT)
    with pytest.raises(TemplateNotFound):
        Client().get_template(template)


@pytest.mark.parametrize(
    "tar",
    [
        b"",
        b"this is no tar" * 100,
        layer({"a/b": b"x" * 2000})[:1500],
        layer({"../../escaped": b"x"}),
        layer({"a/../../escaped": b"x"}),
        layer(hard_links={"shadow": "../../../etc/shadow"}),
        layer(hard_links={"passwd": "/etc/passwd"}),
    ],
    ids=["empty", "no tar", "cut off", "parent", "parent below", "hard link out", "hard link root"],
)
def test_a_tar_that_is_none_or_reaches_out_is_refused(template: str, tar: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        Client().put_template(template, tar)
    assert caught.value.status == 400, caught.value
    with pytest.raises(TemplateNotFound):
        Client().get_template(template)


def _pull(http: httpx.Client, template: str, reference: str) -> list[tuple[str, dict[str, Any]]]:
    """Pulls and gathers the server-sent events."""
    events: list[tuple[str, dict[str, Any]]] = []
    body = {"reference": reference, "plain_http": True}
    with http.stream("POST", f"/v1/templates/{template}/pull", json=body) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event:"):
                name = line.removeprefix("event:").strip()
            elif line.startswith("data:"):
                events.append((name, json.loads(line.removeprefix("data:"))))
    return events
