"""The operator's handlers: every ``*.py`` file of one directory, loaded anew when any changes.

Each load is a package of its own, so ``from ._shared import x`` works and what runs goes on with
the code it began with. A file whose load fails keeps the handlers it had; one that is gone takes
its handlers with it. Nobody but root and this process's user may be able to write there.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import logging
import os
import stat
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wardian.handlers._declaring import MARK, HandlerFunction
from wardian.handlers._messages import Request, Sandbox

log = logging.getLogger("wardian.handlers")

_PACKAGE = "wardian_handlers_of_the_node_"


class LoadError(Exception):
    """The directory or a file can't be used; says why."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one load brought: by file, its handlers; and by name, what is called."""

    files: dict[str, dict[str, HandlerFunction]] = field(
        default_factory=dict[str, dict[str, HandlerFunction]]
    )
    handlers: dict[str, HandlerFunction | str] = field(
        default_factory=dict[str, HandlerFunction | str]
    )


class _Fresh(importlib.machinery.SourceFileLoader):
    """Reads the source each time: what a cache holds may be older than its time stamp says."""

    def get_code(self, fullname: str) -> types.CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


class _Finder:
    """Finds the modules of one load."""

    def __init__(self, package: str, directory: Path) -> None:
        self.package = package
        self.directory = directory

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, module = name.rpartition(".")
        file = self.directory / f"{module}.py"
        if package != self.package or not file.is_file():
            return None
        check(file)
        loader = _Fresh(name, str(file))
        return importlib.util.spec_from_file_location(name, file, loader=loader)


def check(path: Path) -> None:
    """Refuses what others could have written.

    Raises:
        LoadError: it is not there, or not root's or this user's alone to write.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise LoadError(f"{path}: {error.strerror}") from error
    if found.st_uid not in (0, os.geteuid()):
        raise LoadError(f"{path} belongs to uid {found.st_uid}: chown it to root")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise LoadError(f"{path} can be written by others: chmod go-w")


def stamp(directory: Path) -> object:
    """Something that differs once anything in the directory has changed."""
    try:
        entries = [(entry.name, entry.stat()) for entry in os.scandir(directory)]
        own = directory.stat()
    except OSError as error:
        return error.errno
    return (own.st_mode, own.st_uid), sorted(
        (name, it.st_mtime_ns, it.st_ctime_ns, it.st_size, it.st_ino)
        for name, it in entries
        if name.endswith(".py")
    )


def load(directory: Path, before: Loaded, number: int) -> Loaded:
    """Loads all files that do not begin with ``_`` or ``.``.

    Args:
        directory: where they lie.
        before: what was loaded until now; kept for files that fail.
        number: another for each load.
    """
    try:
        check(directory)
        names = sorted(path.stem for path in directory.glob("[!_.]*.py"))
    except (LoadError, OSError) as error:
        log.error("no handlers", extra={"path": str(directory), "cause": str(error)})
        return Loaded()
    package = f"{_PACKAGE}{number}"
    finder = _Finder(package, directory)
    module = types.ModuleType(package)
    module.__path__ = []
    sys.modules[package] = module
    sys.meta_path.insert(0, finder)
    try:
        files = {name: _load_file(package, name, before) for name in names}
    finally:
        sys.meta_path.remove(finder)
        # Otherwise every load would stay for ever.
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]
    return Loaded(files, _by_name(files))


def _load_file(package: str, name: str, before: Loaded) -> dict[str, HandlerFunction]:
    try:
        module = importlib.import_module(f"{package}.{name}")
    except (Exception, SystemExit) as error:
        kept = before.files.get(name, {})
        extra = {"file": f"{name}.py", "kept": sorted(kept), "cause": type(error).__name__}
        log.error("a file of handlers can't be loaded", extra=extra, exc_info=error)
        return kept
    found: dict[str, HandlerFunction] = {}
    for value in vars(module).values():
        handler = vars(value).get(MARK) if isinstance(value, types.FunctionType) else None
        # What another file declares is that file's.
        if isinstance(handler, str) and value.__module__ == module.__name__:
            if handler in found and found[handler] is not value:
                log.error("a handler is declared twice", extra={"handler": handler, "file": name})
                found[handler] = _ambiguous
            else:
                found[handler] = value
    return found


def _by_name(
    files: dict[str, dict[str, HandlerFunction]],
) -> dict[str, HandlerFunction | str]:
    handlers: dict[str, HandlerFunction | str] = {}
    for file, found in files.items():
        for name, function in found.items():
            if name in handlers or function is _ambiguous:
                log.error("a handler is declared twice", extra={"handler": name, "file": file})
                handlers[name] = "there are two handlers of this name"
            else:
                handlers[name] = function
    return handlers


async def _ambiguous(request: Request, sandbox: Sandbox) -> Request:
    raise LoadError("there are two handlers of this name")
