"""Errors that only a program can meet which waits, submits, or talks to an engine elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.domain.errors import GuardRefused, InputError, OrchestratorError, UsageError
from orchestrator.ports.alike_problems import next_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.ports.engine import IngestResult
    from orchestrator.ports.estimates import EstimateResult
    from orchestrator.ports.streams import InputProblem
_SKIP: Final = "pass skip_bad=True"


def not_open(way: str = "use it inside `async with`") -> UsageError:
    """The error for an orchestrator that is used before it is opened or after it was closed."""
    return UsageError("the orchestrator is not open", hint=way)


def used_once() -> UsageError:
    """The error for an orchestrator that is opened a second time."""
    return UsageError("this orchestrator is or was open", hint="make another one")


class JobTimeout(OrchestratorError, TimeoutError):
    """The timeout of `wait` is over; the job goes on."""

    exit_code = 7


class InputRefused(InputError):
    """Some requests may not be sent. problems: the first of them, each cause once, with its lines; count: all."""

    def __init__(self, message: str, problems: Sequence[InputProblem], *, count: int, cause: str, hint: str) -> None:
        super().__init__(message, cause=cause, hint=hint)
        self.problems = tuple(problems)
        self.count = count


class EngineSilent(GuardRefused):
    """The engine behind the socket does not answer."""


class ServerSilent(OrchestratorError):
    """The server does not answer; what it has stored is safe."""

    exit_code = 6


class ServerUnreadable(OrchestratorError):
    """The answer is not one that this version understands."""

    exit_code = 8


class RouteUnknown(ServerUnreadable):
    """The daemon is of a version that does not have this route."""


class DoesNotApplyError(GuardRefused):
    """The state of the job does not allow it."""


class RefusedError(OrchestratorError):
    """The input was read and refused."""

    def __init__(self, taken: IngestResult) -> None:
        super().__init__("the input was refused")
        self.taken = taken


def refusal(name: str, taken: IngestResult | EstimateResult, *, hint: str | None = None) -> InputRefused:
    """The error for an input that was refused; *name* stands before ":line". hint: None: by its problems."""
    from orchestrator.inputs import problem_lines

    told = "\n".join(problem_lines(name, taken.problems, total=taken.problem_count))
    count = taken.problem_count
    hint = f"nothing was stored; {next_step(taken.problems, taken.fit, _SKIP)}" if hint is None else hint
    what = "1 problem" if count == 1 else f"{count:,} problems"
    return InputRefused(f"{name} has {what}", taken.problems, count=count, cause=told, hint=hint)
