"""The OpenAPI 3.1 document, made from the same table that is served."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

import wardian.server
from wardian.server.api.operations import Operation

_SCHEMAS = "#/components/schemas/{name}"
_SERVICE = "/v1/sandboxes/{{sandbox}}/{name}"
_PATH_PARAMETER = re.compile(r"{(\w+)}")


def build(
    operations: Sequence[Operation], error: type[Struct], services: Mapping[str, str]
) -> bytes:
    """The document, as JSON.

    Args:
        operations: all calls.
        error: what every error looks like.
        services: what a sandbox's agent answers itself, with a summary.
    """
    _, schemas = msgspec.json.schema_components(_models(operations, error), ref_template=_SCHEMAS)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(
            operation, schemas, error
        )
    paths |= {_SERVICE.format(name=name): _point_to_agent(services[name]) for name in services}
    queries = {operation.query.__name__ for operation in operations if operation.query}
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Wardian", "version": wardian.server.version()},
        "security": [{"bearer": []}, {"apiKey": []}],
        "paths": paths,
        "components": {
            "schemas": {name: schemas[name] for name in sorted(schemas) if name not in queries},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _point_to_agent(summary: str) -> dict[str, Any]:
    return {
        "summary": summary,
        "description": "Answered, with all paths below, by the sandbox's agent, so its calls are"
        " not listed here: see docs/node-protocols.md, 'Services of the agent'. Needs a key with"
        " the scope sandboxes (read for GET), or the query parameter ticket.",
        "parameters": [
            {"name": "sandbox", "in": "path", "required": True, "schema": {"type": "string"}}
        ],
    }


def _models(operations: Sequence[Operation], error: type[Struct]) -> list[Any]:
    found: dict[Any, None] = {error: None}
    for operation in operations:
        for model in (operation.query, operation.body, *operation.answers.values()):
            if model is not None:
                found[model] = None
        found |= dict.fromkeys((*operation.events.values(), *operation.streams.values()))
    return list(found)


def _reference(model: type[Any]) -> dict[str, str]:
    return {"$ref": _SCHEMAS.format(name=model.__name__)}


def _json(model: type[Any]) -> dict[str, Any]:
    return {"application/json": {"schema": _reference(model)}}


def _describe(operation: Operation, schemas: dict[str, Any], error: type[Struct]) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    parameters = _parameters(operation, schemas)
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {"content": _json(operation.body)}
    elif operation.uploads:
        binary = {"schema": {"type": "string", "format": "binary"}}
        described["requestBody"] = {
            "required": True,
            "content": dict.fromkeys(operation.uploads, binary),
        }
    responses: dict[str, Any] = {}
    for status, model in operation.answers.items():
        answer: dict[str, Any] = {"description": "Done."}
        if model is not None:
            answer["content"] = _json(model)
        responses[str(status)] = answer
    if operation.events:
        stream = _event_stream(operation.events)
        # Which of its forms comes is the caller's choice.
        stream["content"] |= responses.get("200", {}).get("content", {})
        responses["200"] = stream
    for media_type, model in operation.streams.items():
        responses["200"]["content"][media_type] = {
            "schema": {"type": "string"},
            "x-lines": _reference(model),
        }
    responses["default"] = {"description": "It failed.", "content": _json(error)}
    described["responses"] = responses
    if operation.scopes:
        described["x-scopes"] = list(operation.scopes)
    else:
        described["security"] = []
    return described


def _event_stream(events: dict[str, type[Any]]) -> dict[str, Any]:
    return {
        "description": "Events: " + ", ".join(events) + ".",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "x-events": {name: _reference(model) for name, model in events.items()},
            }
        },
    }


def _parameters(operation: Operation, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PATH_PARAMETER.findall(operation.path)
    ]
    for name, description in operation.headers.items():
        found.append(
            {
                "name": name,
                "in": "header",
                "description": description,
                "schema": {"type": "string"},
            }
        )
    if operation.query is not None:
        schema = schemas[operation.query.__name__]
        for name, of in schema["properties"].items():
            required = name in schema.get("required", ())
            found.append({"name": name, "in": "query", "required": required, "schema": of})
    return found


if __name__ == "__main__":
    from wardian.server.api import native

    sys.stdout.buffer.write(native.document())
