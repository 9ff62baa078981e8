"""Where the server is and which key opens it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ._errors import ConfigurationError

DEFAULT_URL = "http://127.0.0.1:7300"
DEFAULT_HOME = "/var/lib/wardian"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's address, taken apart.

    Attributes:
        host: Name or IP address, without brackets.
        port: TCP port.
        tls: Whether to speak TLS.
        prefix: Path in front of every call, without a slash at its end; mostly empty.
    """

    host: str
    port: int
    tls: bool
    prefix: str = ""

    @property
    def authority(self) -> str:
        """The Host header: the port is left out where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return "https" if self.tls else "http"

    @property
    def url(self) -> str:
        """The address in one piece."""
        return f"{self.scheme}://{self.authority}{self.prefix}"


def parse_url(url: str) -> Endpoint:
    """Take a server's URL apart.

    Raises:
        ConfigurationError: It is not an http or https URL with a host.
    """
    hint = f"give an address such as {DEFAULT_URL}"
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"not a server URL: {url!r} ({error})", hint=hint) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"not a server URL: {url!r}", hint=hint)
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError("a server URL holds neither user, query nor fragment", hint=hint)
    tls = parts.scheme == "https"
    prefix = parts.path.rstrip("/")
    if not (prefix + parts.hostname).isascii() or any(c.isspace() for c in prefix):
        raise ConfigurationError(f"not a server URL: {url!r}", hint=hint)
    return Endpoint(parts.hostname, port or (443 if tls else 80), tls, prefix)


def resolve_endpoint(url: str | None = None) -> Endpoint:
    """The server to talk to: `url`, else WARDIAN_URL, else the default on this machine."""
    return parse_url(url or os.environ.get("WARDIAN_URL") or DEFAULT_URL)


def resolve_api_key(api_key: str | None = None) -> str:
    """The key to use: `api_key`, else WARDIAN_API_KEY, else the first key file that is readable.

    Raises:
        ConfigurationError: There is none, or it holds what no header can.
    """
    key = (api_key or os.environ.get("WARDIAN_API_KEY") or "").strip()
    if not key:
        key = _key_from_files()
    if not key.isascii() or not key.isprintable():
        raise ConfigurationError("the API key holds characters that no key has")
    return key


def _key_from_files() -> str:
    unreadable: list[str] = []
    for path in key_files():
        try:
            key = path.read_text(encoding="utf-8").strip()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeDecodeError):
            unreadable.append(str(path))
            continue
        if key:
            return key
    if unreadable:
        hint = f"read it as root ({unreadable[0]}) and set WARDIAN_API_KEY"
    else:
        hint = (
            "set WARDIAN_API_KEY, or start a server with `wardian serve`, which makes a first key"
        )
    raise ConfigurationError("no API key found", code="no_api_key", hint=hint)


def key_files() -> list[Path]:
    """The files a key is looked for in, in order."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    home = Path(os.environ.get("WARDIAN_HOME") or DEFAULT_HOME)
    return [config / "wardian" / "api-key", home / "api-key"]
