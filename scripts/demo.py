#!/usr/bin/env python3
"""`make demo`: the quick tour against a node on a home of its own, of which nothing stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from wardian.server.node import temporary
from wardian.server.node.progress import to_stderr
from wardian.server.node.setup_error import SetupError

TOUR = Path(__file__).resolve().parents[1] / "examples" / "quickstart.py"


def main() -> int:
    """Returns the tour's exit status; a node that leaves something behind fails too."""
    try:
        with temporary.running(pool_size=os.environ.get("WARDIAN_POOL_SIZE", "8G")) as node:
            environment = {**os.environ, "WARDIAN_URL": node.url, "WARDIAN_API_KEY": node.api_key}
            to_stderr(f"the node is ready at {node.url}")
            tour = subprocess.run([sys.executable, str(TOUR)], env=environment, check=False)
    except (SetupError, temporary.TemporaryNodeError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    if tour.returncode == 0:
        to_stderr("the node is gone; nothing of it is left")
    return tour.returncode


if __name__ == "__main__":
    sys.exit(main())
