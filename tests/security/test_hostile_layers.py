"""Images made to leave the place they are unpacked in, or to use up whoever unpacks them."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.oci_image import as_tar, layer, write_layout

from wardian import Client, Sandbox

from .hostile_tar import HARMLESS, REFUSED, Entry, tar

_TAR = "application/x-tar"
_OCI = "application/vnd.oci.image.layout.v1+tar"


@pytest.fixture
def put(node: Any) -> Iterator[Any]:
    """Offers bytes as a template; whatever came of it is removed after the test."""
    headers = {"Authorization": f"Bearer {node.api_key}"}
    names: list[str] = []
    with httpx.Client(base_url=node.url, headers=headers, timeout=100, trust_env=False) as client:

        def send(body: bytes, kind: str = _TAR, **more: str) -> httpx.Response:
            names.append(f"t-{secrets.token_hex(6)}")
            extra = {"Content-Type": kind, **{k.replace("_", "-"): v for k, v in more.items()}}
            return client.put(f"/v1/templates/{names[-1]}", content=body, headers=extra)

        yield send
        for name in names:
            client.delete(f"/v1/templates/{name}")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host that anybody may write: it must stay as it is."""
    place = tmp_path / "outside"
    place.mkdir()
    os.chmod(place, 0o777)
    (place / "kept").write_text("of the host")
    yield place
    assert [entry.name for entry in place.iterdir()] == ["kept"]
    assert (place / "kept").read_text() == "of the host"
    assert (place / "kept").stat().st_nlink == 1


def _pool(node: Any) -> set[str]:
    """Everything two levels deep in the disk pool, as the launcher has it mounted.

    But the disks it keeps ready for parked processes: it refills those when it likes.
    """
    top = Path(f"/proc/{node.launcher_pid()}/root{node.pool}")
    found = (path.relative_to(top) for path in (*top.glob("*"), *top.glob("*/*")))
    return {str(path) for path in found if not path.match("disks/.spare-*")}


def _refusal(answer: httpx.Response) -> str:
    assert 400 <= answer.status_code < 500, answer.text
    error = answer.json()["error"]
    assert error["message"]
    return error["code"]


@pytest.mark.parametrize("case", REFUSED)
def test_a_layer_that_reaches_out_is_refused(
    node: Any, put: Any, elsewhere: Path, case: str
) -> None:
    before = _pool(node)
    code = _refusal(put(REFUSED[case](str(elsewhere))))
    assert code not in ("internal", "unavailable")
    assert _pool(node) == before


@pytest.mark.parametrize("case", HARMLESS)
def test_a_layer_that_asks_for_too_much_does_not_get_it(
    node: Any, put: Any, elsewhere: Path, case: str
) -> None:
    answer = put(HARMLESS[case](str(elsewhere)))
    if answer.status_code >= 400:
        _refusal(answer)
        return
    top = Path(f"/proc/{node.launcher_pid()}/root{node.pool}/layers", answer.json()["layers"][0])
    for path in (top, *top.rglob("*")):
        status = path.lstat()
        assert not path.is_block_device(), path
        assert not path.is_char_device() or status.st_rdev == 0, path
        names = os.listxattr(path, follow_symlinks=False)
        assert [name for name in names if "overlay" in name or name.startswith("trusted")] == []


def test_a_device_in_a_layer_is_no_device_in_a_sandbox(put: Any) -> None:
    """Also where the importer let it through, nothing opens it."""
    shell = _busybox()
    entries = [
        Entry("bin/", b"5"), Entry("bin/sh", content=shell),
        Entry("disk", b"4", device=(8, 0)), Entry("memory", b"3", device=(1, 1)),
    ]  # fmt: skip
    answer = put(tar(*entries))
    if answer.status_code >= 400:
        _refusal(answer)
        return
    with Sandbox.create(answer.json()["name"], user="0") as sandbox:
        for name in ("disk", "memory"):
            script = f"read x < /{name} && echo opened; : < /{name} && echo opened"
            assert sandbox.run(["/bin/sh", "-c", script]).stdout == ""


def _busybox() -> bytes:
    with Sandbox.create("minimal") as minimal:
        return minimal.files.read("/bin/busybox", "bytes")


# --- images whose parts do not fit together ------------------------------------------------------


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return write_layout(tmp_path / "image", [layer({"file": b"x"})], {"User": "root"})


def _manifest(layout: Path) -> tuple[Path, dict[str, Any]]:
    index = json.loads((layout / "index.json").read_text())
    digest = index["manifests"][0]["digest"].removeprefix("sha256:")
    path = layout / "blobs" / "sha256" / digest
    return path, json.loads(path.read_text())


def _blob(layout: Path, descriptor: dict[str, Any]) -> Path:
    return layout / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")


def _other_content(layout: Path) -> None:
    blob = _blob(layout, _manifest(layout)[1]["layers"][0])
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)


def _other_config(layout: Path) -> None:
    blob = _blob(layout, _manifest(layout)[1]["config"])
    blob.write_bytes(blob.read_bytes().replace(b"root", b"toor", 1))


def _other_manifest(layout: Path) -> None:
    path, manifest = _manifest(layout)
    manifest["annotations"] = {"a": "b"}
    path.write_text(json.dumps(manifest))


def _replace_manifest(layout: Path, change: Any) -> None:
    """A manifest that was changed, and an index that says so."""
    import hashlib

    _, manifest = _manifest(layout)
    change(manifest)
    data = json.dumps(manifest).encode()
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs" / "sha256" / digest).write_bytes(data)
    index = json.loads((layout / "index.json").read_text())
    index["manifests"][0] |= {"digest": f"sha256:{digest}", "size": len(data)}
    (layout / "index.json").write_text(json.dumps(index))


def _layer_digest(digest: str) -> Any:
    return lambda layout: _replace_manifest(
        layout, lambda manifest: manifest["layers"][0].update(digest=digest)
    )


def _link_to_a_file_of_the_host(layout: Path) -> None:
    blob = _blob(layout, _manifest(layout)[1]["config"])
    blob.unlink()
    blob.symlink_to("/etc/hostname")


def _deep(layout: Path) -> None:
    (layout / "index.json").write_text("[" * 200_000)


_BROKEN: dict[str, Any] = {
    "layer of other content": _other_content,
    "config of other content": _other_config,
    "manifest of other content": _other_manifest,
    "digest that is a path": _layer_digest("sha256:../../../../../../etc/hostname"),
    "digest that is an absolute path": _layer_digest("sha256:/etc/hostname"),
    "digest of another kind": _layer_digest("md5:" + "0" * 32),
    "digest in capitals": _layer_digest("sha256:" + "A" * 64),
    "layer that is not there": _layer_digest("sha256:" + "0" * 64),
    "wrong size": lambda layout: _replace_manifest(
        layout, lambda manifest: manifest["layers"][0].update(size=1)
    ),
    "negative size": lambda layout: _replace_manifest(
        layout, lambda manifest: manifest["layers"][0].update(size=-1)
    ),
    "ten thousand layers": lambda layout: _replace_manifest(
        layout, lambda manifest: manifest.update(layers=manifest["layers"] * 10_000)
    ),
    "fewer diff ids than layers": lambda layout: _replace_manifest(
        layout, lambda manifest: manifest.update(layers=manifest["layers"] * 2)
    ),
    "unknown compression": lambda layout: _replace_manifest(
        layout, lambda manifest: manifest["layers"][0].update(mediaType="application/x-other")
    ),
    "link in place of a blob": _link_to_a_file_of_the_host,
    "endless nesting": _deep,
    "no index": lambda layout: (layout / "index.json").unlink(),
}


@pytest.mark.parametrize("case", _BROKEN)
def test_an_image_whose_parts_do_not_fit_is_refused(
    node: Any, put: Any, layout: Path, case: str
) -> None:
    before = _pool(node)
    _BROKEN[case](layout)
    answer = put(as_tar(layout), _OCI)
    assert _refusal(answer) not in ("internal", "unavailable")
    assert Path("/etc/hostname").read_text().strip() not in answer.text.split()
    assert _pool(node) == before


def test_the_same_image_unharmed_is_taken(put: Any, layout: Path) -> None:
    """The control: what is refused above is refused for what was done to it."""
    assert put(as_tar(layout), _OCI).status_code == 201


def test_the_archive_around_an_image_cannot_reach_out(node: Any, put: Any, elsewhere: Path) -> None:
    for name in ("dots", "many dots", "through a link", "hard link outside", "hard link upwards"):
        _refusal(put(REFUSED[name](str(elsewhere)), _OCI))


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_body_that_is_not_as_compressed_as_it_says(put: Any, node: Any, encoding: str) -> None:
    before = _pool(node)
    assert _refusal(put(tar(Entry("x")), Content_Encoding=encoding)) != "internal"
    assert _pool(node) == before


def test_templates_left_over(node: Any) -> None:
    """Nothing refused above became a template."""
    names = {template.name for template in Client().list_templates()}
    assert {name for name in names if name.startswith("t-")} == set()
