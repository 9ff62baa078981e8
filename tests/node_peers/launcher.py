"""The launcher's side of its socket, recording what it is asked instead of doing it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from wardian.server.node import protocol
from wardian.server.node.protocol import Ended, Failure, Reply, Running, SandboxStatus, Usage

USED = Usage(1_500_000, 4096, 8192, 3, 1024, 0)


@dataclass
class FakeLauncher:
    """Knows sandboxes and layers; can fail on demand, be slow, and die and come back."""

    path: Path
    sandboxes: dict[str, SandboxStatus] = field(default_factory=dict)
    layers: dict[str, bytes] = field(default_factory=dict)
    requests: list[msgspec.Struct] = field(default_factory=list)
    failures: dict[str, deque[Failure | str]] = field(default_factory=dict)
    create_gate: asyncio.Event | None = None

    async def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(256)
        self._listener.setblocking(False)
        self._connections: set[asyncio.Task[None]] = set()
        self._watchers: set[socket.socket] = set()
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    async def stop(self) -> None:
        """What kill -9 looks like from outside: every connection ends."""
        tasks = [self._accepting, *self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def fail(self, operation: str, *failures: Failure | str) -> None:
        """The next of these requests fail; ``"hang up"``, or ``"hang up after"`` doing it."""
        self.failures.setdefault(operation, deque()).extend(failures)

    def asked(self, kind: type[msgspec.Struct]) -> list[msgspec.Struct]:
        return [request for request in self.requests if isinstance(request, kind)]

    def end(self, sandbox: str, reason: protocol.EndReason, *, tell: bool = True) -> None:
        """The sandbox's agent is gone."""
        self.sandboxes[sandbox] = SandboxStatus(sandbox, Ended(reason), 0)
        if tell:
            event = protocol.encode_frame(protocol.EndedEvent(sandbox, reason, USED))
            for watcher in self._watchers:
                watcher.send(event)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            peer, _ = await loop.sock_accept(self._listener)
            peer.setblocking(False)
            task = loop.create_task(self._attend(peer))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _attend(self, peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        buffer, descriptors = b"", []
        try:
            while True:
                while len(buffer) < 4 or len(buffer) < 4 + protocol.body_length(buffer[:4]):
                    data, fds = await _receive(peer)
                    if not data:
                        return
                    buffer += data
                    descriptors += fds
                end = 4 + protocol.body_length(buffer[:4])
                request = protocol.decode_request(buffer[4:end])
                buffer = buffer[end:]
                self.requests.append(request)
                reply = await self._answer(request, descriptors)
                if reply is None:
                    return
                await loop.sock_sendall(peer, protocol.encode_frame(reply))
                if isinstance(request, protocol.Watch):
                    self._watchers.add(peer)
        finally:
            self._watchers.discard(peer)
            for descriptor in descriptors:
                os.close(descriptor)
            peer.close()

    async def _answer(self, request: msgspec.Struct, descriptors: list[int]) -> Reply | None:
        planned = self.failures.get(str(request.__struct_config__.tag))
        failure = planned.popleft() if planned else None
        if failure == "hang up":
            return None
        if isinstance(failure, Failure):
            return Reply(error=failure)
        reply = await self._do(request, descriptors)
        return None if failure == "hang up after" else reply

    async def _do(self, request: msgspec.Struct, descriptors: list[int]) -> Reply:
        match request:
            case protocol.Hello():
                return Reply(protocol.HelloValue(1, "v2", "btrfs", True, 1000, 500))
            case protocol.Create(sandbox, layers):
                if self.create_gate is not None:
                    await self.create_gate.wait()
                if sandbox in self.sandboxes:
                    return Reply(error=Failure("already_exists", f"sandbox {sandbox} exists"))
                missing = [layer for layer in layers if layer not in self.layers]
                if missing:
                    return Reply(error=Failure("not_found", f"no layer {missing[0]}"))
                self.sandboxes[sandbox] = SandboxStatus(sandbox, Running(), 4711)
                return Reply(protocol.CreatedValue(4711))
            case protocol.Kill(sandbox):
                gone = self.sandboxes.pop(sandbox, None)
                return Reply(protocol.KilledValue(gone is not None, USED if gone else None))
            case protocol.List():
                return Reply(protocol.SandboxesValue(list(self.sandboxes.values())))
            case protocol.GetUsage(sandbox):
                if sandbox not in self.sandboxes:
                    return Reply(error=Failure("not_found", f"no sandbox {sandbox}"))
                return Reply(protocol.UsageValue(*msgspec.structs.astuple(USED)))
            case protocol.ImportLayer(layer):
                existed = layer in self.layers
                if not existed:
                    self.layers[layer] = await asyncio.to_thread(_read_all, descriptors[-1])
                size = len(self.layers[layer])
                return Reply(protocol.LayerValue(layer, size, 1, existed))
            case protocol.ListLayers():
                return Reply(protocol.LayersValue(sorted(self.layers)))
            case protocol.RemoveLayer(layer):
                if self.layers.pop(layer, None) is None:
                    return Reply(error=Failure("not_found", f"no layer {layer}"))
                return Reply(protocol.DoneValue())
            case _:
                return Reply(protocol.DoneValue())


async def _receive(peer: socket.socket) -> tuple[bytes, list[int]]:
    loop = asyncio.get_running_loop()
    while True:
        try:
            data, fds, _, _ = socket.recv_fds(peer, 65536, 4)
            return data, list(fds)
        except BlockingIOError:
            ready = loop.create_future()
            loop.add_reader(peer, lambda: ready.done() or ready.set_result(None))  # noqa: B023
            try:
                await ready
            finally:
                loop.remove_reader(peer)


def _read_all(descriptor: int) -> bytes:
    with open(os.dup(descriptor), "rb") as file:
        return file.read()
