"""What a call that failed means, how long it may take, and when it is tried again.

Translates exceptions of the SDK and of httpx2 into ours: the one place that knows both.

They become values inside the `except` and are raised outside of it: so no traceback of ours leads into frames whose
locals hold the headers, and with them the key. The texts of foreign exceptions are used only where they cannot hold a
header: h11 and httpx2 print a header that they refuse.

There is one retry policy: at most three tries within five seconds, and never for a create. The SDK's own timeouts count
single socket operations, not the whole call.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from orchestrator.domain import account, errors
from orchestrator.provider import parsing

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
TRIES: Final = 3
WITHIN_S: Final = 5.0
_FIRST_PAUSE_S: Final = 0.5
BUSY: Final = frozenset({429, 529})
_SNIPPET_MAX: Final = 200
#: Clear noes whose words count in any shape: gateways flatten the API's error object.
_ACCOUNT_STATUSES: Final = frozenset({400, 401, 402, 403})


@dataclass(frozen=True, slots=True, kw_only=True)
class NoResponse:
    """No response came, and why.

    connected: False only if it is certain that nothing was sent. credentials: there were none to ask with.
    """

    why: str
    connected: bool = True
    credentials: bool = False


class BadResponse(Exception):
    """The body of a response is larger than any we accept, or cannot be decompressed."""


class RetryableError(Exception):
    """A read that may be tried again; `after_s` is the API's own figure, or None."""

    def __init__(self, error: errors.ProviderError, after_s: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.after_s = after_s


async def response_to(call: Awaitable[httpx2.Response]) -> httpx2.Response | NoResponse:
    """The response to *call* whatever its status, or why there is none. Lets only cancellation through."""
    import anthropic
    import httpx2

    try:
        return await call
    except anthropic.APIStatusError as exc:
        return exc.response
    except (anthropic.AnthropicError, httpx2.HTTPError, httpx2.InvalidURL, BadResponse) as exc:
        return no_response(exc)


def no_response(exc: BaseException) -> NoResponse:
    """Why no response came, in words that cannot hold a header."""
    import anthropic
    import httpx2
    from anthropic.lib.credentials import WorkloadIdentityError

    causes = tuple(_chain(exc))
    if isinstance(exc, anthropic.CredentialsError | WorkloadIdentityError):
        status = getattr(exc, "status_code", None)
        return NoResponse(why=str(exc), connected=False, credentials=status is None or status < 500)
    before_anything = (
        httpx2.ConnectError,
        httpx2.ConnectTimeout,
        httpx2.PoolTimeout,
        httpx2.ProxyError,
        httpx2.UnsupportedProtocol,
    )
    return NoResponse(why=_why(causes), connected=not any(isinstance(cause, before_anything) for cause in causes))


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """*exc* and its causes and contexts, outermost first."""
    seen: set[int] = set()
    current: BaseException | None = exc
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ if current.__cause__ is not None else current.__context__


def _why(causes: tuple[BaseException, ...]) -> str:
    import httpx2

    for cause in causes:
        if isinstance(cause, BadResponse):
            return str(cause)
    name = next((type(c).__name__ for c in causes if isinstance(c, httpx2.HTTPError)), type(causes[0]).__name__)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"{name}: {cause.verify_message}"
    for cause in causes:
        if isinstance(cause, OSError) and cause.strerror:
            return f"{name}: {cause.strerror}"
        if isinstance(cause, httpx2.RemoteProtocolError):
            return f"{name}: {str(cause)[:_SNIPPET_MAX]}"
    return name


def refusal(response: httpx2.Response, hide: Callable[[str], str], *, repeatable: frozenset[int]) -> Exception:
    """What a response other than 200 means for a read, a cancel or a delete: a RetryableError or a ProviderError.

    hide: takes the key out of a text. repeatable: the statuses under 500 that may be tried again. A redirect or another
    2xx is no clear answer: a captive portal gives them, and it passes.
    """
    status, request_id = response.status_code, response.headers.get("request-id")
    trouble = parsing.read_error(response.content, response.headers)
    why = f"{status}: {hide(trouble.message)}"
    code = account.blocked_by(status, trouble.error_code, trouble.message)
    if code is not None and (trouble.api_error or status in _ACCOUNT_STATUSES):
        return errors.ProviderRefused(why, status=status, blocked=code, request_id=request_id)
    after_s = parsing.read_retry_after(response.headers)
    busy = errors.ProviderBusy(why, retry_after_s=after_s, request_id=request_id)
    if status in BUSY:
        return busy
    if status >= 500 or status in repeatable:
        return RetryableError(
            busy if after_s is not None else errors.ProviderUnreachable(why, request_id=request_id), after_s
        )
    if status == HTTPStatus.NOT_FOUND:
        return errors.ProviderNotFound(why, request_id=request_id)
    if status < 400 or status == HTTPStatus.REQUEST_TIMEOUT:
        return errors.ProviderUnreachable(why, request_id=request_id)
    return errors.ProviderRefused(why, status=status, request_id=request_id)


def error_without_response(silent: NoResponse) -> Exception:
    """What no response means for a read, a cancel or a delete."""
    if silent.credentials:
        return errors.ProviderRefused(silent.why, status=401, blocked=account.CREDENTIALS)
    return RetryableError(errors.ProviderUnreachable(silent.why))


async def with_retries(call: Callable[[], Awaitable[T]], *, sleep: Sleep) -> T:
    """Await *call*, and again while it raises RetryableError and there is time; then raise the error inside.

    Pauses: the API's own figure, else 0.5 s and 1 s. A pause that does not fit into the time left is not begun. The
    time is the event loop's, and *sleep* is injected, so a simulated clock drives both.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + WITHIN_S

    def too_late(state: RetryCallState) -> bool:
        return loop.time() + state.upcoming_sleep > ends_at

    async def pause(seconds: float) -> None:
        await sleep(seconds)

    retrying = AsyncRetrying(
        sleep=pause,
        stop=lambda state: state.attempt_number >= TRIES or too_late(state),
        wait=_pause_s,
        retry=retry_if_exception_type(RetryableError),
        reraise=True,
    )
    try:
        return await retrying(call)
    except RetryableError as exc:
        error = exc.error
    raise error


def _pause_s(state: RetryCallState) -> float:
    outcome = state.outcome.exception() if state.outcome is not None else None
    if isinstance(outcome, RetryableError) and outcome.after_s is not None:
        return outcome.after_s
    return _FIRST_PAUSE_S * 2.0 ** (state.attempt_number - 1)


class Deadline:
    """Ends one call after *seconds* without progress; `restart` reports progress. The time is the event loop's."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)

    def restart(self) -> None:
        """Count from now again. Only while the call runs."""
        self._timeout.reschedule(asyncio.get_running_loop().time() + self._seconds)

    async def response_to(self, call: Awaitable[httpx2.Response]) -> httpx2.Response | NoResponse:
        """The answer to *call* whatever its status, or why there is none. Lets only cancellation through."""
        try:
            async with self._timeout:
                self.restart()
                return await response_to(call)
        except TimeoutError:
            return NoResponse(why=f"no answer within {self._seconds:g} s")
