"""Builds a template's root filesystem from its recipe, as root, with mmdebstrap."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from wardian.server.templates.recipe import Recipe

#: Host settings of apt that a build needs (proxies, certificates, clocks of frozen mirrors) and
#: that must not end up in the template.
_HOST_SETTINGS: Final = re.compile(r"Acquire::(https?::|Check-|Retries|ForceIPv|Max-FutureTime)")
#: How mmdebstrap keeps what it was given by --aptopt in the new system.
_APT_SETTINGS: Final = "/etc/apt/apt.conf.d/99mmdebstrap"


class BuildError(Exception):
    """A template could not be built; the message holds the end of the builder's output."""


def cache_directory() -> Path:
    """Where built templates are kept: ``$WARDIAN_CACHE/templates``, by default below /var/cache."""
    return Path(os.environ.get("WARDIAN_CACHE") or "/var/cache/wardian").absolute() / "templates"


def archive_of(recipe: Recipe) -> Path:
    """Where the root filesystem of ``recipe`` is kept once built: a zstd-compressed tar."""
    return cache_directory() / f"{recipe.name}-{recipe.digest}.tar.zst"


def build(recipe: Recipe, report: Callable[[str], None], *, again: bool = False) -> Path:
    """Builds ``recipe`` unless the cache has it.

    Args:
        recipe: what to build.
        report: told what is being done.
        again: build even if the cache has it, for newer packages.

    Returns:
        The archive.

    Raises:
        BuildError: not root, mmdebstrap missing or failing, no room.
    """
    archive = archive_of(recipe)
    if archive.is_file() and not again:
        return archive
    if os.geteuid() != 0:
        raise BuildError("building a template needs root: use sudo")
    if shutil.which("mmdebstrap") is None:
        raise BuildError("mmdebstrap is not there: apt-get install mmdebstrap")
    report(f"building template {recipe.name} from {len(recipe.packages)} packages (a few minutes)")
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.parent.chmod(0o755)
    with tempfile.TemporaryDirectory(prefix="build-", dir=archive.parent) as name:
        directory = Path(name)
        # mmdebstrap's own users must be able to pass.
        directory.chmod(0o755)
        made = directory / archive.name
        _mmdebstrap(recipe, made, directory, report)
        made.chmod(0o644)
        made.rename(archive)
    return archive


def _mmdebstrap(
    recipe: Recipe, target: Path, workspace: Path, report: Callable[[str], None]
) -> None:
    command = [
        "mmdebstrap",
        "--mode=root",
        f"--variant={recipe.variant}",
        f"--include={','.join(recipe.packages)}",
        "--aptopt=APT::Install-Recommends false",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/info/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        *(f"--aptopt={setting}" for setting in host_apt_settings()),
    ]
    # Of the hooks, "extract" runs this one only.
    hook = "extract" if recipe.variant == "extract" else "customize"
    if hook == "extract":
        # Its script may take away what cleaning up would ask.
        command.append("--skip=cleanup")
    if recipe.script is not None:
        command.append(f"--{hook}-hook={recipe.script}")
    command += [f"--{hook}-hook={_neutral_hook(workspace)}", recipe.suite, str(target)]
    # No host is named unless the operator names one: mmdebstrap knows the suite's own mirrors.
    command += os.environ.get("WARDIAN_DEBIAN_MIRROR", "").split()
    tail: list[str] = []
    environment = {**os.environ, "TMPDIR": str(workspace), "LC_ALL": "C", "ZSTD_NBTHREADS": "0"}
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stderr or ():
            tail = [*tail[-14:], line.rstrip()]
            if line.startswith("I: ") and line.rstrip().endswith("..."):
                report(f"  {line[3:].rstrip()}")
    if process.returncode != 0:
        raise BuildError(
            "\n".join([f"mmdebstrap failed for template {recipe.name}:", *tail])
            + "\n  if the mirror is not reachable, name another in WARDIAN_DEBIAN_MIRROR"
        )


def _neutral_hook(workspace: Path) -> Path:
    """Writes the last hook: it removes what belongs to the build host and not to the template."""
    hook = workspace / "neutral.sh"
    hook.write_text(
        "#!/bin/sh\nset -eu\n"
        f'rm -f "$1{_APT_SETTINGS}"\n'
        'for name in hostname hosts resolv.conf machine-id; do rm -f "$1/etc/$name"; done\n'
        ': > "$1/etc/machine-id"\n'
        'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/var/log/*.log\n'
    )
    hook.chmod(0o755)
    return hook


def host_apt_settings() -> list[str]:
    """Settings of this machine's apt that reaching its mirror may need, as lines for --aptopt."""
    result = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
    return [
        line.rstrip(";")
        for line in result.stdout.splitlines()
        if _HOST_SETTINGS.match(line) and not line.endswith(' "";')
    ]
