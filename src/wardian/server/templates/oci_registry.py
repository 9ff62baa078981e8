"""A client of image registries (the OCI distribution protocol), reading only."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp

from wardian.server.errors import Forbidden, InvalidRequest, NotFound, Unavailable, WardianError
from wardian.server.templates import registry_auth
from wardian.server.templates.model import PullRequest
from wardian.server.templates.oci_documents import (
    INDEX_TYPES,
    LARGEST_DOCUMENT,
    MANIFEST_TYPES,
    Descriptor,
)
from wardian.server.templates.oci_reference import Reference, parse

_CHUNK: Final = 1 << 20
_MOST_REDIRECTS: Final = 5
_TRIES: Final = 5
_FIRST_PAUSE: Final = 0.2
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=60)
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_LOST: Final = (aiohttp.ClientError, TimeoutError, OSError)


class OciRegistry:
    """One repository of one registry. Use :meth:`open`."""

    def __init__(
        self, session: aiohttp.ClientSession, request: PullRequest, reference: Reference
    ) -> None:
        self._session = session
        self._reference = reference
        self._login = (
            None
            if request.username is None
            else registry_auth.basic(request.username, request.password or "")
        )
        self._schemes = ("http",) if request.plain_http else ("https",)
        if reference.loopback and not request.plain_http:
            # A registry on this machine rarely has a certificate, and nobody listens in between.
            self._schemes = ("https", "http")
        self._base = ""
        self._authorization: str | None = None
        self._top: tuple[str, bytes] | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, request: PullRequest) -> AsyncGenerator[OciRegistry]:
        """Connects to the registry of ``request``.

        Raises:
            InvalidRequest: the reference is not of the form.
            Unavailable: the registry does not answer.
        """
        reference = parse(request.reference)
        async with aiohttp.ClientSession(
            timeout=_TIMEOUT,
            trust_env=not reference.loopback,
            auto_decompress=False,
            headers={"User-Agent": "wardian"},
        ) as session:
            registry = cls(session, request, reference)
            await registry._find_scheme()
            yield registry

    @property
    def reference(self) -> Reference:
        """What is being pulled."""
        return self._reference

    async def top(self) -> Descriptor:
        """The manifest or index the reference names.

        Raises:
            NotFound: there is none.
            Forbidden: the registry refuses.
        """
        url = self._url(f"manifests/{self._reference.version}")
        data, media_type = await self._fetch_document(url)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if self._reference.digest not in (None, digest):
            raise InvalidRequest(f"{self._reference}: the registry sent another image")
        self._top = digest, data
        return Descriptor(media_type=media_type, digest=digest, size=len(data))

    async def manifest(self, descriptor: Descriptor) -> bytes:
        """An index or manifest by its digest."""
        if self._top is not None and self._top[0] == descriptor.digest:
            return self._top[1]
        data, _ = await self._fetch_document(self._url(f"manifests/{descriptor.digest}"))
        return data

    async def blob(self, descriptor: Descriptor) -> AsyncGenerator[bytes]:
        """A blob's bytes, never more than its size; goes on where a lost connection stopped.

        Raises:
            Unavailable: the registry failed more often than is tried.
            InvalidRequest: it sent more than the image says.
        """
        url = self._url(f"blobs/{descriptor.digest}")
        offset, failures = 0, 0
        while offset < descriptor.size or descriptor.size == 0:
            before = offset
            try:
                async with self._get(url, offset=offset) as answer:
                    skip = offset if answer.status == 200 else 0
                    async for chunk in answer.content.iter_chunked(_CHUNK):
                        fresh = chunk[skip:]
                        skip -= min(skip, len(chunk))
                        offset += len(fresh)
                        if offset > descriptor.size:
                            raise InvalidRequest(f"blob {descriptor.digest} is larger than it says")
                        if fresh:
                            yield fresh
                if offset == descriptor.size:
                    return
                cause: Exception = EOFError("the connection ended early")
            except _LOST as error:
                cause = error
            failures = 1 if offset > before else failures + 1
            if failures >= _TRIES:
                raise self._lost(f"blob {descriptor.digest}") from cause
            await asyncio.sleep(_FIRST_PAUSE * 2**failures)

    async def _fetch_document(self, url: str) -> tuple[bytes, str]:
        accept = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))
        try:
            async with self._get(url, accept=accept) as answer:
                data = bytearray()
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    data += chunk
                    if len(data) > LARGEST_DOCUMENT:
                        raise InvalidRequest(f"{self._reference}: its manifest is too large")
                return bytes(data), answer.headers.get("Content-Type", "").partition(";")[0].strip()
        except _LOST as error:
            raise self._lost(str(self._reference)) from error

    async def _find_scheme(self) -> None:
        cause: Exception | None = None
        for scheme in self._schemes:
            base = f"{scheme}://{self._reference.registry}/v2/"
            try:
                async with self._session.get(base, allow_redirects=False) as answer:
                    if answer.status in (200, 401):
                        self._base = base
                        return
            except (*_LOST, ValueError) as error:
                cause = error
        raise Unavailable(
            f"registry {self._reference.registry} does not answer by {' or '.join(self._schemes)}",
            "check its name and port; plain_http is for registries without TLS",
        ) from cause

    def _url(self, path: str) -> str:
        return f"{self._base}{self._reference.repository}/{path}"

    @asynccontextmanager
    async def _get(
        self, url: str, *, accept: str = "*/*", offset: int = 0
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Asks for ``url``, logs in when told to, and follows redirects without the login."""
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        target, logged_in = url, self._authorization is not None
        for _ in range(_MOST_REDIRECTS + 2):
            own = {} if self._authorization is None else {"Authorization": self._authorization}
            sent = headers | (own if _origin(target) == _origin(url) else {})
            async with self._session.get(target, headers=sent, allow_redirects=False) as answer:
                if answer.status in _REDIRECTS:
                    target = self._redirected(target, answer.headers.get("Location", ""))
                elif answer.status == 401 and not logged_in and _origin(target) == _origin(url):
                    await self._log_in(answer.headers.get("WWW-Authenticate", ""))
                    logged_in = True
                elif answer.status == 401 and _origin(target) == _origin(url) and offset:
                    # A long download outlives its token.
                    self._authorization, logged_in = None, False
                elif answer.status in (200, 206):
                    self._check_range(answer, offset)
                    yield answer
                    return
                else:
                    raise self._refusal(answer.status)
        raise Unavailable(f"registry {self._reference.registry} redirects without end")

    def _redirected(self, target: str, location: str) -> str:
        following = urljoin(target, location)
        scheme = urlsplit(following).scheme
        if scheme not in ("https", "http") or (scheme == "http" and target.startswith("https:")):
            raise Unavailable(f"registry {self._reference.registry} redirects to no secure place")
        return following

    def _check_range(self, answer: aiohttp.ClientResponse, offset: int) -> None:
        if answer.status == 206:
            begin = answer.headers.get("Content-Range", "").partition("-")[0]
            if begin.strip() != f"bytes {offset}":
                raise Unavailable(f"registry {self._reference.registry} sent another range")

    async def _log_in(self, header: str) -> None:
        self._authorization = await registry_auth.authorization(
            self._session,
            registry_auth.parse_challenge(header),
            registry=self._reference.registry,
            repository=self._reference.repository,
            login=self._login,
            secure=self._base.startswith("https:"),
        )

    def _refusal(self, status: int) -> WardianError:
        what = f"{self._reference}"
        if status == 404:
            return NotFound(f"no image {what} in its registry", "check name and tag")
        if status in (401, 403):
            return Forbidden(f"the registry refuses {what}", "check username and password")
        return Unavailable(f"the registry answered {status} for {what}")

    def _lost(self, what: str) -> Unavailable:
        return Unavailable(
            f"the connection to registry {self._reference.registry} was lost at {what}",
            "try again",
        )


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
