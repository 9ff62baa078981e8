"""Serves the page of a test and the packages it loads, on this machine alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PREFIX = "/modules/"


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: object, modules: Path, pages: Path) -> None:
        self._modules, self._pages = modules, pages
        super().__init__(*arguments, directory=str(pages))  # pyright: ignore[reportArgumentType]

    def translate_path(self, path: str) -> str:
        """Where what was asked for lies."""
        bare = path.split("?", 1)[0]
        if bare.startswith(PREFIX):
            self.directory = str(self._modules)
            return super().translate_path(bare.removeprefix(PREFIX.rstrip("/")))
        self.directory = str(self._pages)
        return super().translate_path(bare)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: pytest shows what matters."""


@contextmanager
def pages(modules: Path) -> Iterator[str]:
    """The address under which the pages of this directory are, and below `/modules/` `modules`."""
    handler = partial(_Handler, modules=modules, pages=Path(__file__).parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
