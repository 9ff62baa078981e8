"""The public face, the generated half, and where address and key come from."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import wardian
from wardian.sdk import _config, _errors

ROOT = Path(__file__).resolve().parents[3]


def test_all_is_sorted_and_everything_in_it_exists() -> None:
    assert wardian.__all__ == sorted(wardian.__all__)
    for name in wardian.__all__:
        assert getattr(wardian, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = wardian.nothing


def test_every_error_is_public_and_drawn() -> None:
    errors = {
        name
        for name, value in vars(_errors).items()
        if inspect.isclass(value) and issubclass(value, wardian.WardianError)
    }
    assert errors <= set(wardian.__all__)
    drawn = set((_errors.__doc__ or "").replace("─", " ").split())
    assert errors <= drawn


def test_every_public_method_is_documented() -> None:
    for kind in (wardian.Sandbox, wardian.AsyncSandbox, wardian.Files, wardian.Process):
        for name, member in inspect.getmembers(kind):
            if not name.startswith("_") and callable(member):
                assert member.__doc__, f"{kind.__name__}.{name}"


def test_the_blocking_half_is_what_the_generator_gives() -> None:
    command = [sys.executable, "tools/generate_sync.py", "--check"]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr


def test_the_sdk_needs_nothing_of_the_server_and_little_time() -> None:
    code = (
        "import sys, wardian; wardian.Sandbox, wardian.AsyncSandbox;"
        "print([m for m in sys.modules if m.startswith(('wardian.server', 'httpx', 'rich'))])"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert outcome.stdout == "[]\n", outcome.stderr


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("WARDIAN_URL", "WARDIAN_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("WARDIAN_HOME", str(tmp_path / "home"))
    return tmp_path


def test_the_key_is_looked_for_in_order(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(wardian.ConfigurationError) as missing:
        _config.resolve_api_key()
    assert missing.value.code == "no_api_key" and "WARDIAN_API_KEY" in (missing.value.hint or "")
    for folder, key in (("home", "e2b_home"), ("config/wardian", "e2b_config")):
        (bare / folder).mkdir(parents=True)
        (bare / folder / "api-key").write_text(f"{key}\n")
        assert _config.resolve_api_key() == key
    monkeypatch.setenv("WARDIAN_API_KEY", " e2b_env ")
    assert _config.resolve_api_key() == "e2b_env"
    assert _config.resolve_api_key("e2b_arg") == "e2b_arg"
    with pytest.raises(wardian.ConfigurationError):
        _config.resolve_api_key("a\r\nb")


def test_urls(bare: Path) -> None:
    assert _config.resolve_endpoint().url == "http://127.0.0.1:7300"
    endpoint = _config.parse_url("https://[::1]:8443/base/")
    assert (endpoint.host, endpoint.port, endpoint.tls, endpoint.prefix) == (
        "::1",
        8443,
        True,
        "/base",
    )
    assert _config.parse_url("https://wardian.test").authority == "wardian.test"


@pytest.mark.parametrize(
    "url",
    ["", " ", "127.0.0.1:7300", "ftp://a", "http://", "http://a:b", "http://u:p@a", "http://a?b"],
)
def test_impossible_urls_are_refused(url: str) -> None:
    with pytest.raises(wardian.ConfigurationError):
        _config.parse_url(url)


def test_secrets_do_not_show(double: object) -> None:
    sandbox = wardian.Sandbox.create()
    shown = repr(sandbox) + repr(sandbox.info()) + repr(sandbox.info().agent)
    assert "agent-token" not in shown and os.environ["WARDIAN_API_KEY"] not in shown
