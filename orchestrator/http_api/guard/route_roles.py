"""Which role each route needs: the one table of it, and the gate that every route gets.

`OWN` are those that steer a job: who submitted it may, and an admin. Which job it is, only the engine knows: its
commands ask (`ports.caller`). A route that is not in the table needs an admin, and fails a test.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from starlette.routing import BaseRoute, Route

from orchestrator.domain.access import AccessRole
from orchestrator.domain.errors import RoleRefused
from orchestrator.ports import caller

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_READ: Final = (
    "/",
    "/jobs",
    "/jobs/{ref}",
    "/jobs/{ref}/requests/{number}",
    "/jobs/{ref}/requests/{number}/inside",
    "/batches",
    "/events",
    "/health",
    "/fleet",
    "/live",
    "/chart.json",
    "/static/{name:path}",
    "/metrics",
    "/openapi.json",
    "/version",
    "/livez",
    "/readyz",
    "/api/v1/version",
    "/api/v1/livez",
    "/api/v1/readyz",
    "/api/v1/health",
    "/api/v1/jobs",
    "/api/v1/jobs/{ref}",
    "/api/v1/jobs/{ref}/cost",
    "/api/v1/jobs/{ref}/costs",
    "/api/v1/jobs/{ref}/errors",
    "/api/v1/jobs/{ref}/requests",
    "/api/v1/jobs/{ref}/requests.jsonl",
    "/api/v1/jobs/{ref}/requests/{custom_id:path}",
    "/api/v1/jobs/{ref}/refused",
    "/api/v1/jobs/{ref}/batches",
    "/api/v1/batches",
    "/api/v1/batches/{ref}",
    "/api/v1/remote-batches",
    "/api/v1/jobs/{ref}/results",
    "/api/v1/jobs/{ref}/results.csv",
    "/api/v1/jobs/{ref}/results.tsv",
    "/api/v1/jobs/{ref}/results.txt",
    "/api/v1/jobs/{ref}/results.parquet",
    "/api/v1/jobs/{ref}/results/page",
    "/api/v1/jobs/{ref}/results/columns",
    "/api/v1/events",
    "/api/v1/events/stream",
    "/api/v1/jobs/{ref}/events",
    "/api/v1/jobs/{ref}/events/stream",
    "/api/v1/stats",
    "/api/v1/totals",
    "/api/v1/limits",
    "/api/v1/fleet",
    "/api/v1/doctor",
    "/api/v1/spend",
    "/api/v1/budgets",
    "/v1/messages/batches",
    "/v1/messages/batches/{batch_id}",
    "/v1/messages/batches/{batch_id}/results",
)
_SUBMIT: Final = (
    "GET/new",
    "POST/new",
    "POST/new/preview",
    "GET/confirm",
    "POST/act",
    "POST/api/v1/jobs",
    "POST/api/v1/check",
    "POST/api/v1/estimate",
    "POST/v1/messages/batches",
)
_OWN: Final = (
    "POST/api/v1/jobs/{ref}/requests",
    "POST/api/v1/jobs/{ref}/close",
    "POST/api/v1/jobs/{ref}/pause",
    "POST/api/v1/jobs/{ref}/resume",
    "POST/api/v1/jobs/{ref}/cancel",
    "POST/api/v1/jobs/{ref}/retry",
    "PATCH/api/v1/jobs/{ref}",
    "POST/v1/messages/batches/{batch_id}/cancel",
)
#: The address of an endpoint may be a secret itself, and settings name files.
_ADMIN: Final = (
    "GET/settings",
    "GET/webhooks",
    "GET/api/v1/settings",
    "GET/api/v1/webhooks",
    "GET/api/v1/webhooks/deliveries",
    "POST/api/v1/jobs/{ref}/reprice",
    "DELETE/api/v1/jobs/{ref}",
    "POST/api/v1/prune",
    "PUT/api/v1/budgets/{scope}",
    "POST/api/v1/batches/{remote_id}/adopt",
    "POST/api/v1/batches/{remote_id}/disown",
    "POST/api/v1/webhooks/test",
    "POST/api/v1/webhooks/deliveries/{number}/replay",
    "DELETE/v1/messages/batches/{batch_id}",
)
#: Method and path, without a space between them.
NEEDED: Final[Mapping[str, AccessRole]] = MappingProxyType(
    {
        **{f"GET{path}": AccessRole.READ for path in _READ},
        "POST/api/v1/login": AccessRole.READ,  # a link that logs in who asks for it
        **dict.fromkeys((*_SUBMIT, *_OWN), AccessRole.SUBMIT),
        **dict.fromkeys(_ADMIN, AccessRole.ADMIN),
    }
)
OWN: Final = frozenset(_OWN)


def needed_role(method: str, path: str) -> AccessRole:
    """The role that a route needs. path: as the route has it, with its parameters."""
    return NEEDED.get(method + path, AccessRole.ADMIN)


def role_words(method: str, path: str) -> str:
    """The same, for people."""
    of_own = ", of a job submitted with the same token; else admin" if method + path in OWN else ""
    return f"{needed_role(method, path)}{of_own}"


class RoleGate:
    """Lets to a route who has the role that it needs. Raises RoleRefused, and nothing of a body is kept."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app = app
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        try:
            caller.check_role(needed_role(scope["method"], self._path))
        except RoleRefused:
            await _read_to_the_end(receive)
            raise
        await self._app(scope, receive, send)


async def _read_to_the_end(receive: Receive) -> None:
    """A sender that finds its connection closed cannot read why. The guard's limits of a body hold."""
    while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
        pass


def gated(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[BaseRoute]:
    """*routes*, each behind its gate. prefix: of where they are mounted."""
    for route in routes:
        if isinstance(route, Route) and not isinstance(route.app, RoleGate):  # routes of the API are shared by all apps
            route.app = RoleGate(route.app, prefix + route.path)
        yield route
