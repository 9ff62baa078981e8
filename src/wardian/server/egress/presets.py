"""Rules that have a name and can be added to any sandbox's own."""

from __future__ import annotations

from dataclasses import dataclass, field

from wardian.server.configuration import PackageSources
from wardian.server.egress.model import Rule
from wardian.server.errors import PresetNotFound

PACKAGES = "packages"
_WEB = ["80", "443"]

# Where the clients of each kind fetch from as they are made; all are public and well known.
_PACKAGE_HOSTS: dict[str, list[str]] = {
    "pypi": ["pypi.org", "files.pythonhosted.org"],
    "npm": ["registry.npmjs.org"],
    "crates": ["index.crates.io", "static.crates.io", "crates.io"],
    "go": ["proxy.golang.org", "sum.golang.org"],
    "debian": ["deb.debian.org", "security.debian.org"],
    "ubuntu": ["archive.ubuntu.com", "security.ubuntu.com", "ports.ubuntu.com"],
}
_GIT_HOSTS: dict[str, list[str]] = {
    "github": [
        "github.com",
        "api.github.com",
        "codeload.github.com",
        "raw.githubusercontent.com",
        "objects.githubusercontent.com",
        "release-assets.githubusercontent.com",
        "github-cloud.githubusercontent.com",
        "lfs.github.com",
        "ssh.github.com",
    ],
    "gitlab": ["gitlab.com", "registry.gitlab.com", "altssh.gitlab.com"],
    "bitbucket": ["bitbucket.org", "api.bitbucket.org", "altssh.bitbucket.org"],
    "codeberg": ["codeberg.org"],
}
_ANY_ADDRESS = ["0.0.0.0/0", "::/0"]


@dataclass(frozen=True, slots=True)
class Preset:
    """Rules under a name; ``env``: variables for sandboxes that have it and do not set them."""

    name: str
    description: str
    rules: tuple[Rule, ...]
    env: dict[str, str] = field(default_factory=dict[str, str])


class Presets:
    """The presets of this node.

    Args:
        sources: where the node's own clients fetch packages from.
    """

    def __init__(self, sources: PackageSources) -> None:
        presets = (
            Preset("off", "Nothing.", (Rule(name="all", action="deny"),)),
            Preset(
                "on",
                "Every name and every public address, at all ports.",
                (Rule(name="all", action="allow", hosts=["*"]),),
            ),
            Preset(
                PACKAGES,
                "Registries of Python, Node.js, Rust, Go, Debian and Ubuntu, and those this node"
                " is set up to use.",
                # First: a public name may lead to a mirror in the node's own network.
                (*_own_sources(sources), *_rules(_PACKAGE_HOSTS, _WEB)),
                dict(sources.env),
            ),
            Preset(
                "git-hosts",
                "GitHub, GitLab, Bitbucket and Codeberg, over HTTPS and SSH.",
                tuple(_rules(_GIT_HOSTS, ["22", "443"])),
            ),
        )
        self._presets = {preset.name: preset for preset in presets}

    def get(self, name: str) -> Preset:
        """The preset of this name.

        Raises:
            PresetNotFound: there is none.
        """
        preset = self._presets.get(name)
        if preset is None:
            raise PresetNotFound(name, list(self._presets))
        return preset

    def all(self) -> list[Preset]:
        """Every preset."""
        return list(self._presets.values())


def _rules(hosts: dict[str, list[str]], ports: list[str]) -> list[Rule]:
    return [
        Rule(name=name, action="allow", hosts=list(named), ports=[*ports])
        for name, named in hosts.items()
    ]


def _own_sources(sources: PackageSources) -> list[Rule]:
    # Ports beside the usual ones are written behind the name. Whoever set the node up chose these
    # hosts, and they may well lie in a network of their own: so any address that they resolve to.
    by_port: dict[str | None, list[str]] = {}
    for source in sources.hosts:
        host, port = _split(source)
        by_port.setdefault(port, []).append(host)
    return [
        Rule(
            name="node" if port is None else f"node-{port}",
            action="allow",
            hosts=hosts,
            ports=[*_WEB] if port is None else [port],
            cidrs=[*_ANY_ADDRESS],
        )
        for port, hosts in by_port.items()
    ]


def _split(source: str) -> tuple[str, str | None]:
    name, colon, port = source.rpartition(":")
    if colon and port.isdigit() and (":" not in name or name.endswith("]")):
        return name.removeprefix("[").removesuffix("]"), port
    return source.removeprefix("[").removesuffix("]"), None
