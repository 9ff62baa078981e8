"""``python -m wardian.handlers --path DIR [--state DIR]``: the handlers' process; it listens on
descriptor 0.

Status 64: it can't be run like this; starting again won't help.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from wardian.handlers._serving import Server
from wardian.handlers._state import STATE_VARIABLE
from wardian.server import logs
from wardian.server.configuration import ConfigurationError

_USAGE_STATUS = 64


def main(arguments: Sequence[str]) -> int:
    """Runs the process; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m wardian.handlers")
    parser.add_argument("--path", type=Path, required=True, help="the directory of the handlers")
    parser.add_argument("--state", type=Path, help="the directory where they may keep something")
    parser.add_argument("--stuck-after", type=float, default=30.0, help=argparse.SUPPRESS)
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:
        return _USAGE_STATUS if end.code else 0
    if options.state is not None:
        os.environ[STATE_VARIABLE] = str(options.state)
    try:
        logs.configure("handlers")
        listener = socket.socket(fileno=0)
        if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ConfigurationError("descriptor 0 is no listening socket")
    except (ConfigurationError, OSError) as error:
        print(f"wardian.handlers: {error}", file=sys.stderr)
        return _USAGE_STATUS
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(Server(options.path, options.stuck_after).serve(listener))
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
