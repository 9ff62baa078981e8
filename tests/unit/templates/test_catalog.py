"""Records and layers stay in step: nothing needed goes, nothing unneeded stays."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
import zstandard
from integration.oci_image import as_tar, layer, write_layout
from node_peers.launcher import FakeLauncher

from wardian.server.errors import InvalidRequest, TemplateNotFound, Unsupported
from wardian.server.node.launcher import LauncherClient
from wardian.server.node.protocol import Failure
from wardian.server.store.database import SqliteDatabase
from wardian.server.store.templates import TemplateStore
from wardian.server.templates.catalog import TemplateCatalog
from wardian.server.templates.model import TemplateMetadata
from wardian.server.templates.seed import Seed, import_seeds

LOW, MIDDLE, TOP = (layer({name: name.encode()}) for name in ("low", "middle", "top"))


def layer_id(tar: bytes) -> str:
    return hashlib.sha256(tar).hexdigest()


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 10_000):
        yield data[start : start + 10_000]


@pytest_asyncio.fixture
async def launcher(tmp_path: Path) -> AsyncIterator[FakeLauncher]:
    started = FakeLauncher(tmp_path / "launcher.sock")
    await started.start()
    yield started
    await started.stop()


@pytest_asyncio.fixture
async def catalog(tmp_path: Path, launcher: FakeLauncher) -> AsyncIterator[TemplateCatalog]:
    database = await SqliteDatabase.open(tmp_path / "wardian.db")
    client = LauncherClient(launcher.path)
    yield TemplateCatalog(TemplateStore(database), client, tmp_path / "spool")
    client.close()
    await database.close()
    assert os.listdir(tmp_path / "spool") == []


async def put(catalog: TemplateCatalog, name: str, tar: bytes, **more: str) -> bool:
    _, changed = await catalog.import_rootfs_tar(
        name, chunks(gzip.compress(tar)), "gzip", TemplateMetadata(**more)
    )
    return changed


async def put_image(catalog: TemplateCatalog, name: str, directory: Path, *tars: bytes) -> None:
    archive = as_tar(write_layout(directory / name, list(tars), {"User": "worker"}))
    await catalog.import_oci_archive(name, chunks(archive))


async def test_layers_go_with_the_last_template_that_needs_them(
    catalog: TemplateCatalog, launcher: FakeLauncher, tmp_path: Path
) -> None:
    await put_image(catalog, "one", tmp_path, LOW, MIDDLE)
    await put_image(catalog, "two", tmp_path, LOW, TOP)
    assert (await catalog.get("two")).layers == (layer_id(TOP), layer_id(LOW))
    assert set(launcher.layers) == {layer_id(LOW), layer_id(MIDDLE), layer_id(TOP)}
    await catalog.remove("one")
    assert set(launcher.layers) == {layer_id(LOW), layer_id(TOP)}
    await catalog.remove("two")
    assert launcher.layers == {}
    with pytest.raises(TemplateNotFound):
        await catalog.remove("two")


async def test_a_template_that_is_replaced_lets_its_layers_go(
    catalog: TemplateCatalog, launcher: FakeLauncher
) -> None:
    assert await put(catalog, "one", LOW)
    assert not await put(catalog, "one", LOW)
    assert await put(catalog, "one", LOW, user="worker")
    assert await put(catalog, "one", TOP)
    assert set(launcher.layers) == {layer_id(TOP)}


async def test_a_layer_a_sandbox_still_stands_on_stays(
    catalog: TemplateCatalog, launcher: FakeLauncher
) -> None:
    await put(catalog, "one", LOW)
    launcher.fail("remove_layer", Failure("in_use", "a sandbox uses it"))
    await put(catalog, "one", TOP)
    assert set(launcher.layers) == {layer_id(LOW), layer_id(TOP)}
    await catalog.remove_unused_layers()
    assert set(launcher.layers) == {layer_id(TOP)}


async def test_an_image_that_fails_leaves_no_layer(
    catalog: TemplateCatalog, launcher: FakeLauncher, tmp_path: Path
) -> None:
    layout = write_layout(tmp_path / "layout", [LOW, TOP], {})
    index = json.loads((layout / "index.json").read_text())
    manifest = layout / "blobs" / "sha256" / index["manifests"][0]["digest"].removeprefix("sha256:")
    top = json.loads(manifest.read_text())["layers"][1]["digest"].removeprefix("sha256:")
    broken = layout / "blobs" / "sha256" / top
    broken.write_bytes(broken.read_bytes()[::-1])
    with pytest.raises(InvalidRequest):
        await catalog.import_oci_archive("one", chunks(as_tar(layout)))
    assert launcher.layers == {}
    assert await catalog.list() == []


async def test_removing_does_not_take_layers_of_an_import_under_way(
    catalog: TemplateCatalog, launcher: FakeLauncher, tmp_path: Path
) -> None:
    archive = as_tar(write_layout(tmp_path / "layout", [LOW, TOP], {}))
    await put(catalog, "old", LOW)
    imported, go_on = asyncio.Event(), asyncio.Event()

    async def put_slowly() -> AsyncIterator[bytes]:
        async for chunk in chunks(archive):
            yield chunk
        imported.set()
        await go_on.wait()

    async with asyncio.TaskGroup() as tasks:
        importing = tasks.create_task(catalog.import_oci_archive("new", put_slowly()))
        await imported.wait()
        go_on.set()
        await catalog.remove("old")
    template, changed = importing.result()
    assert changed
    assert set(template.layers) == set(launcher.layers) == {layer_id(LOW), layer_id(TOP)}


async def test_equal_and_empty_layers_are_stacked_once_or_not_at_all(
    catalog: TemplateCatalog, launcher: FakeLauncher, tmp_path: Path
) -> None:
    await put_image(catalog, "one", tmp_path, LOW, b"\0" * 1024, TOP, LOW)
    assert (await catalog.get("one")).layers == (layer_id(LOW), layer_id(TOP))
    with pytest.raises(Unsupported):
        await put_image(catalog, "empty", tmp_path, b"\0" * 1024)
    with pytest.raises(Unsupported, match="65 layers"):
        await put_image(catalog, "high", tmp_path, *(layer({str(i): b""}) for i in range(65)))


async def test_seeds_are_imported_once_and_a_bad_one_harms_no_other(
    catalog: TemplateCatalog, launcher: FakeLauncher, tmp_path: Path
) -> None:
    seeds = tmp_path / "seed"
    await asyncio.to_thread(seeds.mkdir)
    (seeds / "a.json").write_text("{}")
    for name, archive in (("b", "../wardian.db"), ("c", "missing.tar.zst"), ("d", "d.tar.zst")):
        seed = Seed(name, archive, f"recipe:{name}@1", "worker", "/w", {"A": "1"}, None)
        (seeds / f"{name}.json").write_bytes(msgspec.json.encode(seed))
    (seeds / "d.tar.zst").write_bytes(zstandard.compress(LOW))
    await import_seeds(catalog, seeds)
    assert [each.name for each in await catalog.list()] == ["d"]
    made = await catalog.get("d")
    assert (made.source, made.user, made.env) == ("recipe:d@1", "worker", {"A": "1"})
    asked = len(launcher.requests)
    await import_seeds(catalog, seeds)
    assert len(launcher.requests) == asked
    assert (await catalog.get("d")).created_at == made.created_at
