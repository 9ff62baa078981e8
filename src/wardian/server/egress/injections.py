"""Credentials that a rule puts into requests, as the API takes them.

Their strings may name secrets (``templating``). They are not shown in errors or logs: one may hold
what should have been a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from wardian.server.egress import templating

_MOST_TEXT = 8192
_MASK = "***"
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_SCOPE_WORD = re.compile(r"[a-z0-9-]{1,64}")
# What frames a message or belongs to one connection is the edge's.
_NOT_FOR_RULES = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class BasicCredentials(Struct, frozen=True, forbid_unknown_fields=True):
    """``Authorization: Basic …``; the user name holds no colon."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "BasicCredentials(…)"


class Sigv4Credentials(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Signs anew; region and service are those the sandbox signed for unless given."""

    access_key: str
    secret_key: str
    session_token: str | None = None
    region: str | None = None
    service: str | None = None

    def __repr__(self) -> str:
        return "Sigv4Credentials(…)"


class Injection(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One of: header and value, query and value, basic, sigv4."""

    header: str | None = None
    query: str | None = None
    value: str | None = None
    basic: BasicCredentials | None = None
    sigv4: Sigv4Credentials | None = None

    def __repr__(self) -> str:
        return "Injection(…)"

    def texts(self) -> Iterator[tuple[str, str]]:
        """Field and text of all that may name secrets."""
        if self.value is not None:
            yield "value", self.value
        if self.basic is not None:
            yield "basic.username", self.basic.username
            yield "basic.password", self.basic.password
        if self.sigv4 is not None:
            yield "sigv4.access_key", self.sigv4.access_key
            yield "sigv4.secret_key", self.sigv4.secret_key
            if self.sigv4.session_token is not None:
                yield "sigv4.session_token", self.sigv4.session_token

    def secrets(self) -> list[str]:
        """The names of the secrets in it, each once."""
        return list(
            dict.fromkeys(name for _, text in self.texts() for name in templating.names(text))
        )

    def masked(self) -> Injection:
        """The same without its texts, for those who may only look."""
        return Injection(
            header=self.header,
            query=self.query,
            value=self.value and _MASK,
            basic=self.basic and BasicCredentials(_MASK, _MASK),
            sigv4=self.sigv4
            and Sigv4Credentials(
                _MASK,
                _MASK,
                self.sigv4.session_token and _MASK,
                self.sigv4.region,
                self.sigv4.service,
            ),
        )

    def check(self) -> None:
        """Raises:
        ValueError: it is not as it must be; the message begins with the field.
        """
        kinds = (self.header, self.query, self.basic, self.sigv4)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("expected one of header, query, basic and sigv4")
        if (self.value is None) == (self.header is not None or self.query is not None):
            raise ValueError("value belongs to header and query, and only to them")
        if self.header is not None:
            _check_header(self.header)
        if self.query is not None and not (1 <= len(self.query) <= 128 and _plain(self.query)):
            raise ValueError("query: expected the name of a parameter, 1 to 128 characters")
        for field, text in self.texts():
            _check_text(field, text)
        if self.basic is not None and ":" in self.basic.username:
            raise ValueError("basic.username: a colon would end it")
        for field in ("region", "service"):
            word = self.sigv4 and getattr(self.sigv4, field)
            if word is not None and not _SCOPE_WORD.fullmatch(word):
                raise ValueError(f"sigv4.{field}: {word!r} is none: a-z, 0-9 and -")


def _check_header(name: str) -> None:
    if not _HEADER.fullmatch(name):
        raise ValueError(f"header: {name!r} is no name of a header line")
    if name.lower() in _NOT_FOR_RULES:
        raise ValueError(f"header: {name} is not for rules to set")


def _check_text(field: str, text: str) -> None:
    if len(text.encode()) > _MOST_TEXT:
        raise ValueError(f"{field}: longer than {_MOST_TEXT} bytes")
    if not text:
        raise ValueError(f"{field}: empty")
    if not _plain(text):
        raise ValueError(f"{field}: holds a control character")
    try:
        templating.names(text)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from error


def _plain(text: str) -> bool:
    return all(character >= " " and character != "\x7f" for character in text)
