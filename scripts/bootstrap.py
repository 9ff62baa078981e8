#!/usr/bin/env python3
"""Makes the Python environment that the Makefile runs everything in. Fast when nothing changed.

The environment lies outside the checkout, where the node's unprivileged users can read it, and is
made with a Python that they can read: one below a home directory of mode 0700 will not do. A
checkout they can read is installed editable; any other is copied in, anew when it changed.

Standard library only; run with any Python 3.11 or newer.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROBE = (
    "import json, sys, sysconfig, ensurepip, venv, ssl, sqlite3;"
    "print(json.dumps([sys.version_info[:2], sys._base_executable, sysconfig.get_path('stdlib')]))"
)


def load_world_readable() -> Any:
    """The package's own check, loaded by path because the package is not installed yet."""
    path = ROOT / "src/wardian/server/node/world_readable.py"
    spec = importlib.util.spec_from_file_location("world_readable", path)
    if spec is None or spec.loader is None:
        sys.exit(f"can't load {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


first_obstacle = load_world_readable().first_obstacle


def say(text: str) -> None:
    """Progress, for a person who waits."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


def candidates() -> list[str]:
    """Interpreters to try, the caller's choice first."""
    names = [os.environ.get("PYTHON"), "python3", "/usr/bin/python3", "/usr/local/bin/python3"]
    names += [f"/usr/bin/python3.{minor}" for minor in (14, 13, 12, 11)]
    found = [shutil.which(name) for name in names if name]
    return list(dict.fromkeys(path for path in found if path))


def probe(python: str) -> tuple[Path | None, str]:
    """The real interpreter behind ``python``, or why it will not do."""
    result = subprocess.run(
        [python, "-I", "-c", PROBE], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        return None, (result.stderr.strip().splitlines() or ["it does not run"])[-1]
    version, executable, library = json.loads(result.stdout)
    if tuple(version) < (3, 11):
        return None, f"is Python {version[0]}.{version[1]}, 3.11 is needed"
    for path in (executable, library):
        obstacle = first_obstacle(Path(path))
        if obstacle is not None:
            return None, f"users other than its owner can't read it because of {obstacle}"
    return Path(executable), ""


def find_interpreter() -> Path:
    """The first Python that everybody can run; installs Debian's venv module if that is missing."""
    refused: list[str] = []
    for attempt in range(2):
        refused.clear()
        for python in candidates():
            executable, reason = probe(python)
            if executable is not None:
                return executable
            refused.append(f"  {python}: {reason}")
        if attempt == 0 and shutil.which("apt-get"):
            say("installing python3-venv")
            sudo = [] if os.geteuid() == 0 else ["sudo"]
            apt = [*sudo, "apt-get", "install", "-qq", "--yes", "--no-install-recommends"]
            packages = ["python3", "python3-venv"]
            done = subprocess.run([*apt, *packages], stdout=subprocess.DEVNULL, check=False)
            if done.returncode != 0:
                subprocess.run([*sudo, "apt-get", "update", "-qq"], check=False)
                subprocess.run([*apt, *packages], stdout=subprocess.DEVNULL, check=False)
    sys.exit(
        "No Python >= 3.11 that the node's unprivileged users could run:\n"
        + "\n".join(refused)
        + "\nTo mend it: apt-get install python3 python3-venv, or name one: make PYTHON=/…/python3"
    )


def tree_digest(root: Path) -> str:
    """Changes whenever a file below ``root`` changes."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.parent.name != "bin":
            digest.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def requirements(dev: bool) -> list[str]:
    """What the package asks for, read from pyproject.toml."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = document["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["server"]]
    if dev:
        wanted += project["optional-dependencies"]["postgres"]
        wanted += document["dependency-groups"]["dev"]
    return [*wanted, *document["build-system"]["requires"]]


def pip(venv: Path, *arguments: str) -> None:
    """Runs the environment's pip; its output only if it fails."""
    command = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet",
               "--disable-pip-version-check", *arguments]  # fmt: skip
    environment = {**os.environ, "WARDIAN_SKIP_BINARIES": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{result.stderr}{result.stdout}")


def once(stamp: Path, content: str) -> bool:
    """Whether the step of ``stamp`` must run because ``content`` is not what it ran for last."""
    return not stamp.is_file() or stamp.read_text() != content


def ensure(venv: Path, dev: bool) -> None:
    """Makes or updates the environment."""
    python = find_interpreter()
    identity = f"{python} {probe(str(python))[0]} {python.stat().st_mtime_ns}"
    made, installed, package = (venv / f".{name}" for name in ("made", "installed", "package"))
    if once(made, identity):
        say(f"making {venv} with {python}")
        shutil.rmtree(venv, ignore_errors=True)
        venv.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([str(python), "-m", "venv", str(venv)], check=True)
        made.write_text(identity)
    wanted = requirements(dev)
    before = installed.read_text().split("\n") if installed.is_file() else []
    if not set(wanted) <= set(before):
        say("installing Python packages")
        pip(venv, *wanted)
        installed.write_text("\n".join(wanted))
    readable = first_obstacle(ROOT / "src/wardian/__init__.py") is None
    state = (ROOT / "pyproject.toml").read_text() + str(ROOT)
    state += "" if readable else tree_digest(ROOT / "src") + tree_digest(ROOT / "templates")
    if once(package, state):
        say("installing wardian" + ("" if readable else " as a copy: the checkout is private"))
        how = ["--editable"] if readable else ["--force-reinstall"]
        pip(venv, "--no-deps", "--no-build-isolation", *how, str(ROOT))
        package.write_text(state)
    if readable:
        # The control plane's user may not write beside the sources: without this it would compile
        # them at each start.
        compile_all = [str(venv / "bin/python"), "-m", "compileall", "-q", str(ROOT / "src")]
        subprocess.run(compile_all, check=False)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("venv", type=Path, help="where the environment lies")
    parser.add_argument("--dev", action="store_true", help="also what tests and checks need")
    arguments = parser.parse_args()
    os.umask(0o022)
    ensure(arguments.venv.absolute(), arguments.dev)


if __name__ == "__main__":
    main()
