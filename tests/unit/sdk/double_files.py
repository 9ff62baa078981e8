"""The file service of the double's agent, as far as the SDK's own tests need it."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any


class FileCalls:
    """Answers `/v1/files/…` from a folder of this machine; mixed into the double's handler."""

    server: Any
    command: str
    headers: Any
    query: list[tuple[str, str]]
    _answer: Any

    def file_call(self, call: str, body: bytes) -> None:
        """Answer one call."""
        answers: dict[tuple[str, str], Any] = {
            ("GET", "entry"): self._tell,
            ("DELETE", "entry"): self._remove,
            ("GET", "list"): self._list_directory,
            ("POST", "directory"): self._make_directory,
            ("POST", "move"): self._move,
            ("GET", "content"): self._send_content,
            ("PUT", "content"): self._receive_content,
            ("GET", "archive"): self._send_archive,
            ("PUT", "archive"): self._receive_archive,
        }
        answers[self.command, call](body)

    def _at(self, path: str | None = None) -> Path:
        return self.server.world.path(dict(self.query)["path"] if path is None else path)

    def _refuse_file(self, status: int, code: str) -> None:
        self._answer(status, {"error": {"code": code, "message": f"it is {code}"}})

    def _entry(self, path: Path) -> dict[str, Any]:
        return {
            "name": path.name,
            "path": "/" + str(path.relative_to(self.server.world.folder)),
            "type": "directory" if path.is_dir() else "file",
            "size": path.stat().st_size,
            "mode": 0o644,
            "owner": "user",
            "group": "user",
            "modified_at": "2026-01-02T03:04:05.123456789Z",
        }

    def _tell(self, _: bytes) -> None:
        path = self._at()
        if not path.exists():
            return self._refuse_file(404, "file_not_found")
        return self._answer(200, self._entry(path))

    def _remove(self, _: bytes) -> None:
        path = self._at()
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self._answer(204)

    def _list_directory(self, _: bytes) -> None:
        entries = sorted(self._at().iterdir())
        start = int(dict(self.query).get("cursor", 0))
        # Pages of two, whatever is asked for: clients must follow the cursor.
        cursor = str(start + 2) if start + 2 < len(entries) else None
        page = [self._entry(entry) for entry in entries[start : start + 2]]
        self._answer(200, {"entries": page, "next_cursor": cursor, "unreadable": []})

    def _make_directory(self, body: bytes) -> None:
        request = json.loads(body)
        path = self._at(request["path"])
        if path.exists() and not request["exist_ok"]:
            return self._refuse_file(409, "file_exists")
        path.mkdir(parents=True, exist_ok=True)
        return self._answer(201, self._entry(path))

    def _move(self, body: bytes) -> None:
        request = json.loads(body)
        target = self._at(request["destination"])
        self._at(request["source"]).rename(target)
        self._answer(200, self._entry(target))

    def _receive_content(self, body: bytes) -> None:
        path = self._at()
        if path.name == "full":
            return self._refuse_file(507, "disk_full")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return self._answer(200, {"size": len(body), "etag": '"x"'})

    def _send_content(self, _: bytes) -> None:
        path = self._at()
        if not path.exists():
            return self._refuse_file(404, "file_not_found")
        data = path.read_bytes()
        if wanted := self.headers.get("Range"):
            first, last = wanted.removeprefix("bytes=").split("-")
            if int(first) >= len(data):
                return self._refuse_file(416, "invalid_request")
            return self._answer(206, data[int(first) : int(last) + 1 if last else None])
        return self._answer(200, data)

    def _send_archive(self, _: bytes) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            tar.add(self._at(), arcname=".")
        self._answer(200, buffer.getvalue())

    def _receive_archive(self, body: bytes) -> None:
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            tar.extractall(self._at(), filter="data")
        self._answer(200, {"files": len(tar.getnames()), "skipped": [], "skipped_count": 0})
