#!/usr/bin/env python3
"""Builds the three Rust programs and installs them into a directory.

Called by the Makefile and by hatch_build.py, so standard library only. The agent is linked
statically, because it runs inside any image: against musl where rustc can, else against glibc.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("agent", "edge", "launcher")


class BuildFailed(Exception):
    """cargo is missing or failed."""


def build(destination: Path, *, debug: bool = False) -> None:
    """Builds and installs all three; cargo decides what is up to date.

    Args:
        destination: directory for ``wardian-agent``, ``wardian-edge`` and ``wardian-launcher``.
        debug: unoptimised and quick to build.

    Raises:
        BuildFailed: cargo is missing or failed.
    """
    if shutil.which("cargo") is None:
        raise BuildFailed("cargo is not there: install Rust (https://rustup.rs) and try again")
    target_directory = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").absolute()
    target, flags = agent_target()
    profile = [] if debug else ["--release"]
    cargo(["-p", "wardian-edge", "-p", "wardian-launcher", *profile], "")
    cargo(["-p", "wardian-agent", "--target", target, *profile], flags)
    folder = "debug" if debug else "release"
    for name in NAMES:
        between = target if name == "agent" else ""
        install(target_directory / between / folder / f"wardian-{name}", destination)


def cargo(arguments: list[str], flags: str) -> None:
    """Runs ``cargo build``, its output shown."""
    environment = dict(os.environ)
    if flags:
        environment["RUSTFLAGS"] = f"{environment.get('RUSTFLAGS', '')} {flags}".strip()
    command = ["cargo", "build", "--quiet", "--locked", *arguments]
    # Its messages belong on standard error: a build backend's standard output is not ours.
    result = subprocess.run(command, cwd=ROOT, env=environment, stdout=sys.stderr, check=False)
    if result.returncode != 0:
        raise BuildFailed(f"{' '.join(command)} failed")


def agent_target() -> tuple[str, str]:
    """The target to build the agent for and the flags that link it statically."""
    machine = platform.machine()
    musl, gnu = f"{machine}-unknown-linux-musl", f"{machine}-unknown-linux-gnu"
    if has_target(musl):
        return musl, ""
    if shutil.which("rustup") is not None:
        subprocess.run(["rustup", "target", "add", musl], capture_output=True, check=False)
        if has_target(musl):
            return musl, ""
    return gnu, "-C target-feature=+crt-static"


def has_target(target: str) -> bool:
    """Whether rustc has the standard library of ``target``."""
    command = ["rustc", "--print", "target-libdir", "--target", target]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    library = Path(result.stdout.strip())
    return result.returncode == 0 and any(library.glob("libstd-*"))


def install(binary: Path, destination: Path) -> None:
    """Copies ``binary`` by rename: a running server keeps the file it has opened."""
    target = destination / binary.name
    if target.is_file() and target.stat().st_mtime_ns == binary.stat().st_mtime_ns:
        return
    destination.mkdir(parents=True, exist_ok=True)
    new = destination / f".{binary.name}.new"
    shutil.copy2(binary, new)
    new.chmod(0o755)
    new.rename(target)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("destination", type=Path)
    parser.add_argument("--debug", action="store_true")
    arguments = parser.parse_args()
    try:
        build(arguments.destination.absolute(), debug=arguments.debug)
    except BuildFailed as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
