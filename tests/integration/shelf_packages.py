"""The smallest package there can be, for pip, for npm and as a git repository, put on a shelf."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

from doubles.shelf import Shelf

NAME = "wardian-demo"
VERSION = "1.2.3"


def put(shelf: Shelf, npm: str) -> None:
    """Puts it there.

    Args:
        shelf: where.
        npm: the address under which npm reaches the shelf.
    """
    _put_wheel(shelf)
    _put_tarball(shelf, npm)
    _put_repository(shelf)


def _put_wheel(shelf: Shelf) -> None:
    module = NAME.replace("-", "_")
    information = f"{module}-{VERSION}.dist-info"
    files = {
        f"{module}.py": "said = 'from a wheel'\n",
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{information}/RECORD"] = "".join(f"{each},,\n" for each in files)
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    wheel = memory.getvalue()
    file = f"{module}-{VERSION}-py3-none-any.whl"
    link = f"/files/{file}#sha256={hashlib.sha256(wheel).hexdigest()}"
    shelf.put(f"/simple/{NAME}/", "text/html", f'<a href="{link}">{file}</a>'.encode())
    shelf.put(f"/files/{file}", "application/zip", wheel)


def _put_tarball(shelf: Shelf, npm: str) -> None:
    memory = io.BytesIO()
    about = {"name": NAME, "version": VERSION, "main": "index.js"}
    files = {"package.json": json.dumps(about), "index.js": "exports.said = 'from a tarball'\n"}
    with tarfile.open(fileobj=memory, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    tarball = memory.getvalue()
    path = f"/{NAME}/-/{NAME}-{VERSION}.tgz"
    digest = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    version = {**about, "dist": {"tarball": f"{npm}{path}", "integrity": f"sha512-{digest}"}}
    document = {"name": NAME, "dist-tags": {"latest": VERSION}, "versions": {VERSION: version}}
    shelf.put(f"/{NAME}", "application/json", json.dumps(document).encode())
    shelf.put(path, "application/octet-stream", tarball)


def _put_repository(shelf: Shelf) -> None:
    """Git reads one from a server that knows nothing of git, file by file."""
    with tempfile.TemporaryDirectory(prefix="seed-") as folder:

        def git(*words: str) -> None:
            who = ["-c", "user.name=Team", "-c", "user.email=team@example.com"]
            subprocess.run(["git", "-C", folder, *who, *words], check=True)

        git("init", "--quiet", "-b", "main")
        (Path(folder) / "README").write_text("from a repository\n")
        git("add", "README")
        git("commit", "--quiet", "-m", "First")
        git("update-server-info")
        root = Path(folder) / ".git"
        for file in root.rglob("*"):
            if file.is_file():
                path = f"/{NAME}.git/{file.relative_to(root)}"
                shelf.put(path, "application/octet-stream", file.read_bytes())
