"""Container images made from nothing: layers as small tars, in an OCI layout."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_LAYOUT = "application/vnd.oci.image"


def layer(
    files: Mapping[str, bytes] = {},
    *,
    links: Mapping[str, str] = {},
    hard_links: Mapping[str, str] = {},
    directories: Iterable[str] = (),
) -> bytes:
    """One layer as a tar.

    Args:
        files: path to content; all are executable.
        links: path to the target of a symbolic link.
        hard_links: path to an earlier path.
        directories: paths of directories to make.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in directories:
            _add(tar, path, tarfile.DIRTYPE)
        for path, content in files.items():
            _add(tar, path, tarfile.REGTYPE, content)
        for path, target in links.items():
            _add(tar, path, tarfile.SYMTYPE, target=target)
        for path, target in hard_links.items():
            _add(tar, path, tarfile.LNKTYPE, target=target)
    return buffer.getvalue()


def write_layout(directory: Path, layers: list[bytes], config: Mapping[str, Any]) -> Path:
    """Writes an image with gzip-compressed layers as an OCI layout.

    Args:
        directory: where to; made.
        layers: tars, lowest first.
        config: the image's defaults, such as ``{"User": …, "Env": […]}``.

    Returns:
        ``directory``.
    """
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    descriptors = [
        _blob(blobs, gzip.compress(each), f"{_LAYOUT}.layer.v1.tar+gzip") for each in layers
    ]
    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [_digest(each) for each in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_LAYOUT}.manifest.v1+json",
        "config": _blob(blobs, json.dumps(image).encode(), f"{_LAYOUT}.config.v1+json"),
        "layers": descriptors,
    }
    top = _blob(blobs, json.dumps(manifest).encode(), f"{_LAYOUT}.manifest.v1+json")
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    index = {"schemaVersion": 2, "manifests": [top]}
    (directory / "index.json").write_text(json.dumps(index))
    return directory


def as_tar(directory: Path) -> bytes:
    """A layout directory as the tar that ``PUT /v1/templates`` takes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(directory.rglob("*")):
            tar.add(path, path.relative_to(directory), recursive=False)
    return buffer.getvalue()


def _add(
    tar: tarfile.TarFile, path: str, kind: bytes, content: bytes = b"", target: str = ""
) -> None:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.size, entry.linkname = kind, 0o755, len(content), target
    tar.addfile(entry, io.BytesIO(content))


def _blob(blobs: Path, content: bytes, media_type: str) -> dict[str, Any]:
    digest = _digest(content)
    (blobs / digest.removeprefix("sha256:")).write_bytes(content)
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
