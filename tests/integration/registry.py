"""A real registry server on loopback, filled by ``skopeo``."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from .waiting import until

_CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@dataclass(frozen=True, slots=True)
class Registry:
    """A running registry."""

    address: str

    def push(self, layout: Path, name: str) -> str:
        """Copies an OCI layout into it; returns the reference under which it can be pulled."""
        reference = f"{self.address}/{name}"
        subprocess.run(
            ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false",
             f"oci:{layout}", f"docker://{reference}"],
            check=True,
        )  # fmt: skip
        return reference


@contextmanager
def running(directory: Path) -> Iterator[Registry]:
    """Runs one with its data below ``directory``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = directory / "registry.yml"
    config.write_text(_CONFIG.format(root=directory / "registry", port=port))
    server = subprocess.Popen(["docker-registry", "serve", str(config)])
    try:
        url = f"http://127.0.0.1:{port}/v2/"
        until(lambda: httpx.get(url, trust_env=False).status_code == 200, "the registry")
        yield Registry(f"127.0.0.1:{port}")
    finally:
        server.terminate()
        server.wait(30)
