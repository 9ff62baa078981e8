"""Credentials that never enter a sandbox: what puts them into its requests, and names for them.

In the strings `{NAME}` stands for the secret of that name; `{{` and `}}` for braces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._errors import ProtocolError

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_REFERENCE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


def secret_name(name: str) -> str:
    """`name`, if a secret can be called so.

    Raises:
        ValueError: It can't.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a secret: capitals, digits and _, like API_KEY")
    return name


def names_in(*templates: str | None) -> tuple[str, ...]:
    """The secrets that strings of injections name, each once."""
    found = [name for text in templates if text for name in _REFERENCE.findall(text) if name]
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Secret:
    """A value of a variable that is a secret: the sandbox gets a placeholder in its place.

    `env={"GITHUB_TOKEN": Secret("GITHUB")}`. A rule with `substitute="GITHUB"` swaps the
    placeholder for the value, in requests towards the hosts of that rule alone.

    Attributes:
        name: The secret's name.
    """

    name: str

    def __post_init__(self) -> None:
        secret_name(self.name)


class Injection:
    """A credential that the edge puts into requests, in place of what the sandbox sent.

    Its `repr` shows names of secrets only: who wrote a value into it by mistake does not find it
    in a log.
    """

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """It, as the API takes it."""
        raise NotImplementedError

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets in it."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(self.secrets) or 'no secret'}>"


@dataclass(frozen=True, slots=True, repr=False)
class Header(Injection):
    """Sets a header line: `Header("Authorization", "Bearer {OPENAI_API_KEY}")`.

    Attributes:
        name: The header.
        value: Its value.
    """

    name: str
    value: str

    def to_dict(self) -> dict[str, Any]:
        """It, as the API takes it."""
        return {"header": self.name, "value": self.value}

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets in it."""
        return names_in(self.value)


@dataclass(frozen=True, slots=True, repr=False)
class Query(Injection):
    """Sets a parameter of the query: `Query("key", "{MAPS_KEY}")`.

    Attributes:
        name: The parameter.
        value: Its value, not encoded.
    """

    name: str
    value: str

    def to_dict(self) -> dict[str, Any]:
        """It, as the API takes it."""
        return {"query": self.name, "value": self.value}

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets in it."""
        return names_in(self.value)


@dataclass(frozen=True, slots=True, repr=False)
class Basic(Injection):
    """Sets basic authentication (RFC 7617): `Basic("agent", "{GIT_TOKEN}")`.

    Attributes:
        username: Who.
        password: And by what.
    """

    username: str
    password: str

    def to_dict(self) -> dict[str, Any]:
        """It, as the API takes it."""
        return {"basic": {"username": self.username, "password": self.password}}

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets in it."""
        return names_in(self.username, self.password)


@dataclass(frozen=True, slots=True, repr=False)
class SigV4(Injection):
    """Signs requests anew, AWS Signature Version 4: `SigV4("{AWS_ID}", "{AWS_KEY}")`.

    The client in the sandbox signs with keys of no worth.

    Attributes:
        access_key: The access key's id.
        secret_key: The secret key.
        session_token: The token of temporary keys.
        region: None takes the region that the client signed for.
        service: None takes the service that the client signed for.
    """

    access_key: str
    secret_key: str
    session_token: str | None = None
    region: str | None = None
    service: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """It, as the API takes it."""
        given = {
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "session_token": self.session_token,
            "region": self.region,
            "service": self.service,
        }
        return {"sigv4": {key: value for key, value in given.items() if value is not None}}

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets in it."""
        return names_in(self.access_key, self.secret_key, self.session_token)


def injection_from(said: Mapping[str, Any]) -> Injection:
    """The injection that the API tells of.

    Raises:
        ProtocolError: It is none that is known.
    """
    try:
        if "header" in said:
            return Header(said["header"], said["value"])
        if "query" in said:
            return Query(said["query"], said["value"])
        if "basic" in said:
            return Basic(said["basic"]["username"], said["basic"]["password"])
        if "sigv4" in said:
            return SigV4(**said["sigv4"])
    except (KeyError, TypeError) as error:
        raise ProtocolError(f"an injection is not what it should be: {error}") from None
    raise ProtocolError(f"unknown injection with the fields {', '.join(sorted(said))}")


def environment_message(env: Mapping[str, str | Secret | None]) -> dict[str, Any]:
    """Variables in the form of the API: a secret's value is `{"secret": NAME}`."""
    return {
        name: {"secret": value.name} if isinstance(value, Secret) else value
        for name, value in env.items()
    }
