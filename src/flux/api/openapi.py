"""The OpenAPI 3.1 document, made from the operations and the structs they read and write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from flux import __version__
from flux.api import examples
from flux.api.constraints import constrain
from flux.api.operations import Operation, Parameter, Reply
from flux.api.problems import KINDS, PROBLEM_JSON, ProblemBody
from flux.api.schemas import REF, is_struct, schemas_of

_ALWAYS = (500, 503)
_PATHS = {
    "id": ("The id, a UUIDv7.", examples.ID),
    "queue": ("The queue's name. Slashes in it may stand as they are or as %2F.", "email"),
    "name": ("The schedule's name.", "nightly-report"),
}

_MEANINGS = {
    400: "The body is not JSON.",
    403: "A page of another origin asked, and the browser had not asked first whether it may.",
    404: "There is no such thing.",
    409: "It contradicts what is stored.",
    413: "The body, or a payload in it, is too large.",
    415: "The body is not application/json, or is compressed.",
    422: "A field or parameter is wrong; `errors` names each. Nothing was stored.",
    429: "A queue is at its maximum depth. Nothing was stored.",
    500: "Something nobody foresaw; `instance` finds it in the server's log.",
    503: "The store is away. Nothing was half-done.",
}

ABOUT = """Flux is a job queue. Errors are RFC 9457 problems; unknown fields and parameters are refused.

Times are RFC 3339 in UTC. Durations are strings like `"30s"`, `"1h30m"`, `"250ms"`, or a number of seconds.
"""


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole document."""
    shown = [operation for operation in operations if not operation.hidden]
    types: list[Any] = [ProblemBody]
    for operation in shown:
        types += [reply.type for reply in operation.replies.values() if is_struct(reply.type)]
        if operation.body is not None and is_struct(operation.body.type):
            types.append(operation.body.type)
    schemas = schemas_of(types)
    constrain(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for operation in shown:
        path = re.sub(r"\{(\w+)\+\}", r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation)
    groups = dict.fromkeys(operation.group for operation in shown)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Flux",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": group} for group in groups],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    parameters = [_path_parameter(name) for name in re.findall(r"\{(\w+)\+?\}", operation.path)]
    parameters += [_parameter(parameter) for parameter in operation.query]
    found: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.group],
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {str(status): _reply(reply) for status, reply in operation.replies.items()},
    }
    if operation.about:
        found["description"] = operation.about
    body = operation.body
    if body is not None:
        content = {"schema": _schema(body.type), "example": body.example}
        found["requestBody"] = {"required": body.required, "content": {"application/json": content}}
        if body.about:
            found["requestBody"]["description"] = body.about
    problems = set(operation.problems) | set(_ALWAYS)
    if operation.query:
        problems.add(422)
    for status in sorted(problems - set(operation.replies)):
        found["responses"][str(status)] = _problem(status)
    return found


def _path_parameter(name: str) -> dict[str, Any]:
    about, example = _PATHS[name]
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": about,
        "schema": {"type": "string"},
        "example": example,
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": parameter.name,
        "in": "header" if parameter.header else "query",
        "required": False,
        "description": parameter.about,
        "schema": parameter.schema,
        "example": parameter.example,
    }
    if parameter.repeatable or parameter.name.endswith(".*"):
        # An object in exploded form style is one parameter for each of its keys: payload.<path>=value.
        found |= {"style": "form", "explode": True}
    return found


def _reply(reply: Reply) -> dict[str, Any]:
    found: dict[str, Any] = {"description": reply.about}
    if reply.type is not None:
        content = {"schema": _schema(reply.type), "example": reply.example}
        found["content"] = {reply.media_type: content}
    if reply.headers:
        found["headers"] = {
            name: {"description": about, "schema": {"type": "string"}}
            for name, about in reply.headers.items()
        }
    return found


def _problem(status: int) -> dict[str, Any]:
    kind, title = KINDS[status]
    example: dict[str, Any] = {
        "type": f"urn:flux:problem:{kind}",
        "title": title,
        "status": status,
        "detail": _MEANINGS[status],
    }
    if status == 422:
        wrong = {"field": "priority", "message": "must be between 1 and 10; 10 runs first"}
        example |= {"detail": f"{wrong['field']}: {wrong['message']}", "errors": [wrong]}
    found: dict[str, Any] = {
        "description": _MEANINGS[status],
        "content": {PROBLEM_JSON.decode(): {"schema": _schema(ProblemBody), "example": example}},
    }
    if status in (429, 503):
        seconds = {"description": "Seconds to wait before the next try.", "schema": {"type": "integer"}}
        found["headers"] = {"Retry-After": seconds}
    return found


def _schema(kind: Any) -> dict[str, Any]:
    if is_struct(kind):
        return {"$ref": REF.format(name=kind.__name__)}
    return msgspec.json.schema(kind)
