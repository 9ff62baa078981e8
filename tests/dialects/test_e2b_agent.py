"""The unmodified ``e2b`` package against the agent, in the package's debug mode.

Debug mode talks to http://localhost:49983, so agent and package run in namespaces of their own:
network (whose loopback is nobody else's), processes, and mounts (/etc/passwd, /home).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import venv
from pathlib import Path
from typing import Any

import pytest

from wardian.server.node import binaries

DRIVER = Path(__file__).with_name("e2b_driver.py")
# Homes of the test's own: a login shell runs whatever profile the real ones have.
PASSWD = "root:x:0:0:root:/home/root:/bin/bash\nuser:x:1000:1000::/home/user:/bin/bash\n"
GROUP = "root:x:0:\ntty:x:5:\nstaff:x:50:user\nuser:x:1000:\n"
SCRIPT = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount --bind "$ETC/passwd" /etc/passwd
mount --bind "$ETC/group" /etc/group
mount --bind "$ETC/home" /home
ip link set lo up
"$AGENT" --standalone --listen 127.0.0.1:49983 --boot "$ETC/boot.json" &
for _ in $(seq 500); do
  if (: < /dev/tcp/127.0.0.1/49983) 2>/dev/null; then break; fi
  sleep 0.02
done
exec "$PYTHON" "$DRIVER"
"""
BOOT = {
    "sandbox": "dialecttestaaaaaaaaa",
    "access_token": None,
    "hostname": "dialect",
    "default_user": "root",
    "default_workdir": None,
    "env": {},
    "trust": "",
    "memory_bytes": 2 << 30,
    "cpu_millis": 2000,
    "disk_bytes": 10 << 30,
}

EXPECTED: dict[str, Any] = {
    "run": ["out\n", "err\n", 0, None],
    "run_failing": [7, "partial\n"],
    "users": [
        "user\n/home/user\n/home/user user user\n",
        "root\n/home/root\n",
        "user staff\n",
        "AuthenticationException",
    ],
    "environment_and_directory": [
        'it\'s "x" $y\n/usr/lib\n',
        "InvalidArgumentException",
    ],
    "unicode_and_binary": ["žluťoučký 🐎\n", "\ufffd\ufffd"],
    "streaming": ["o1\no2\no3\n", "e1\ne2\ne3\n"],
    "large_output": [20_000_000, True],
    "timeout": "TimeoutException",
    "background": [True, "done\n", False],
    "listing": [["/bin/bash", ["-l", "-c", "sleep 50"], {"K": "v"}, "/usr"]],
    "standard_input": "got:first\nrest",
    "no_standard_input": "over\n",
    "kill": [True, "CommandExitException", False, False],
    "connect": [True, "got it\n", "got it\n"],
    "connect_late": 5,
    "disconnect": "alive\n",
    "files_round_trip": [
        ["text.txt", "/home/user/a/b/text.txt"],
        "hello ž",
        True,
        True,
        True,
        "user:user 755\nuser:user 644\n",
    ],
    "files_gzip_up": 100_000,
    "files_multipart": "by form",
    "files_many": [True, ["0", "1", "2", "3", "4"]],
    "files_metadata": [{"key": "value one", "b": "2"}, {"c": "3"}],
    "files_list": [
        [["f", "file"], ["x", "dir"]],
        ["/home/user/l/f", "/home/user/l/x", "/home/user/l/x/y", "/home/user/l/x/y/z"],
        "InvalidArgumentException",
        "FileNotFoundException",
    ],
    "files_info": [
        ["info.txt", "file", "/home/user/info.txt", 5],
        [0o644, "-rw-r--r--", "user", "user"],
        True,
        ["link", "/home/user/info.txt"],
    ],
    "files_exists_rename_remove": [
        "/home/user/deep/new",
        [False, True],
        False,
        "FileNotFoundException",
        "FileNotFoundException",
        None,
    ],
    "files_make_dir": [True, False, "user\nuser\n"],
    "files_errors": [
        "InvalidArgumentException",
        "InvalidArgumentException",
        "AuthenticationException",
    ],
    "terminal": [[True, True, True, True], True, False, False],
    "terminal_exit": 3,
    "watch_polling": [[], "SandboxException", "FileNotFoundException"],
    "watch_stream": [True, True, True],
    "many_at_once": True,
}


def environment(version: str) -> Path:
    """Python with that ``e2b`` installed, made once and kept in the cache."""
    cache = Path(os.environ.get("WARDIAN_CACHE", Path.home() / ".cache/wardian"))
    place = cache / "venvs" / f"e2b-{version}"
    python = place / "bin" / "python"
    if not (place / "complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        venv.create(place, with_pip=True)
        wanted = "e2b" if version == "newest" else f"e2b=={version}"
        command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", wanted]
        subprocess.run(command, check=True)
        (place / "complete").touch()
    return python


@pytest.fixture(scope="module", params=["2.45.1", "newest"])
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What each check of the driver saw, by name."""
    etc = tmp_path_factory.mktemp("etc")
    (etc / "passwd").write_text(PASSWD)
    (etc / "group").write_text(GROUP)
    (etc / "boot.json").write_text(json.dumps(BOOT))
    (etc / "home/user").mkdir(parents=True)
    (etc / "home/root").mkdir()
    os.chown(etc / "home/user", 1000, 1000)
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": "/root",
        "ETC": str(etc),
        "AGENT": binaries.find().agent,
        "PYTHON": str(environment(request.param)),
        "DRIVER": str(DRIVER),
        "E2B_DEBUG": "true",
        "E2B_API_KEY": "e2b_" + "0" * 40,
    }
    # A network, processes and mounts that end with the test, whatever it does.
    unshare = ["unshare", "--net", "--pid", "--mount", "--fork", "--kill-child"]
    command = [*unshare, "bash", "-c", SCRIPT]
    done = subprocess.run(command, env=variables, capture_output=True, timeout=300)
    lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert done.returncode == 0, done.stderr.decode()
    return {line["check"]: line for line in lines}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", EXPECTED)
def test_check(seen: dict[str, Any], name: str) -> None:
    assert "error" not in seen[name], seen[name]["error"]
    assert seen[name]["seen"] == EXPECTED[name]


@pytest.mark.timeout(400)
def test_nothing_is_left_out(seen: dict[str, Any]) -> None:
    assert seen.keys() == EXPECTED.keys()
