"""Other people's programs that numbers are compared with, kept for the next run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MITMPROXY = "11.0.2"


def _directory() -> Path:
    made = Path(os.environ.get("WARDIAN_CACHE") or "/var/cache/wardian") / "bench"
    made.mkdir(parents=True, exist_ok=True)
    return made


def mitmdump() -> Path:
    """mitmproxy without its console, in a Python environment of its own."""
    where = _directory() / f"mitmproxy-{MITMPROXY}"
    program = where / "bin/mitmdump"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", where], check=True)
        install = [where / "bin/pip", "install", "--quiet", f"mitmproxy=={MITMPROXY}"]
        subprocess.run(install, check=True)
    return program


def nginx() -> Path:
    """Debian's nginx, unpacked and not installed: installing it would start it on port 80."""
    where = _directory() / "nginx"
    program = where / "usr/sbin/nginx"
    if not program.exists():
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run(["apt-get", "-qq", "download", "nginx"], cwd=directory, check=True)
            (package,) = Path(directory).glob("nginx_*.deb")
            shutil.rmtree(where, ignore_errors=True)
            subprocess.run(["dpkg", "--extract", package, where], check=True)
    return program
