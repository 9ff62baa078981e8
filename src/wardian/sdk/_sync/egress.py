# Generated from _async/egress.py by tools/generate_sync.py: change it there.
"""What one sandbox may reach, and what it did reach."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Unpack

from .._egress import Egress, egress_message
from .._egress_answers import EgressEvent, EgressPolicy, Explanation
from .._egress_events import events_query
from .._egress_rules import AllowOptions, DenyOptions, EgressRule, Position, make_rule
from .api import Client
from .egress_events import EgressEvents


class SandboxEgress:
    """What one sandbox may reach. A change is in force when the call that makes it returns, and
    connections that are still allowed live on."""

    def __init__(self, client: Client, sandbox_id: str) -> None:
        self._client = client
        self._sandbox_id = sandbox_id

    def get(self) -> EgressPolicy:
        """What it may reach."""
        return self._client.get_egress(self._sandbox_id)

    def set(self, egress: str | Egress) -> EgressPolicy:
        """Replace what was said for this sandbox.

        Args:
            egress: `"off"`, `"on"`, a preset's name, or an `Egress`.

        Raises:
            PresetNotFound: There is no such preset.
            SecretNotFound: A rule names a secret that there is none of.
            PrivateDestination: It grants what is not public, which takes a key with scope `admin`.
            InvalidRequest: A rule can't be read.
        """
        return self._client.set_egress(self._sandbox_id, egress)

    def allow(
        self, *hosts: str, position: Position | None = None, **options: Unpack[AllowOptions]
    ) -> EgressPolicy:
        """Add a rule that lets out; one of the same name is replaced.

        Args:
            hosts: As for `Egress.allow`.
            position: `first` or `last` of the sandbox's own rules; last if not given, or where
                the rule stands that it replaces.
            options: As for `Egress.allow`.

        Raises:
            ValueError: It names neither a host nor a network.
            SecretNotFound: It names a secret that there is none of.
            PrivateDestination: It grants what is not public, which takes a key with scope `admin`.
        """
        return self.add(make_rule("allow", hosts, **options), position)

    def deny(
        self, *hosts: str, position: Position | None = None, **options: Unpack[DenyOptions]
    ) -> EgressPolicy:
        """Add a rule that refuses; one of the same name is replaced.

        Args:
            hosts: As for `Egress.allow`.
            position: `first` or `last` of the sandbox's own rules; last if not given, or where
                the rule stands that it replaces.
            options: As for `Egress.deny`.

        Raises:
            ValueError: It names neither a host nor a network.
        """
        return self.add(make_rule("deny", hosts, **options), position)

    def add(self, rule: EgressRule, position: Position | None = None) -> EgressPolicy:
        """Add a rule that was made before; see `allow`."""
        return self._client.add_egress_rule(self._sandbox_id, rule, position)

    def remove(self, name: str) -> EgressPolicy:
        """Take a rule of the sandbox's own away.

        Raises:
            RuleNotFound: It has none of that name.
        """
        return self._client.delete_egress_rule(self._sandbox_id, name)

    def explain(
        self,
        url: str | None = None,
        *,
        method: str | None = None,
        host: str | None = None,
        port: int | None = None,
        egress: str | Egress | None = None,
    ) -> Explanation:
        """What would happen to a request or a connection, and why. Nothing is sent.

        Args:
            url: Of a request; else `host` and `port`.
            method: Of the request; GET if not given.
            host: A name or an address.
            port: The port there.
            egress: Asked instead of what is in force.

        Raises:
            ValueError: Neither, or both, of URL and host with port are given.
        """
        question: dict[str, Any]
        if url is not None and host is None and port is None:
            question = {"url": url} if method is None else {"url": url, "method": method}
        elif url is None and method is None and host is not None and port is not None:
            question = {"host": host, "port": port}
        else:
            raise ValueError("give a url, with a method or not, or a host and a port")
        if egress is not None:
            question["egress"] = egress_message(egress)
        return self._client.explain_egress(self._sandbox_id, question)

    def events(
        self,
        *,
        verdict: str | None = None,
        kind: str | None = None,
        host: str | None = None,
        page_size: int = 100,
    ) -> Iterator[EgressEvent]:
        """Go through what was decided, the newest first, fetched page by page.

        Args:
            verdict: Only `allowed`, `denied`, `failed` or `attempt`.
            kind: Only `name`, `connection`, `request` or `packet`.
            host: Only towards this name or address.
            page_size: How many are fetched at once.
        """
        query = events_query(verdict, kind, host)
        cursor: str | None = None
        while True:
            asked = [*query, ("limit", str(page_size))]
            asked += [("cursor", cursor)] if cursor else []
            page = self._client.egress_events(self._sandbox_id, asked)
            yield from page.events
            if not page.next_cursor or page.next_cursor == cursor:
                return
            cursor = page.next_cursor

    def follow(
        self,
        *,
        verdict: str | None = None,
        kind: str | None = None,
        host: str | None = None,
        since: int | None = None,
    ) -> EgressEvents:
        """Be told of what is decided from now on, as an iterator; `with` closes it.

        Args:
            verdict: As for `events`.
            kind: As for `events`.
            host: As for `events`.
            since: Begin with what came behind the event of this id.
        """
        query = events_query(verdict, kind, host)
        stream = EgressEvents(self._client, self._sandbox_id, query, since)
        stream.connect()
        return stream

    def export(self, path: str | os.PathLike[str]) -> int:
        """Write all events that are kept into a file here, a JSON object a line.

        Args:
            path: The file, which is replaced once all is there.

        Returns:
            How many bytes it has.
        """
        target = Path(path)
        partial = target.with_name(f".{target.name}.partial")
        response = self._client.open_egress_events(self._sandbox_id, "application/x-ndjson")
        size = 0
        try:
            with partial.open("wb") as file:
                while piece := response.receive():
                    size += file.write(piece)
            partial.replace(target)
        finally:
            response.close()
            partial.unlink(missing_ok=True)
        return size
