"""A server on a real socket that speaks the API's and the agent's wire format, in one process.

It is no sandbox: commands run on this machine, files lie in a temporary folder. What it is for is
the format: chunked envelopes, base64, trailers, errors in each of the three shapes.
"""

from __future__ import annotations

import base64
import json
import signal
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .double_files import FileCalls

KEY = "e2b_" + "0123456789" * 4
TOKEN = "agent-token"


@dataclass
class World:
    """What the double remembers, and what a test may turn."""

    folder: Path
    sandboxes: dict[str, dict[str, Any]] = field(default_factory=dict)
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    failing: list[int] = field(default_factory=list)
    by_key: dict[str, str] = field(default_factory=dict)
    connections: int = 0
    bash: bool = True
    cut_stream: bool = False

    def path(self, path: str) -> Path:
        return self.folder / path.lstrip("/")


class Handler(FileCalls, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Double

    def setup(self) -> None:
        super().setup()
        self.server.world.connections += 1

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _answer(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        data = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _handle(self) -> None:
        world = self.server.world
        url = urlsplit(self.path)
        self.query = parse_qsl(url.query, keep_blank_values=True)
        world.requests.append((self.command, self.path, dict(self.headers.items())))
        body = self._body()
        if world.failing:
            self._answer(
                world.failing.pop(0), {"error": {"code": "unavailable", "message": "busy"}}
            )
        elif "Wardian-Sandbox-Id" in self.headers:
            self._agent(url.path, body)
        else:
            self._api(url.path, body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    # --- the control plane ---

    def _api(self, path: str, body: bytes) -> None:
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            error = {"code": "unauthorized", "message": "unknown key", "hint": "make one"}
            return self._answer(401, {"error": error})
        parts = path.split("/")[2:]
        if parts == ["sandboxes"] and self.command == "POST":
            return self._create(json.loads(body))
        if parts == ["sandboxes"]:
            return self._list()
        if parts[0] == "sandboxes":
            return self._one(parts, body)
        if parts == ["templates"]:
            template = {"name": "base", "size_bytes": 5, "layers": ["ab"], "created_at": NOW}
            return self._answer(200, {"templates": [template]})
        if parts == ["keys"] and self.command == "POST":
            return self._answer(201, {"id": "k1", "key": KEY, **json.loads(body)})
        if parts[-1] == "pull":
            events = (
                b'event: progress\ndata: {"layer":"a","index":0,"count":1,"bytes":5,"total":9}\n\n'
            )
            end = b'event: error\ndata: {"code":"not_found","message":"no such image"}\n\n'
            return self._answer(200, events + end, {"content-type": "text/event-stream"})
        return self._answer(404, {"error": {"code": "not_found", "message": path}})

    def _create(self, request: dict[str, Any]) -> None:
        world = self.server.world
        key = self.headers["Idempotency-Key"]
        if key in world.by_key:
            return self._answer(201, world.sandboxes[world.by_key[key]])
        if request["template"] != "base":
            error = {"code": "template_not_found", "message": "no such template"}
            return self._answer(404, {"error": error})
        if request.get("name") in {s["name"] for s in world.sandboxes.values() if s["name"]}:
            return self._answer(409, {"error": {"code": "name_taken", "message": "taken"}})
        identity = f"{len(world.sandboxes):a>20}"
        world.by_key[key] = identity
        world.sandboxes[identity] = {
            "id": identity, "name": request.get("name"), "state": "running", "reason": None,
            "template": "base", "class": "container", "labels": request.get("labels", {}),
            "created_at": NOW, "started_at": NOW, "expires_at": None, "ended_at": None,
            "limits": {"cpu": 1, "memory_mb": 512, "disk_mb": 1024, "pids": 100}, "user": "user",
            "workdir": "/home/user", "traffic": "public", "traffic_token": None,
            "agent": {"token": TOKEN, "port": 49983}, "domain": "localhost",
        }  # fmt: skip
        return self._answer(201, world.sandboxes[identity])

    def _list(self) -> None:
        found = list(self.server.world.sandboxes.values())
        labels = [value.split("=", 1) for key, value in self.query if key == "label"]
        found = [s for s in found if all(s["labels"].get(k) == v for k, v in labels)]
        start = int(dict(self.query).get("cursor", 0))
        # Pages of two, whatever is asked for: clients must follow the cursor.
        cursor = str(start + 2) if start + 2 < len(found) else None
        self._answer(200, {"sandboxes": found[start : start + 2], "next_cursor": cursor})

    def _one(self, parts: list[str], body: bytes) -> None:
        every = self.server.world.sandboxes.values()
        sandbox = next((s for s in every if parts[1] in (s["id"], s["name"])), None)
        if sandbox is None:
            error = {"code": "sandbox_not_found", "message": f"no sandbox {parts[1]}"}
            return self._answer(404, {"error": error})
        if parts[2:] == ["usage"]:
            return self._answer(200, {"cpu_seconds": 1.5, "memory_bytes": 4096, "pids": 2})
        if self.command == "DELETE":
            sandbox |= {"state": "ended", "reason": "killed", "ended_at": NOW}
        elif self.command == "PATCH":
            sandbox |= {k: v for k, v in json.loads(body).items() if k != "timeout"}
        return self._answer(200, sandbox)

    # --- the agent, and the edge in front of it ---

    def _agent(self, path: str, body: bytes) -> None:
        world = self.server.world
        sandbox = world.sandboxes.get(self.headers["Wardian-Sandbox-Id"])
        if sandbox is None or sandbox["state"] != "running":
            message = {"sandboxId": "x", "message": "The sandbox was not found", "code": 502}
            return self._answer(502, message)
        if self.headers["X-Access-Token"] != TOKEN:
            return self._answer(401, {"code": 401, "message": "wrong token"})
        if path.startswith("/v1/files/"):
            return self.file_call(path.removeprefix("/v1/files/"), body)
        if path == "/process.Process/Start":
            return self._start(json.loads(body[5:]))
        request = json.loads(body)
        method = path.rsplit("/", 1)[1]
        return getattr(self, f"_rpc_{method}")(request)

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._answer(status, {"code": code, "message": message})

    def _send(self, message: dict[str, Any], flags: int = 0) -> None:
        payload = json.dumps(message).encode()
        data = struct.pack(">BI", flags, len(payload)) + payload
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _start(self, request: dict[str, Any]) -> None:
        world = self.server.world
        self.send_response(200)
        self.send_header("content-type", "application/connect+json")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        trailer: dict[str, Any] = {}
        process = request["process"]
        if not world.bash and process["cmd"] == "/bin/bash":
            message = "cannot run '/bin/bash': No such file or directory (os error 2)"
            trailer = {"error": {"code": "invalid_argument", "message": message}}
        elif process.get("cwd", "/") != "/" and not world.path(process["cwd"]).is_dir():
            message = f"cwd '{process['cwd']}' does not exist"
            trailer = {"error": {"code": "invalid_argument", "message": message}}
        else:
            trailer = self._run(request)
            if world.cut_stream:
                self.close_connection = True
                return
        self._send(trailer, 2)
        self.wfile.write(b"0\r\n\r\n")

    def _run(self, request: dict[str, Any]) -> dict[str, Any]:
        config, world = request["process"], self.server.world
        child = subprocess.Popen(
            [config["cmd"], *config.get("args", [])],
            stdin=subprocess.PIPE if request["stdin"] else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "HOME": str(world.folder), **config.get("envs", {})},
            cwd=world.folder,
            start_new_session=True,
        )
        world.processes[child.pid] = child
        self._send({"event": {"start": {"pid": child.pid}}})
        timeout = self.headers.get("connect-timeout-ms")
        expired = threading.Event()
        clock = threading.Timer(int(timeout or 0) / 1000, lambda: (expired.set(), child.kill()))
        if timeout:
            clock.start()
        lock = threading.Lock()

        def copy(name: str, pipe: Any) -> None:
            while data := pipe.read1(32768):
                with lock, suppress(OSError):
                    text = base64.b64encode(data).decode()
                    self._send({"event": {"data": {name: text}}})

        pipes = [("stdout", child.stdout), ("stderr", child.stderr)]
        copiers = [threading.Thread(target=copy, args=pipe) for pipe in pipes]
        for copier in copiers:
            copier.start()
        for copier in copiers:
            copier.join()
        code = child.wait()
        clock.cancel()
        for _, pipe in pipes:
            assert pipe is not None
            pipe.close()
        if expired.is_set():
            return {"error": {"code": "deadline_exceeded", "message": "deadline"}}
        end = {"exitCode": code, "exited": True} if code else {"exited": True}
        self._send({"event": {"end": end}})
        return {}

    def _child(self, request: dict[str, Any]) -> subprocess.Popen[bytes] | None:
        child = self.server.world.processes.get(int(request["process"]["pid"]))
        if child is None or child.poll() is not None:
            self._refuse(404, "not_found", "no such process")
            return None
        return child

    def _rpc_SendInput(self, request: dict[str, Any]) -> None:
        if child := self._child(request):
            assert child.stdin is not None
            with suppress(OSError):
                child.stdin.write(base64.b64decode(request["input"]["stdin"]))
                child.stdin.flush()
            self._answer(200, {})

    def _rpc_CloseStdin(self, request: dict[str, Any]) -> None:
        if child := self._child(request):
            assert child.stdin is not None
            with suppress(OSError):
                child.stdin.close()
            self._answer(200, {})

    def _rpc_SendSignal(self, request: dict[str, Any]) -> None:
        if child := self._child(request):
            child.send_signal(signal.Signals[request["signal"].removeprefix("SIGNAL_")])
            self._answer(200, {})


NOW = "2026-01-02T03:04:05.678Z"


class Double(ThreadingHTTPServer):
    """The server; `url` says where."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.world = World(folder)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Tests break connections on purpose; anything else is a fault of the double.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def __enter__(self) -> Double:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.world.processes.values():
            child.kill()
        self.shutdown()
        self.server_close()
