# Generated from _async/egress_calls.py by tools/generate_sync.py: change it there.
"""The native API's calls about what sandboxes may reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from .._egress import Egress, egress_message
from .._egress_answers import (
    EgressEventPage,
    EgressPolicy,
    EgressPreset,
    Explanation,
    PolicyReply,
    PresetList,
)
from .._egress_rules import EgressRule, Position
from .calls import Calls, api_path
from .transport import Response

# Every edge has the policy when a change is answered.
_CHANGE_TIMEOUT = 60.0


class EgressCalls(Calls):
    """One method per call."""

    def get_egress(self, sandbox: str) -> EgressPolicy:
        """GET /v1/sandboxes/{id or name}/egress."""
        return (self._call("GET", _path(sandbox), PolicyReply)).read()

    def set_egress(self, sandbox: str, egress: str | Egress) -> EgressPolicy:
        """PUT /v1/sandboxes/{id or name}/egress."""
        reply = self._call(
            "PUT",
            _path(sandbox),
            PolicyReply,
            json=egress_message(egress),
            timeout=_CHANGE_TIMEOUT,
            safe=True,
        )
        return reply.read()

    def add_egress_rule(
        self, sandbox: str, rule: EgressRule, position: Position | None = None
    ) -> EgressPolicy:
        """POST /v1/sandboxes/{id or name}/egress/rules."""
        reply = self._call(
            "POST",
            f"{_path(sandbox)}/rules",
            PolicyReply,
            json={"rule": rule.to_dict()} | ({} if position is None else {"position": position}),
            timeout=_CHANGE_TIMEOUT,
            # A rule of the same name is replaced; one without a name would be there twice.
            safe=rule.name is not None,
        )
        return reply.read()

    def delete_egress_rule(self, sandbox: str, name: str) -> EgressPolicy:
        """DELETE /v1/sandboxes/{id or name}/egress/rules/{name}."""
        where = f"{_path(sandbox)}/rules/{quote(name, safe='')}"
        return (self._call("DELETE", where, PolicyReply, timeout=_CHANGE_TIMEOUT)).read()

    def explain_egress(self, sandbox: str, question: Mapping[str, Any]) -> Explanation:
        """POST /v1/sandboxes/{id or name}/egress/explain: `{url, method?}` or `{host, port}`,
        `egress?`."""
        where = f"{_path(sandbox)}/explain"
        return self._call("POST", where, Explanation, json=question, safe=True)

    def egress_events(self, sandbox: str, query: Iterable[tuple[str, str]] = ()) -> EgressEventPage:
        """GET /v1/sandboxes/{id or name}/egress/events: one page."""
        return self._call("GET", f"{_path(sandbox)}/events", EgressEventPage, query=query)

    def open_egress_events(
        self,
        sandbox: str,
        media_type: str,
        query: Iterable[tuple[str, str]] = (),
        silence: float = 60.0,
    ) -> Response:
        """GET /v1/sandboxes/{id or name}/egress/events: a stream.

        Args:
            sandbox: Id or name.
            media_type: `application/x-ndjson` for all there are, `text/event-stream` for those to
                come.
            query: `verdict`, `kind`, `host`; `since`.
            silence: Seconds that it may send nothing.
        """
        request = self._request(
            "GET",
            f"{_path(sandbox)}/events",
            query=query,
            headers={"Accept": media_type},
            timeout=silence,
        )
        return self._open(request, "GET egress events")

    def list_presets(self) -> Sequence[EgressPreset]:
        """GET /v1/egress/presets."""
        found = self._call("GET", "/v1/egress/presets", PresetList)
        return [
            EgressPreset(
                preset.name, preset.description, tuple(map(EgressRule.from_dict, preset.rules))
            )
            for preset in found.presets
        ]


def _path(sandbox: str) -> str:
    return f"{api_path('sandboxes', sandbox)}/egress"
