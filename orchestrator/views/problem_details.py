"""Errors as problem documents (RFC 9457) and back, so that a client raises the same error as the engine."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.domain import errors
from orchestrator.views.job_views import LineProblemView
from orchestrator.views.view import Count, View

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONTENT_TYPE: Final = "application/problem+json"
#: The `type` of an input that was read and refused; the document lists its problems.
INPUT_REFUSED: Final = "input-refused"
#: The `type` of a pause, resume or cancel of a job that is in no state for it.
DOES_NOT_APPLY: Final = "does-not-apply"
#: The `type` of what the role of a token does not allow.
ROLE_REFUSED: Final = "role-refused"
#: The `type` of what is not answered because the engine stops.
STOPPING: Final = "stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class _ProblemType:
    error: type[errors.OrchestratorError]
    status: int


#: By `type`. A subclass stands before its base: the first that fits is taken.
_PROBLEM_TYPES: Final = MappingProxyType(
    {
        "input-error": _ProblemType(error=errors.InputError, status=422),
        "bad-cursor": _ProblemType(error=errors.BadCursor, status=400),
        "body-too-large": _ProblemType(error=errors.BodyTooLarge, status=413),
        "body-too-slow": _ProblemType(error=errors.BodyTooSlow, status=408),
        "usage-error": _ProblemType(error=errors.UsageError, status=400),
        "output-not-written": _ProblemType(error=errors.OutputNotWritten, status=500),
        "output-error": _ProblemType(error=errors.OutputError, status=500),
        ROLE_REFUSED: _ProblemType(error=errors.RoleRefused, status=403),
        "needs-person": _ProblemType(error=errors.NeedsPerson, status=409),
        "purged": _ProblemType(error=errors.Purged, status=410),
        "no-such-thing": _ProblemType(error=errors.NoSuchThing, status=404),
        "key-reused": _ProblemType(error=errors.KeyReused, status=409),
        "budget-exceeded": _ProblemType(error=errors.BudgetExceeded, status=409),
        "budget-refused": _ProblemType(error=errors.BudgetRefused, status=409),
        "unknown-price": _ProblemType(error=errors.UnknownPrice, status=422),
        "guard-refused": _ProblemType(error=errors.GuardRefused, status=409),
        DOES_NOT_APPLY: _ProblemType(error=errors.GuardRefused, status=409),
        "server-busy": _ProblemType(error=errors.ServerBusy, status=503),
        "store-full": _ProblemType(error=errors.StoreFull, status=507),
        "store-unreachable": _ProblemType(error=errors.StoreUnreachable, status=503),
        "store-lost": _ProblemType(error=errors.StoreLost, status=503),
        "store-owned": _ProblemType(error=errors.StoreOwned, status=503),
        "store-error": _ProblemType(error=errors.StoreError, status=500),
        "out-of-memory": _ProblemType(error=errors.OutOfMemory, status=503),
        "error": _ProblemType(error=errors.OrchestratorError, status=500),
    }
)


class ProblemView(View, frozen=True, kw_only=True):
    """Why something was refused (RFC 9457). `type` is stable; `exit_code` is what the command line ends with."""

    type: str
    title: str
    detail: str | None = None
    hint: str | None = None
    exit_code: int
    status: int


class RefusedView(View, frozen=True, kw_only=True):
    """An input that was read and refused; the first problems, by line, each cause once. fit: requests without one."""

    type: str = INPUT_REFUSED
    title: str
    detail: str | None
    hint: str | None
    exit_code: int
    problems: list[LineProblemView] | msgspec.UnsetType = msgspec.UNSET
    problem_count: Count | msgspec.UnsetType = msgspec.UNSET
    fit: Count | msgspec.UnsetType = msgspec.UNSET
    status: int


def problem_of(exc: errors.OrchestratorError) -> ProblemView:
    """The problem document of *exc*."""
    slug, kind = next((slug, kind) for slug, kind in _PROBLEM_TYPES.items() if isinstance(exc, kind.error))
    return ProblemView(
        type=slug, title=exc.message, detail=exc.cause, hint=exc.hint, exit_code=exc.exit_code, status=kind.status
    )


def problem_types() -> Iterator[tuple[str, int, type[errors.OrchestratorError]]]:
    """Every `type` with its HTTP status and the error that it stands for."""
    yield from ((slug, kind.status, kind.error) for slug, kind in _PROBLEM_TYPES.items())


def error_of(problem: Mapping[str, Any]) -> errors.OrchestratorError:
    """The error behind *problem*; for an unknown type, the class is chosen by the exit code."""
    kind = _PROBLEM_TYPES.get(str(problem.get("type")))
    error = _by_exit_code(problem.get("exit_code")) if kind is None else kind.error
    title = problem.get("title")
    return error(
        title if isinstance(title, str) else "the engine refused",
        cause=_text_or_none(problem.get("detail")),
        hint=_text_or_none(problem.get("hint")),
    )


def _by_exit_code(exit_code: object) -> type[errors.OrchestratorError]:
    bases = (errors.UsageError, errors.NeedsPerson, errors.NoSuchThing, errors.GuardRefused, errors.StoreError)
    return next((error for error in bases if error.exit_code == exit_code), errors.OrchestratorError)


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None
