"""All routes of the REST API, and their OpenAPI 3.1 document, built at the first request for it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from inspect import cleandoc
from typing import Any, Final

import msgspec
from fastapi import Request, Response
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute, Route

from orchestrator.domain import api_answers, model
from orchestrator.http_api.api import (
    batch_routes,
    event_routes,
    job_routes,
    request_lists,
    request_routes,
    service_routes,
)
from orchestrator.http_api.api.route_docs import PROBLEM, error_responses, public_name
from orchestrator.http_api.api.routing import PREFIX, router
from orchestrator.http_api.guard import route_roles
from orchestrator.version import VERSION
from orchestrator.views.view import View

api = router("service", prefix="")

#: Answers of the listener on TCP: status, name, why.
_GUARDED: Final = (
    ("401", "Unauthorized", "The token is missing or wrong."),
    ("403", "Forbidden", "The role of the token does not allow it, or a page of another site asks."),
    ("408", "TooSlow", "The body does not come on."),
    ("421", "WrongHost", "The server does not answer to that name."),
    ("431", "TooManyHeaders", "There are too many headers."),
)
_JOB: Final = f"{PREFIX}/jobs/{{ref}}"
#: Path, method and status of an answer; prefix of the paths it links to; where their parameters are in the answer.
_LINKS: Final[tuple[tuple[str, str, str, str, dict[str, str]], ...]] = (
    (f"{PREFIX}/jobs", "get", "200", _JOB, {"ref": "$response.body#/jobs/0/id"}),
    (f"{PREFIX}/jobs", "post", "200", _JOB, {"ref": "$response.body#/job/id"}),
    (f"{PREFIX}/jobs", "post", "201", _JOB, {"ref": "$response.body#/job/id"}),
    (
        f"{_JOB}/requests",
        "get",
        "200",
        f"{_JOB}/requests/",
        {"ref": "$request.path.ref", "custom_id": "$response.body#/requests/0/custom_id"},
    ),
    (f"{PREFIX}/batches", "get", "200", f"{PREFIX}/batches/{{ref}}", {"ref": "$response.body#/batches/0/batch"}),
    (
        f"{PREFIX}/remote-batches",
        "get",
        "200",
        f"{PREFIX}/batches/{{remote_id}}",
        {"remote_id": "$response.body#/batches/0/id"},
    ),
)
#: The daemon's token, in any of three places; the dashboard's own pages show a cookie instead.
_TOKENS: Final = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic", "description": "As the password of any user."},
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "As the SDK sends it."},
}
_KIND: Final = re.compile(r":[a-z]+\}")
TITLE: Final = "orchestrator"
_ABOUT: Final = (
    "A durable orchestrator for the Message Batches API. Lists are pages: `next` of one is the `cursor` of the next. "
    "Times are RFC 3339 in UTC. Every refusal is a problem document (RFC 9457) whose `type` is stable and whose `hint` "
    "says what to do. Beside it: `/metrics` for Prometheus, `/v1/messages/batches` for the official SDK, `/` for you."
)


_MODULES: Final = (
    job_routes,
    request_lists,
    request_routes,
    batch_routes,
    event_routes,
    service_routes,
)


def routes() -> list[BaseRoute]:
    """Every route of the REST API, as a flat list."""
    routers = [each for module in _MODULES for each in module.ROUTERS]
    return [route for each in (*routers, api) for route in each.routes]


@api.get("/openapi.json", responses=error_responses(), response_model=dict[str, Any])
async def openapi(request: Request) -> Response:
    """This document."""
    app = request.app
    if not hasattr(app.state, "described"):
        app.state.described = await asyncio.to_thread(lambda: msgspec.json.encode(described(app.routes)))
    return Response(app.state.described, media_type="application/json")


def described(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """The document of *routes*; routes without a description (those of other faces) are left out."""
    document = get_openapi(title=TITLE, version=VERSION, openapi_version="3.1.0", description=_ABOUT, routes=routes)
    roles = {_bare(route.path): route.path for route in routes if isinstance(route, Route)}
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            _mend(operation["responses"])
            _guard(operation, open_to_all=path == "/livez")
            _name_role(operation, method.upper(), path, roles)
    _link(document["paths"])
    document["components"]["responses"] = {name: {"description": why, "content": PROBLEM} for _, name, why in _GUARDED}
    document["components"]["securitySchemes"] = _TOKENS
    for framework in ("HTTPValidationError", "ValidationError"):
        schemas.pop(framework, None)
    document["components"]["schemas"] = {**view_schemas(), **schemas}
    return document


def view_schemas() -> dict[str, Any]:
    """The schemas of all views and their parts, by public name. Answers have all of the keys, and no others."""
    views = list(_subclasses(View))
    _, found = msgspec.json.schema_components(views, ref_template="#/components/schemas/{name}")
    for schema in found.values():
        if "enum" in schema:
            schema["type"] = "string"
            continue
        for name, field in schema["properties"].items():
            if "default" in field:  # a key that may be missing where it is read is there in every answer
                del field["default"]
                schema["required"].append(name)
        schema["additionalProperties"] = False
        schema["description"] = cleandoc(schema["description"])
    for counts in (model.RequestCounts, api_answers.ApiCounts):
        for field in found[counts.__name__]["properties"].values():
            field["minimum"] = 0
    return {public_name(name): _publicly(schema) for name, schema in found.items()}


def _subclasses(kind: type[View]) -> Iterator[type[View]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def _publicly(schema: Any) -> Any:  # noqa: ANN401 - a part of a schema: an object, a list, a text or a number
    """*schema* with public names in its references and titles."""
    if isinstance(schema, list):
        return [_publicly(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _publicly(value) for key, value in schema.items()}
    for key in ("$ref", "title"):
        if isinstance(found.get(key), str):
            before, slash, name = found[key].rpartition("/")
            found[key] = f"{before}{slash}{public_name(name)}"
    return found


def _mend(responses: dict[str, Any]) -> None:
    """Remove the framework's 422 for an invalid parameter: ours is 400."""
    wrong = responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if wrong.get("$ref", "").endswith("/HTTPValidationError"):
        del responses["422"]


def _guard(operation: dict[str, Any], *, open_to_all: bool) -> None:
    """Add the answers of the guard, which stands before every route on TCP, and the ways to send a token."""
    for status, name, _ in _GUARDED:
        operation["responses"].setdefault(status, {"$ref": f"#/components/responses/{name}"})
    operation["security"] = [{}] if open_to_all else [{}, {"bearer": []}, {"basic": []}, {"key": []}]


def _name_role(operation: dict[str, Any], method: str, path: str, written: dict[str, str]) -> None:
    """Say which role it needs. written: by their paths as they are described, the paths of the routes."""
    at = written[path]
    operation["x-role"] = route_roles.needed_role(method, at).value
    operation["description"] = f"{operation['description']}\n\nRole: {route_roles.role_words(method, at)}."


def _bare(path: str) -> str:
    """*path* without the kinds of its parameters, as FastAPI describes it."""
    return _KIND.sub("}", path)


def _link(paths: dict[str, Any]) -> None:
    """Add links from answers to the operations that their values lead to."""
    for path, method, status, below, given in _LINKS:
        links = paths[path][method]["responses"][status].setdefault("links", {})
        for target in (target for target in paths if target.startswith(below)):
            wanted = {name: place for name, place in given.items() if f"{{{name}}}" in target}
            if len(wanted) == target.count("{"):
                names = [operation["operationId"] for operation in paths[target].values()]
                links.update({name: {"operationId": name, "parameters": wanted} for name in names})
