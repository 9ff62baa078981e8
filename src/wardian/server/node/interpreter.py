"""The Python that runs the control plane, which must be readable by its user."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from wardian.server.node.accounts import Accounts
from wardian.server.node.setup_error import SetupError
from wardian.server.node.world_readable import first_obstacle

_HINT = (
    "run `make setup` in a checkout, or make an environment that everybody can read: "
    "python3 -m venv /opt/wardian && /opt/wardian/bin/pip install 'wardian[server]'"
)


def control_command(config: Path, accounts: Accounts) -> list[str]:
    """How the control plane is started, tried once as the user that will start it.

    Args:
        config: path of node.json.
        accounts: whom to try it as.

    Raises:
        SetupError: that user can't run this Python or can't import the package.
    """
    python = sys.executable
    for path in (Path(python), Path(__file__)):
        obstacle = first_obstacle(path)
        if obstacle is not None:
            raise SetupError(
                f"{path} can't be read by the user wardian because of {obstacle}", _HINT
            )
    try:
        trial = subprocess.run(
            [python, "-I", "-c", "import wardian.server.configuration, aiohttp, ssl, sqlite3"],
            user=accounts.control_uid,
            group=accounts.gid,
            extra_groups=[],
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"the user wardian can't run {python}: {error}", _HINT) from error
    if trial.returncode != 0:
        last = trial.stderr.strip().splitlines()[-1:] or [f"exit status {trial.returncode}"]
        raise SetupError(f"the user wardian can't import the server: {last[0]}", _HINT)
    return [python, "-I", "-m", "wardian.server", "--config", str(config)]


def handlers_command(path: Path, state: Path) -> list[str]:
    """How the process of the operator's egress handlers is started.

    Args:
        path: the directory of their files.
        state: the directory where they may keep something.
    """
    words = ["--path", str(path), "--state", str(state)]
    return [sys.executable, "-I", "-m", "wardian.handlers", *words]
