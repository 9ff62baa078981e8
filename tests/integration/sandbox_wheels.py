"""Wheels for the Python of a sandbox, which itself reaches nothing, fetched once into the cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from wardian import Sandbox

#: The directory that ``PYTHONPATH`` must name.
SITE = "/tmp/site"


def install(sandbox: Sandbox, *requirements: str) -> str:
    """Installs packages into a sandbox of ``base``.

    Args:
        sandbox: Where to.
        requirements: As pip takes them.

    Returns:
        The directory that ``PYTHONPATH`` must name.
    """
    question = "import sys, platform; print(*sys.version_info[:2], platform.machine())"
    major, minor, machine = sandbox.run(["python3", "-c", question], check=True).stdout.split()
    cache = Path(os.environ.get("WARDIAN_CACHE") or "/var/cache/wardian")
    folder = cache / "wheels" / f"{'+'.join(requirements)}-{major}.{minor}-{machine}"
    complete = folder / "complete"
    if not complete.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder)]
        target = ["--python-version", f"{major}.{minor}", "--platform", f"manylinux2014_{machine}"]
        subprocess.run([*pip, "--only-binary", ":all:", *target, *requirements], check=True)
        complete.touch()
    for wheel in sorted(folder.glob("*.whl")):
        sandbox.files.upload(wheel, f"/tmp/wheels/{wheel.name}")
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/tmp/wheels"}
    pip_install = ["python3", "-m", "pip", "install", "--quiet", "--no-compile", "--target"]
    sandbox.run([*pip_install, SITE, *requirements], env=offline, timeout=300, check=True)
    return SITE
