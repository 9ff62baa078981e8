"""Puts recipes and Rust programs into wheels; WARDIAN_SKIP_BINARIES=1 leaves the programs out.

Editable installs take both from the checkout.
"""

from __future__ import annotations

import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BinariesHook(BuildHookInterface[Any]):
    """Builds the programs with cargo and tags the wheel for this platform."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects files."""
        root = Path(self.root)
        if self.target_name != "wheel" or version == "editable":
            return
        build_data["force_include"][str(root / "templates")] = "wardian/recipes"
        if os.environ.get("WARDIAN_SKIP_BINARIES") == "1":
            return
        spec = importlib.util.spec_from_file_location(
            "build_binaries", root / "scripts/build_binaries.py"
        )
        if spec is None or spec.loader is None:
            raise RuntimeError("scripts/build_binaries.py is missing")
        builder = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(builder)
        directory = root / "src/wardian/bin"
        builder.build(directory)
        for name in builder.NAMES:
            program = f"wardian-{name}"
            build_data["force_include"][str(directory / program)] = f"wardian/bin/{program}"
        build_data["pure_python"] = False
        # The programs need no Python ABI: one wheel serves every CPython on this architecture.
        build_data["tag"] = f"py3-none-linux_{platform.machine()}"
