"""Where this machine's own package clients fetch from, so that sandboxes can be let do the same.

Read from the configuration of pip, npm, Cargo, Go and apt, without running them. What a sandbox
can't use is left out: paths, this machine itself, and addresses that hold a password.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Struct, field

from wardian.server.configuration import PackageSources

#: Reached under the preset's other rules already.
WELL_KNOWN: Final = frozenset(
    {
        "pypi.org",
        "files.pythonhosted.org",
        "registry.npmjs.org",
        "index.crates.io",
        "static.crates.io",
        "crates.io",
        "proxy.golang.org",
        "sum.golang.org",
        "deb.debian.org",
        "security.debian.org",
        "archive.ubuntu.com",
        "security.ubuntu.com",
        "ports.ubuntu.com",
    }
)
_PORTS: Final = {"http": 80, "https": 443}
_APT_URL: Final = re.compile(r"(?:^|[\s+])(https?://\S+)")
_MOST_BYTES: Final = 1024 * 1024
_LONGEST_CHAIN: Final = 8


class _CargoSource(Struct):
    registry: str | None = None
    replace_with: str | None = field(default=None, name="replace-with")


class _CargoFile(Struct):
    source: dict[str, _CargoSource] = field(default_factory=dict[str, _CargoSource])


class _Found:
    """What was found so far."""

    def __init__(self) -> None:
        self.hosts: dict[str, None] = {}
        self.env: dict[str, str] = {}

    def add(self, urls: Iterable[str], variable: str | None = None) -> None:
        """Notes the hosts of those that a sandbox can use, and these as a variable's value."""
        usable = [url for url in urls if self._note(url)]
        if usable and variable is not None:
            self.env[variable] = " ".join(usable)

    def _note(self, url: str) -> bool:
        parts = _usable(url)
        if parts is None or parts.hostname is None:
            return False
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        if parts.port not in (None, 80, 443):
            self.hosts[f"{name}:{parts.port}"] = None
        elif name not in WELL_KNOWN:
            self.hosts[name] = None
        return True


def detect(
    environment: Mapping[str, str],
    home: Path,
    root: Path = Path("/"),
    mirrored: Iterable[str] = (),
) -> PackageSources:
    """What this machine's clients are configured to use.

    Args:
        environment: variables that they would see.
        home: of the user whose configuration counts.
        root: what the system's files are looked up below.
        mirrored: names of :data:`WELL_KNOWN` that lead to mirrors in a network of their own here.
    """
    found = _Found()
    found.hosts.update(dict.fromkeys(mirrored))
    _pip(found, environment, home, root)
    _npm(found, environment, home, root)
    _cargo(found, environment, home)
    _go(found, environment, home)
    _apt(found, root)
    return PackageSources(hosts=list(found.hosts), env=found.env)


def _pip(found: _Found, environment: Mapping[str, str], home: Path, root: Path) -> None:
    settings: dict[str, str] = {}
    # Later ones win (pip's "Configuration"), the environment over all.
    files = [
        root / "etc/xdg/pip/pip.conf",
        root / "etc/pip.conf",
        home / ".pip/pip.conf",
        home / ".config/pip/pip.conf",
    ]
    if (named := environment.get("PIP_CONFIG_FILE")) is not None:
        files.append(Path(named))
    for path in files:
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read_string(_text(path))
        except configparser.Error:
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                settings |= dict(parser.items(section))
    for name in ("index-url", "extra-index-url"):
        variable = "PIP_" + name.upper().replace("-", "_")
        value = environment.get(variable, settings.get(name, ""))
        found.add(value.split(), variable)


def _npm(found: _Found, environment: Mapping[str, str], home: Path, root: Path) -> None:
    user = environment.get("NPM_CONFIG_USERCONFIG", environment.get("npm_config_userconfig"))
    files = (
        root / "etc/npmrc",
        root / "usr/etc/npmrc",
        root / "usr/local/etc/npmrc",
        Path(user) if user else home / ".npmrc",
    )
    registry = ""
    for path in files:
        for name, value in _assignments(_text(path)):
            if name == "registry":
                registry = value
    for variable in ("NPM_CONFIG_REGISTRY", "npm_config_registry"):
        registry = environment.get(variable, registry)
    found.add([registry], "NPM_CONFIG_REGISTRY")


def _cargo(found: _Found, environment: Mapping[str, str], home: Path) -> None:
    # Cargo takes replacements of its source from files only, so there is no variable to give.
    directory = Path(environment.get("CARGO_HOME") or home / ".cargo")
    for name in ("config", "config.toml"):
        try:
            sources = msgspec.toml.decode(_text(directory / name), type=_CargoFile).source
        except msgspec.MsgspecError:
            continue
        current: str | None = "crates-io"
        for _ in range(_LONGEST_CHAIN):
            source = None if current is None else sources.get(current)
            if source is None:
                break
            if source.registry is not None:
                found.add([source.registry.removeprefix("sparse+")])
            current = source.replace_with


def _go(found: _Found, environment: Mapping[str, str], home: Path) -> None:
    path = Path(environment.get("GOENV") or home / ".config/go/env")
    settings = dict(_assignments(_text(path)))
    for name in ("GOPROXY", "GOSUMDB", "GONOSUMDB"):
        value = environment.get(name, settings.get(name, ""))
        if not value:
            continue
        if name == "GONOSUMDB" or (name == "GOSUMDB" and value == "off"):
            found.env[name] = value
            continue
        separator = "," if name == "GOPROXY" else " "
        words = [word for word in re.split(r"[,|\s]", value) if word]
        kept = [word for word in words if "://" not in word or _usable(word) is not None]
        found.add(word for word in kept if "://" in word)
        if any("://" in word for word in kept):
            found.env[name] = separator.join(kept)


def _apt(found: _Found, root: Path) -> None:
    directory = root / "etc/apt"
    files = [
        directory / "sources.list",
        *sorted((directory / "sources.list.d").glob("*.list")),
        *sorted((directory / "sources.list.d").glob("*.sources")),
    ]
    for path in files:
        for line in _text(path).splitlines():
            if not line.lstrip().startswith("#"):
                found.add(_APT_URL.findall(line))


def _usable(url: str) -> SplitResult | None:
    """The parts of an address that a sandbox can use, or ``None``."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname
    if parts.scheme not in _PORTS or host is None or port == 0:
        return None
    if parts.username is not None or parts.password is not None or "$" in url:
        return None
    return None if _is_this_machine(host) else parts


def _is_this_machine(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified or address.is_link_local


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.lstrip().startswith(("#", ";")):
            yield name.strip(), value.strip().strip("\"'")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
