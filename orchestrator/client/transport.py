"""HTTP transports to a daemon, over its unix socket or by its address, and how its answers become values or errors."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from typing_extensions import override

from orchestrator.client import errors
from orchestrator.client.server_address import Server, check_listener
from orchestrator.config.network import client_errors_hidden, client_options
from orchestrator.domain.errors import NeedsPerson, OrchestratorError, UsageError
from orchestrator.ports.engine import IngestResult
from orchestrator.views import problem_details
from orchestrator.views.job_views import LineProblemView

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import httpx2


#: An engine that does not say who it is within this time counts as not answering (blueprint, exit code 5).
CONNECT_TIMEOUT_S: Final = 5.0
COMMAND_TIMEOUT_S: Final = 60.0
#: One look: short, because a look can be repeated, and Ctrl-C waits for the one that is on its way.
_READ_TIMEOUT_S: Final = 20.0
_INGEST_TIMEOUT_S: Final = 900.0
_PREFIX: Final = "/api/v1/"
#: What a daemon answers with, where it does as it was asked.
_OURS: Final = frozenset({"application/json", "application/x-ndjson"})
#: A proxy with nobody behind it, or a daemon that has too much to do: both pass.
_GONE: Final = frozenset({502, 503, 504})
#: How the daemon's framework says that it has no such route.
_NO_ROUTE: Final = frozenset({"not-found", "method-not-allowed"})


class Transport(Protocol):
    """How a daemon is reached, and how its answers are read."""

    @property
    def ingest_timeout_s(self) -> float | None:
        """How long an uploaded body may wait for its answer: the server stores it first. None: for ever."""
        ...

    def client(self) -> httpx2.AsyncClient:
        """An HTTP client for one event loop; paths are relative to the API's prefix."""
        ...

    def unavailable(self, cause: str) -> OrchestratorError:
        """The error for a daemon that does not answer."""
        ...

    def answer(self, response: httpx2.Response) -> dict[str, Any]:
        """The JSON object of *response*, read whole. Raises the error that a problem document describes."""
        ...


@dataclass(frozen=True, slots=True)
class SocketTransport(Transport):
    """The engine that owns a store on this machine.

    What answers there may not even speak HTTP: it then counts as silent.
    """

    path: Path

    @property
    @override
    def ingest_timeout_s(self) -> None:
        """No limit: the process lives, or the socket closes."""

    @override
    def client(self) -> httpx2.AsyncClient:
        import httpx2

        transport = httpx2.AsyncHTTPTransport(uds=str(self.path), verify=False)
        timeout = httpx2.Timeout(COMMAND_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        return httpx2.AsyncClient(transport=transport, base_url=f"http://engine{_PREFIX}", timeout=timeout)

    @override
    def unavailable(self, cause: str) -> OrchestratorError:
        return errors.EngineSilent(
            "the engine that owns the store does not answer", cause=cause, hint="look at that process, or stop it"
        )

    @override
    def answer(self, response: httpx2.Response) -> dict[str, Any]:
        answer = _decoded(response.content)
        if answer is None:
            raise self.unavailable(f"its answer is not JSON (status {response.status_code})")
        if response.is_error:
            raise error_from_problem(answer)
        return answer


@dataclass(frozen=True, slots=True)
class ServerTransport(Transport):
    """A daemon by its address.

    Redirects are not followed: the token is for the address that was given, and no other.
    """

    server: Server

    @property
    @override
    def ingest_timeout_s(self) -> float:
        return _INGEST_TIMEOUT_S

    @override
    def client(self) -> httpx2.AsyncClient:
        import httpx2

        own = self.server.socket
        transport = None if own is None else httpx2.AsyncHTTPTransport(uds=str(own), verify=False)
        timeout = httpx2.Timeout(COMMAND_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        with client_errors_hidden():
            hooks = {"request": [self._check_listener_async]}
            return httpx2.AsyncClient(transport=transport, timeout=timeout, event_hooks=hooks, **self._client_options())

    def blocking_client(self) -> httpx2.Client:
        """A client for reads in worker threads."""
        import httpx2

        own = self.server.socket
        transport = None if own is None else httpx2.HTTPTransport(uds=str(own), verify=False)
        timeout = httpx2.Timeout(_READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        with client_errors_hidden():
            hooks = {"request": [self._check_listener]}
            return httpx2.Client(transport=transport, timeout=timeout, event_hooks=hooks, **self._client_options())

    def _check_listener(self, _request: httpx2.Request) -> None:
        """Raise UsageError where the token would go to another user's program."""
        check_listener(self.server, os.environ)

    async def _check_listener_async(self, request: httpx2.Request) -> None:
        self._check_listener(request)

    @override
    def unavailable(self, cause: str) -> OrchestratorError:
        hint = "check the address, and that a daemon (orchestrator serve) runs there; what it has stored is safe"
        if "CERTIFICATE_VERIFY_FAILED" in cause:
            hint = "SSL_CERT_FILE names the certificates to trust; without a trusted one no token is sent"
        return errors.ServerSilent(f"the server at {self.server.url} does not answer", cause=cause, hint=hint)

    @override
    def answer(self, response: httpx2.Response) -> dict[str, Any]:
        self.check(response)
        answer = _decoded(response.content)
        if answer is None:
            raise self.unreadable(f"status {response.status_code}, not JSON")
        return answer

    def check(self, response: httpx2.Response) -> None:
        """Raise what `answer` raises, without reading it. Never quotes a foreign answer: it may be anybody's HTML."""
        status = response.status_code
        kind = response.headers.get("content-type", "no content type").partition(";")[0][:80]
        if response.is_success and kind in _OURS:
            return
        if status in {401, 403}:
            told = _decoded(response.content) or {}
            is_known = told.get("type") == problem_details.ROLE_REFUSED
            raise error_from_problem(told) if is_known else self._token_refused(status)
        if response.is_redirect:
            hint = "give the address where it really is; a redirect is not followed, for the token's sake"
            raise UsageError(f"{self.server.url} sends us somewhere else", cause=f"status {status}", hint=hint)
        if status in _GONE:
            raise self.unavailable(f"status {status}")
        problem = _decoded(response.content)
        if problem is None or "exit_code" not in problem:
            raise self.unreadable(f"status {status}, {kind}")
        if problem.get("type") in _NO_ROUTE:
            raise self._not_understood(
                errors.RouteUnknown, f"it does not know {response.request.method} {response.request.url.path}"
            )
        raise error_from_problem(problem)

    def unreadable(self, cause: str) -> errors.ServerUnreadable:
        """The error for an answer that this version does not understand."""
        return self._not_understood(errors.ServerUnreadable, cause)

    def _not_understood(self, kind: type[errors.ServerUnreadable], cause: str) -> errors.ServerUnreadable:
        return kind(
            f"what answers at {self.server.url} is not a daemon of this version",
            cause=cause,
            hint="use the same version of orchestrator here and there, and check the address",
        )

    def _token_refused(self, status: int) -> NeedsPerson:
        origin = self.server.token_from
        what = "rejected the token"
        if self.server.token is None:
            what, cause = "asks for a token", f"no token was sent ({origin})"
            hint = "give its token: --token-file FILE; a daemon makes its own in DATABASE.token, beside its store"
        else:
            cause = f"the token came from {origin} (status {status})"
            hint = "it must be the one in the server's [server] token_file, or one of its [[tokens]]"
        return NeedsPerson(f"the server at {self.server.url} {what}", cause=cause, hint=hint)

    def _client_options(self) -> dict[str, Any]:
        """Address, headers and proxy. A proxy from the environment is not used for this machine. Raises UsageError."""
        url = self.server.url
        return {
            "base_url": f"{url}{_PREFIX}",
            "headers": self.server.headers,
            **client_options(url, os.environ),
            "follow_redirects": False,
        }


def error_from_problem(answer: Mapping[str, Any]) -> OrchestratorError:
    """The exception that a problem document describes."""
    match answer.get("type"):
        case problem_details.INPUT_REFUSED:
            listed = tuple(msgspec.convert(each, LineProblemView).to_problem() for each in answer["problems"])
            count: int = answer["problem_count"]
            fit: int = answer.get("fit", 0)  # a daemon of another version does not say it
            return errors.RefusedError(
                IngestResult(job=None, attached=False, problems=listed, problem_count=count, refused=0, fit=fit)
            )
        case problem_details.DOES_NOT_APPLY:
            return errors.DoesNotApplyError(str(answer.get("title")))
        case _:
            return problem_details.error_of(answer)


def cause_of(exc: Exception) -> str:
    """The text of an exception of the HTTP library, with its class."""
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__


def _decoded(content: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
