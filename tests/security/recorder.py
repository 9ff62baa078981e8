"""A server in a sandbox that tells what reached it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from wardian import Sandbox

from . import attack

PORT = 8100
OWN = b"first"
FOREIGN = b"second"


@dataclass(slots=True)
class Recorder:
    """A server in a sandbox that answers with its name and keeps each head it is sent."""

    sandbox: Sandbox
    host: str
    kept: str

    def heads(self) -> list[str]:
        """All heads since the last look."""
        lines = self.sandbox.files.read(self.kept).splitlines()
        self.sandbox.run(["truncate", "-s", "0", self.kept], user="root", check=True)
        return [json.loads(line) for line in lines]


@contextlib.contextmanager
def recording(sandbox: Sandbox, name: bytes) -> Iterator[Recorder]:
    """Runs such a server as root on `PORT`."""
    kept = "/tmp/heads"
    path = attack.put(sandbox, "recorder.py")
    with attack.serving(sandbox, ["python3", path, str(PORT), name.decode(), kept]):
        yield Recorder(sandbox, sandbox.host(PORT), kept)
