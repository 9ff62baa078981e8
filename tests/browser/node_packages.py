"""The npm packages that the pages of these tests load, fetched once into the cache.

``python tests/browser/node_packages.py`` fetches them, for set-up.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def directory(project: Path = HERE, *, optional: bool = False) -> Path:
    """Where they are: ``node_modules`` as package-lock.json says, fetched if it is not there.

    Args:
        project: where package.json and package-lock.json lie.
        optional: with optional packages, such as programs for this machine alone.

    Raises:
        subprocess.CalledProcessError: npm can't fetch them; it has said why.
    """
    cache = Path(os.environ.get("WARDIAN_CACHE", "/var/cache/wardian"), "node")
    lock = (project / "package-lock.json").read_bytes()
    target = cache / hashlib.sha256(lock).hexdigest()[:16]
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as work:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(project / name, work)
            quietly = ["--ignore-scripts", "--no-audit", "--no-fund"]
            quietly += [] if optional else ["--omit=optional"]
            subprocess.run(["npm", "ci", *quietly], cwd=work, check=True, stdout=sys.stderr)
            # Whoever was faster has fetched the same.
            if not target.is_dir():
                shutil.move(Path(work, "node_modules"), target)
    return target


if __name__ == "__main__":
    directory()
    directory(HERE / "vite", optional=True)
