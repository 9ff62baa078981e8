"""The caller's own files, for uploads and downloads."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import BinaryIO


def open_local(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a local file for reading, unbuffered: it is only passed on."""
    return open(path, "rb", buffering=0)  # type: ignore[return-value]


class PartialFile:
    """A local file being downloaded: it appears under its name only once it is complete."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._partial = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        self._file = open(self._partial, "wb", buffering=0)  # noqa: SIM115 - closed in __exit__

    def write(self, data: memoryview) -> None:
        """Append."""
        while data:
            data = data[self._file.write(data) :]

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if error is None:
            os.replace(self._partial, self.path)
        else:
            self._partial.unlink(missing_ok=True)
