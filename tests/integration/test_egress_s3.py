"""AWS's own Python client in a sandbox, with keys of no worth, and a real object store outside that
knows only the real ones: requests are signed anew on their way out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.authority import Authority

from wardian import Egress, Sandbox, Secrets, SigV4

from . import s3_gateway, sandbox_wheels
from .s3_gateway import REGION, Gateway

HOST = "s3.example.com"
ACCESS_KEY = "AKIAREALREALREALREAL"
SECRET_KEY = "real/secret+key-that-no-sandbox-sees-0000"
PROGRAMS = Path(__file__).parent / "programs"
DUMMY = {
    "AWS_ACCESS_KEY_ID": "nothing",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The store."""
    directory = tmp_path_factory.mktemp("s3")
    try:
        program = s3_gateway.running(directory, ACCESS_KEY, SECRET_KEY)
        with program as started:
            yield started
    except FileNotFoundError as missing:
        pytest.fail(str(missing))


@pytest.fixture(scope="module")
def sandbox(node: Any, gateway: Gateway) -> Iterator[Sandbox]:
    """A sandbox that reaches the store and nothing else."""
    secrets = Secrets()
    secrets.set("STORE_ACCESS", ACCESS_KEY, hosts=HOST)
    secrets.set("STORE_SECRET", SECRET_KEY, hosts=HOST)
    with Sandbox.create("base", egress=_signed(gateway), env=DUMMY, timeout=1200) as made:
        yield made


def _signed(gateway: Gateway) -> Egress:
    keys = SigV4("{STORE_ACCESS}", "{STORE_SECRET}")
    return Egress().allow(HOST, name="store", connect_to=gateway.address, inject=keys)


def _run(sandbox: Sandbox, program: str, *arguments: str, **env: str) -> Any:
    command = ["python3", "-c", (PROGRAMS / program).read_text(), *arguments]
    return json.loads(sandbox.run(command, env=env, timeout=300, check=True).stdout)


@pytest.mark.timeout(600)
def test_the_client_works_as_if_it_had_the_keys(sandbox: Sandbox, gateway: Gateway) -> None:
    site = sandbox_wheels.install(sandbox, "boto3")
    told = _run(sandbox, "s3_session.py", f"http://{HOST}", REGION, PYTHONPATH=site)
    key = "a folder/ünï (1)+~.txt"
    assert told["read"] == told["presigned"] == "hello"
    assert told["listed"] == [key]
    assert told["large"] is True
    # Eight parts, so it was a multipart upload.
    assert told["etag"].strip('"').endswith("-8")
    assert told["put"] == "by address"
    assert told["missing"] == "NoSuchKey"
    assert (gateway.root / "agent" / key).read_bytes() == b"hello"
    events = [each for each in sandbox.egress.events() if each.kind == "request"]
    assert events and {each.verdict for each in events} == {"allowed"}
    assert {tuple(sorted(each.secrets)) for each in events} == {("STORE_ACCESS", "STORE_SECRET")}
    seen = sandbox.run("env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'").stdout
    assert SECRET_KEY not in seen and ACCESS_KEY not in seen


@pytest.mark.timeout(600)
def test_over_tls_as_well(
    sandbox: Sandbox, gateway: Gateway, authority: Authority, tmp_path: Path
) -> None:
    """The client trusts the edge by its environment, the edge the store by what the node trusts."""
    site = sandbox_wheels.install(sandbox, "boto3")
    certificate = authority.issue(HOST)
    with s3_gateway.running(tmp_path, ACCESS_KEY, SECRET_KEY, certificate) as secured:
        sandbox.egress.set(_signed(secured))
        told = _run(sandbox, "s3_session.py", f"https://{HOST}", REGION, PYTHONPATH=site)
        sandbox.egress.set(_signed(gateway))
    assert told["read"] == told["presigned"] == "hello"
    assert told["large"] is True
    assert 443 in {event.port for event in sandbox.egress.events(verdict="allowed")}


def test_the_example_does_what_it_says(node: Any, gateway: Gateway) -> None:
    (gateway.root / "example").mkdir()
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    command = [sys.executable, "examples/s3_resigned.py", "--bucket", "example"]
    done = subprocess.run(
        [*command, "--endpoint", gateway.address],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **keys},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = (gateway.root / "example" / "wardian-example.txt").read_text()
    assert written and f"in the bucket: {written}" in done.stdout
    for method in ("PUT", "GET"):
        line = f"{method} /example/wardian-example.txt 200 signed with S3_ACCESS, S3_SECRET"
        assert line in done.stdout


def test_every_chunk_is_signed_anew(sandbox: Sandbox, gateway: Gateway) -> None:
    (gateway.root / "agent").mkdir(exist_ok=True)
    told = _run(sandbox, "s3_chunks.py", HOST, REGION)
    assert (told["plain"], told["trailer"]) == (200, 200)
    expected = b"a" * 65536 + b"b" * 8192 + b"c" * 100
    for key in ("chunks", "trailer"):
        assert (gateway.root / "agent" / key).read_bytes() == expected
    assert told["malformed"] != 200
    assert not (gateway.root / "agent" / "malformed").exists()


def test_without_the_rule_the_keys_are_worth_nothing(sandbox: Sandbox, gateway: Gateway) -> None:
    sandbox.egress.set(Egress().allow(HOST, connect_to=gateway.address, methods="GET"))
    now = "20260101T000000Z"
    scope = f"nothing/20260101/{REGION}/s3/aws4_request"
    signature = f"Credential={scope},SignedHeaders=host;x-amz-date,Signature={'0' * 64}"
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://{HOST}/agent/chunks"]
    command += ["-H", f"x-amz-date: {now}", "-H", f"Authorization: AWS4-HMAC-SHA256 {signature}"]
    assert sandbox.run(command).stdout == "403"
