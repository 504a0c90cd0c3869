"""What only a program that waits or submits can run into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.domain.errors import GuardRefused, InputError, OrchestratorError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.ports.engine import IngestResult
    from orchestrator.ports.streams import InputProblem


def not_open(way: str = "use it inside `async with`") -> UsageError:
    """The error for an orchestrator that is used before it is opened, or after it was closed."""
    return UsageError("the orchestrator is not open", hint=way)


def used_once() -> UsageError:
    """The error for an orchestrator that is opened a second time."""
    return UsageError("this orchestrator is or was open", hint="make another one")


class JobTimeout(OrchestratorError, TimeoutError):
    """The time to wait is over; the job goes on."""

    exit_code = 7


class InputRefused(InputError):
    """Some requests may not be sent; `problems` has the first things wrong with them, `count` is all."""

    def __init__(self, message: str, problems: Sequence[InputProblem], *, count: int, cause: str, hint: str) -> None:
        super().__init__(message, cause=cause, hint=hint)
        self.problems = tuple(problems)
        self.count = count


class EngineSilent(GuardRefused):
    """The engine behind the socket did not answer."""


class ServerSilent(OrchestratorError):
    """The server did not answer; what it has stored is safe."""

    exit_code = 6


class ServerUnreadable(OrchestratorError):
    """Something answered that this version cannot make sense of."""

    exit_code = 8


class DoesNotApplyError(GuardRefused):
    """The job is in no state for it."""


class RefusedError(OrchestratorError):
    """The input was read and refused."""

    def __init__(self, taken: IngestResult) -> None:
        super().__init__("the input was refused")
        self.taken = taken
