"""``python -m wardian.server --config node.json``: the control plane's process.

Status 64: the configuration can't be used; starting again won't help. Anything else: try again.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn
import uvloop

from wardian.server import app, configuration, logs, services, sockets
from wardian.server.configuration import Configuration, ConfigurationError
from wardian.server.errors import WardianError

log = logging.getLogger("wardian.server")

_USAGE_STATUS = 64
# Of the three seconds a stop may take, what requests under way get.
_GRACE_SECONDS = 2
# The event loop shares the interpreter with the database's thread. By default it would wait up to
# 5 ms for its turn after each wake-up, which is more than a whole create takes.
_SWITCH_SECONDS = 0.0005


async def serve(config: Configuration) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: it can't be served like this.
        WardianError: the database does not answer.
    """
    loop = asyncio.get_running_loop()
    with (
        sockets.listening(config.control_run / "api.sock") as api,
        sockets.listening(config.control_run / "edge.sock") as edge,
    ):
        async with services.open_services(config) as opened, services.running(opened, edge):
            server = uvicorn.Server(
                uvicorn.Config(
                    app.build(opened),
                    fd=None,
                    loop="none",
                    http="httptools",
                    ws="none",
                    lifespan="off",
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    proxy_headers=False,
                    backlog=2048,
                    timeout_keep_alive=75,
                    timeout_graceful_shutdown=_GRACE_SECONDS,
                )
            )
            # uvicorn takes these signals over while it serves and raises them once more when it
            # is done, which would kill this process before it has closed its database.
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, server.handle_exit, number, None)
            log.info("serving", extra={"socket": str(config.control_run / "api.sock")})
            await server.serve(sockets=[api])
    log.info("stopped")


def main(arguments: Sequence[str]) -> int:
    """Runs the process; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m wardian.server")
    parser.add_argument("--config", type=Path, required=True, help="the node's node.json")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:
        return _USAGE_STATUS if end.code else 0
    try:
        logs.configure()
        config = configuration.load(options.config)
        sys.setswitchinterval(_SWITCH_SECONDS)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(config))
    except ConfigurationError as error:
        print(f"wardian.server: {error}", file=sys.stderr)
        return _USAGE_STATUS
    except WardianError as error:
        log.error("can't serve", extra={"cause": error.message, "under": repr(error.__cause__)})
        return 1
    except BaseExceptionGroup:
        log.exception("a part of the server broke")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
