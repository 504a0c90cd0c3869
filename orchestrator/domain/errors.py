"""Every error that this project raises on purpose. A class exists only where a caller acts differently on it.

OrchestratorError                     exit
├── UsageError                         2   the command line or a setting is wrong
│   ├── InputError                     2   the input file is wrong; nothing was stored or sent
│   ├── BodyTooLarge                   2   what came over HTTP is more than is taken
│   ├── BodyTooSlow                    2   what comes over HTTP does not come on
│   └── BadCursor                      2   a page was asked for by a place that no list gave: begin anew
├── OutputError                        2   the results cannot be written where they were asked for
│   └── OutputNotWritten               9   the work is done and stored, and then its output could not be written
├── NeedsPerson                        3   credentials, permission, billing, spend limit
│   └── RoleRefused                    3   the role of the token that was shown does not allow it
├── NoSuchThing                        4   no such job, batch or request; no price for a model
│   └── Purged                         4   the bodies of its job were deleted
├── GuardRefused                       5   a guard said no (an engine that owns the store, a confirmation)
│   ├── KeyReused                      5   the key of a hand-over stands for other content
│   ├── BudgetExceeded                 5   a cap, or a cost that is not known under one, stopped the job
│   ├── BudgetRefused                  5   under a cap nothing is taken in whose cost has no bound
│   └── UnknownPrice                   5   under a cap nothing is taken in whose price is not known
├── ServerBusy                         6   every place for such a request is taken: asking again helps
├── StoreError                         8   the database file: locked, newer, corrupt, full
│   ├── StoreFull                      8   no space; the engine waits and goes on by itself
│   ├── StoreUnreachable               8   the database does not answer; the engine waits and goes on by itself
│   ├── StoreLost                      8   the file was removed or replaced under the engine, or commits are gone
│   └── StoreOwned                     5   another process owns the store
├── OutOfMemory                       71   the system gives this process no more memory, or no more threads
└── ProviderError                      -   an answer of the API, or the lack of one
    ├── ProviderUnreachable            -   no clear answer came; asking again is harmless for a read
    │   └── ProviderUnreadable         -   an answer came, and what it says cannot be read
    ├── ProviderBusy                   -   the API asks us to wait
    ├── ProviderRefused                -   the API said no; repeating the call does not help
    └── ProviderNotFound               -   404; not proof of absence
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import ClassVar, Final


class OrchestratorError(Exception):
    """Something a person should read: what happened, why, and what to do.

    message: one sentence. cause: why, perhaps several lines; None if the message says it. hint: what to do. `str()`
    has all three. exit_code: what a command ends with.
    """

    exit_code: ClassVar[int] = 8

    def __init__(self, message: str, *, cause: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.hint = hint

    def __str__(self) -> str:
        """The message, the cause and the hint, each on lines of its own: all that a traceback shows."""
        hint = None if self.hint is None else f"hint: {self.hint}"
        return "\n".join(part for part in (self.message, self.cause, hint) if part is not None)


class UsageError(OrchestratorError):
    """The command line or the configuration is wrong; nothing was stored or sent."""

    exit_code = 2


class InputError(UsageError):
    """The input file is wrong; nothing was stored or sent."""


class BodyTooLarge(UsageError):
    """The body of a request over HTTP is larger than the server takes."""


class BodyTooSlow(UsageError):
    """The body of a request over HTTP does not come on."""


class BadCursor(UsageError):
    """A place in a list that no list gave."""


class OutputError(OrchestratorError):
    """The results cannot be written where they were asked for."""

    exit_code = 2


class OutputNotWritten(OutputError):
    """The work is done and stored, but its output could not be written: asking for it again is all that is left."""

    exit_code = 9


class NeedsPerson(OrchestratorError):
    """Only a person can help: credentials, permission, billing, spend limit."""

    exit_code = 3


class RoleRefused(NeedsPerson):
    """The role of the token that was shown does not allow this, or it was taken away meanwhile; nothing was changed."""


class NoSuchThing(OrchestratorError):
    """No such job, batch or request, or no price for a model."""

    exit_code = 4


class Purged(NoSuchThing):
    """The job was purged: its params and results are gone."""


class GuardRefused(OrchestratorError):
    """A guard said no; nothing was changed."""

    exit_code = 5


class KeyReused(GuardRefused):
    """The key of this hand-over was used for another one."""


class BudgetExceeded(GuardRefused):
    """A cap stopped the job, or a cost that is not known under one.

    What was answered until then is kept: `job.results(settled_only=True)` has it. Submitting the same requests again
    with a larger `max_cost` raises the job's cap, and it goes on.
    """


class BudgetRefused(GuardRefused):
    """A cap is in force, and what a request may cost has no bound; nothing was stored or sent."""


class UnknownPrice(GuardRefused):
    """A cap is in force, and nobody knows the price of a model; nothing was stored or sent."""


class ServerBusy(OrchestratorError):
    """The server has no place or no memory for this request now; the same request will be taken a little later."""

    exit_code = 6


class StoreError(OrchestratorError):
    """The database file itself: locked by another program, newer schema, corrupt, I/O error."""

    exit_code = 8


class StoreFull(StoreError):
    """No space left for the store; nothing new may be sent until there is."""


class StoreUnreachable(StoreError):
    """The database server does not answer, or was lost in the middle of a step: a little later the same may work.

    Whether a step whose COMMIT was not answered was stored is unknown: read the row.
    """


class StoreLost(StoreError):
    """The database file was removed or replaced, or a server lost commits: nothing may be stored or sent any more."""

    @classmethod
    def without(cls, event: int, at: str) -> StoreLost:
        """A database that lacks *event* of *at*, which was seen in it."""
        return cls(
            "the database has lost commits",
            cause=f"event {event} of {at} was stored, and is not there any more: a standby that had not everything was "
            "promoted, or a backup was restored",
            hint="start again: what was sent meanwhile is looked for at the API first",
        )


class StoreOwned(StoreError):
    """Another process owns the store: a guard, not trouble with the file."""

    exit_code = 5


class OutOfMemory(OrchestratorError):
    """The system gives this process no more memory, or no more threads; program and data are sound."""

    exit_code = 71  # `sysexits.h`: EX_OSERR

    def __init__(self, message: str = "out of memory", *, cause: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, cause=cause, hint=_MORE_MEMORY if hint is None else hint)


_MORE_MEMORY: Final = (
    "give this process more (a container's limit, ulimit -v), or end other programs; what is stored is safe"
)
#: What to do about a full disk.
MAKE_SPACE: Final = "free some space; a daemon goes on by itself, else run the command again"
#: How others say it, in exceptions that have no class of their own for it.
_NO_MEMORY: Final = ("can't start new thread", "failed to map segment", "cannot allocate memory", "not enough memory")


def stdout_not_written(exc: OSError | ValueError, *, hint: str) -> OutputNotWritten:
    """The error for standard output that does not take what is written; a ValueError means that it was closed."""
    cause = exc.strerror if isinstance(exc, OSError) and exc.errno not in {None, errno.EBADF} else "it is closed"
    return OutputNotWritten("standard output cannot be written", cause=cause, hint=hint)


def shortage(exc: BaseException) -> OutOfMemory | StoreFull | None:
    """*exc* for a person, if it, or what it came from, is a lack of memory, of threads, or of space on a disk."""
    for one in _with_origins(exc):
        if isinstance(one, OutOfMemory | StoreFull):
            return one
        if _is_memory(one):
            return OutOfMemory(cause=str(one) or None)
        if is_no_space(one):
            return StoreFull("the disk is full", cause=str(one), hint=MAKE_SPACE)
    return None


def first_of(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group of tasks, however deep: callers act on the error, whatever the number of tasks."""
    error: BaseException = failed
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def is_no_space(exc: BaseException) -> bool:
    """True for the system's word that a disk is full, or that a quota is used up."""
    return isinstance(exc, OSError) and exc.errno in {errno.ENOSPC, errno.EDQUOT}


def _with_origins(exc: BaseException) -> Iterator[BaseException]:
    """*exc*, what is inside of it if it is a group, and what each was raised from, or while handling."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [exc]
    while todo:
        one = todo.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [*(one.exceptions if isinstance(one, BaseExceptionGroup) else ()), one.__cause__, one.__context__]


def _is_memory(exc: BaseException) -> bool:
    if isinstance(exc, MemoryError) or (isinstance(exc, OSError) and exc.errno == errno.ENOMEM):
        return True
    return any(words in str(exc).lower() for words in _NO_MEMORY)


class ProviderError(Exception):
    """Base of what a call to the API can end in, other than an answer."""

    retry_after_s: float | None = None  #: for how long the API asks us to wait, where it says so (ProviderBusy)

    def __init__(self, message: str, *, request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.request_id = request_id


class ProviderUnreachable(ProviderError):
    """No clear answer came (connection, timeout, 5xx, unreadable body)."""


class ProviderUnreadable(ProviderUnreachable):
    """An answer came, and what it says cannot be read."""


class ProviderBusy(ProviderError):
    """The API asks us to wait; `retry_after_s` is its own figure in seconds, or None."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, request_id: str | None = None) -> None:
        super().__init__(message, request_id=request_id)
        self.retry_after_s = retry_after_s


class ProviderRefused(ProviderError):
    """The API said no, and repeating the call does not help.

    `blocked` names the account trouble when only a person can help, else None.
    """

    def __init__(self, message: str, *, status: int, blocked: str | None = None, request_id: str | None = None) -> None:
        super().__init__(message, request_id=request_id)
        self.status = status
        self.blocked = blocked


class ProviderNotFound(ProviderError):
    """404. It may pass (it was seen on batches that exist), so it is never taken for proof of absence."""
