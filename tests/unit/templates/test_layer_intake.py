"""A layer on its way in: every encoding gives the same id, and nothing broken passes."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wardian.server.errors import InvalidRequest, TooLarge
from wardian.server.templates.layer_intake import Encoding, LayerIntake

CONTENT = os.urandom(300_000) + b"\0" * 3_000_000
PACK: dict[Encoding | None, Callable[[bytes], bytes]] = {
    None: lambda data: data,
    "zstd": zstandard.ZstdCompressor().compress,
    "gzip": gzip.compress,
}


async def take(
    directory: Path, data: bytes, encoding: Encoding | None, step: int = 70_000, **more: int
) -> tuple[str, bytes, str]:
    async with LayerIntake(directory, encoding, **more) as intake:
        for start in range(0, len(data), step):
            await intake.write(data[start : start + step])
        layer = await intake.finish()
        with os.fdopen(os.dup(intake.descriptor()), "rb") as file:
            return layer, file.read(), intake.packed_digest


@pytest.mark.parametrize("encoding", PACK)
async def test_id_and_digest(tmp_path: Path, encoding: Encoding | None) -> None:
    packed = PACK[encoding](CONTENT)
    layer, spooled, digest = await take(tmp_path, packed, encoding)
    assert layer == hashlib.sha256(CONTENT).hexdigest()
    assert spooled == CONTENT
    assert digest == hashlib.sha256(packed).hexdigest()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("encoding", ["zstd", "gzip"])
async def test_parts_that_follow_one_another(tmp_path: Path, encoding: Encoding) -> None:
    pack = PACK[encoding]
    packed = pack(CONTENT[:1000]) + pack(b"") + pack(CONTENT[1000:])
    assert (await take(tmp_path, packed, encoding))[1] == CONTENT
    if encoding == "gzip":
        assert (await take(tmp_path, packed + b"\0" * 1024, encoding))[1] == CONTENT


@pytest.mark.parametrize("encoding", ["zstd", "gzip"])
@pytest.mark.parametrize("cut", [0, 1, 3, 9, 1000, -1])
async def test_a_stream_that_is_cut_off(tmp_path: Path, encoding: Encoding, cut: int) -> None:
    packed = PACK[encoding](CONTENT)[:cut]
    with pytest.raises(InvalidRequest):
        await take(tmp_path, packed, encoding)


@pytest.mark.parametrize("encoding", ["zstd", "gzip"])
async def test_rubbish(tmp_path: Path, encoding: Encoding) -> None:
    for packed in (b"rubbish" * 1000, PACK[encoding](CONTENT) + b"rubbish"):
        with pytest.raises(InvalidRequest):
            await take(tmp_path, packed, encoding)


@pytest.mark.parametrize("encoding", PACK)
async def test_what_unpacks_too_large_is_stopped(tmp_path: Path, encoding: Encoding | None) -> None:
    packed = PACK[encoding](b"\0" * 50_000_000)
    with pytest.raises(TooLarge):
        await take(tmp_path, packed, encoding, largest=10_000_000)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(max_size=5000), step=st.integers(1, 700), encoding=st.sampled_from([*PACK]))
async def test_however_it_is_cut_into_chunks(
    tmp_path: Path, data: bytes, step: int, encoding: Encoding | None
) -> None:
    layer, spooled, _ = await take(tmp_path, PACK[encoding](data), encoding, step)
    assert (layer, spooled) == (hashlib.sha256(data).hexdigest(), data)
