"""Logs: one JSON object per line on standard error, level from ``WARDIAN_LOG``."""

from __future__ import annotations

import logging
import os
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec

from wardian.server.configuration import ConfigurationError

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_LEVELS = {
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Writes a record and what was given as ``extra=`` as one JSON object.

    Args:
        part: which process of the node this is.
    """

    def __init__(self, part: str = "control") -> None:
        super().__init__()
        self._part = part

    def format(self, record: logging.LogRecord) -> str:
        """One line, without a line feed in it."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": "warn" if record.levelname == "WARNING" else record.levelname.lower(),
            "part": self._part,
            "target": record.name,
            "message": record.getMessage(),
        }
        request = request_id.get()
        if request is not None:
            line["request"] = request
        line |= {key: value for key, value in vars(record).items() if key not in _PLAIN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def configure(part: str = "control") -> None:
    """Sets the process up to log as ``part`` of the node.

    Raises:
        ConfigurationError: ``WARDIAN_LOG`` names no level.
    """
    name = os.environ.get("WARDIAN_LOG", "info")
    level = _LEVELS.get(name)
    if level is None:
        raise ConfigurationError(f"WARDIAN_LOG={name!r}: expected one of {', '.join(_LEVELS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(part))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("wardian").setLevel(level)
