"""The native API on templates, down to the layers the launcher gets."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import pytest
from node_peers.node import Node, create


def root_filesystem() -> bytes:
    """A tar of a very small root filesystem."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name in ("bin", "etc"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(directory)
        content = b"root:x:0:0:root:/root:/bin/sh\n"
        file = tarfile.TarInfo("etc/passwd")
        file.size = len(content)
        tar.addfile(file, io.BytesIO(content))
    return stream.getvalue()


TAR = {"Content-Type": "application/x-tar"}


async def test_a_tar_becomes_a_template_and_then_a_sandbox(node: Node) -> None:
    metadata = {"user": "me", "workdir": "/w", "env": ["A=b", "C=d=e"], "start_command": "run"}
    put = await node.client.put(
        "/v1/templates/mine", content=root_filesystem(), headers=TAR, params=metadata
    )
    assert put.status_code == 201, put.text
    made = put.json()
    assert (made["name"], made["user"], made["workdir"]) == ("mine", "me", "/w")
    assert made["env"] == {"A": "b", "C": "d=e"} and made["start_command"] == "run"
    (layer,) = made["layers"]
    assert layer in node.launcher.layers
    assert (await node.client.get("/v1/templates/mine")).json() == made
    listed = (await node.client.get("/v1/templates")).json()["templates"]
    assert [template["name"] for template in listed] == ["base", "mine"]
    sandbox = await create(node, template="mine")
    assert (sandbox["user"], sandbox["workdir"]) == ("me", "/w")
    in_use = await node.client.delete("/v1/templates/mine")
    assert in_use.status_code == 409 and in_use.json()["error"]["code"] == "template_in_use"
    await node.client.delete(f"/v1/sandboxes/{sandbox['id']}")
    assert (await node.client.delete("/v1/templates/mine")).status_code == 204
    assert layer not in node.launcher.layers
    assert (await node.client.get("/v1/templates/mine")).status_code == 404


async def test_the_same_again_changes_nothing(node: Node) -> None:
    packed = {**TAR, "Content-Encoding": "gzip"}
    first = await node.client.put("/v1/templates/mine", content=root_filesystem(), headers=TAR)
    second = await node.client.put(
        "/v1/templates/mine", content=gzip.compress(root_filesystem()), headers=packed
    )
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("mine", {}),
        ("mine", {"Content-Type": "text/plain"}),
        ("mine", {**TAR, "Content-Encoding": "br"}),
        ("Mine", TAR),
        ("-mine", TAR),
        ("mine?user=a%20b", TAR),
        ("mine?env=novalue", TAR),
        ("mine?env=A%3D%00", TAR),
        ("mine?workdir=relative", TAR),
        ("mine?colour=red", TAR),
        ("mine?user=me", {"Content-Type": "application/vnd.oci.image.layout.v1+tar"}),
    ],
)
async def test_what_can_not_be_a_template_is_refused(
    node: Node, path: str, headers: dict[str, str]
) -> None:
    before = dict(node.launcher.layers)
    response = await node.client.put(
        f"/v1/templates/{path}", content=root_filesystem(), headers=headers
    )
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"] == "invalid_request"
    assert node.launcher.layers == before


async def test_a_pull_that_fails_says_so_in_its_events(node: Node) -> None:
    response = await node.client.post(
        "/v1/templates/mine/pull", json={"reference": "127.0.0.1:1/none:latest", "plain_http": True}
    )
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    *_, last = response.text.strip().split("\n\n")
    event, data = last.split("\n")
    assert event == "event: error"
    error = json.loads(data.removeprefix("data: "))
    assert error["code"] != "internal" and error["message"]
    unknown = await node.client.post("/v1/templates/mine/pull", json={"ref": "x"})
    assert unknown.status_code == 400
