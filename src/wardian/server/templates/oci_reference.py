"""Image references: ``registry/repository[:tag][@digest]``, read strictly."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from wardian.server.errors import InvalidRequest

_HOST_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(
    rf"(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::(\d{{1,5}}))?"
)
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST: Final = 512
_LONGEST_REPOSITORY: Final = 255


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference to an image in a registry.

    Args:
        registry: host, with ``:port`` where one is given.
        repository: path of the image in it.
        tag: name of a version; ``latest`` when neither tag nor digest was given.
        digest: ``sha256:…`` of its manifest; binding even beside a tag.
    """

    registry: str
    repository: str
    tag: str | None
    digest: str | None

    def __str__(self) -> str:
        tag = "" if self.tag is None else f":{self.tag}"
        digest = "" if self.digest is None else f"@{self.digest}"
        return f"{self.registry}/{self.repository}{tag}{digest}"

    @property
    def version(self) -> str:
        """What to ask the registry for."""
        return self.digest or self.tag or "latest"

    @property
    def host(self) -> str:
        """The registry without its port and brackets."""
        if self.registry.startswith("["):
            return self.registry[1 : self.registry.index("]")]
        return self.registry.partition(":")[0]

    @property
    def loopback(self) -> bool:
        """Whether the registry is this machine."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse(text: str) -> Reference:
    """Reads a reference.

    Raises:
        InvalidRequest: it is not of the form, or names no registry.
    """
    if len(text) > _LONGEST:
        raise _refuse(text[:64] + "…", f"it is longer than {_LONGEST} characters")
    rest, at, digest = text.partition("@")
    if at and _DIGEST.fullmatch(digest) is None:
        raise _refuse(text, "the digest is not sha256: and 64 hexadecimal digits")
    registry, slash, path = rest.partition("/")
    if not slash or not _names_host(registry):
        raise _refuse(text, "it names no registry")
    repository, colon, tag = path.partition(":")
    if len(repository) > _LONGEST_REPOSITORY or _REPOSITORY.fullmatch(repository) is None:
        raise _refuse(text, f"{repository!r} is no repository")
    if colon and _TAG.fullmatch(tag) is None:
        raise _refuse(text, f"{tag!r} is no tag")
    wanted = tag if colon else None if at else "latest"
    return Reference(registry, repository, wanted, digest if at else None)


def _names_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    if match is None or (match[1] is not None and not 0 < int(match[1]) < 65536):
        return False
    if text.startswith("["):
        try:
            ipaddress.IPv6Address(text[1 : text.index("]")])
        except ValueError:
            return False
        return True
    # As everywhere with images: a first part without dot or port belongs to the repository.
    return "." in text or ":" in text or text.lower() == "localhost"


def _refuse(text: str, reason: str) -> InvalidRequest:
    return InvalidRequest(
        f"{text!r} is no image reference: {reason}", "write it like registry.example/team/app:1.0"
    )
