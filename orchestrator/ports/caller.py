"""Who the work under way is done for: set where a request comes in, and read where something is written or refused.

It belongs to a task and to those that it begins. A stage of the engine has none, nor has a command on the daemon's own
machine that showed no token: those may do everything. What takes long asks again: a token may be taken away meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from orchestrator.domain.access import AccessRole, Bearer
from orchestrator.domain.errors import RoleRefused


@dataclass(frozen=True, slots=True)
class _Caller:
    """bearer: who asked when the work began. look: who it is now; raises RoleRefused if they are let in no more."""

    bearer: Bearer | None = None
    look: Callable[[], Bearer | None] | None = None

    def now(self) -> Bearer | None:
        return self.bearer if self.look is None else self.look()


_CALLER: Final[ContextVar[_Caller]] = ContextVar("orchestrator.caller", default=_Caller())  # noqa: B039 - frozen


def current() -> Bearer | None:
    """Who asks; None: nobody who had to show a token."""
    return _CALLER.get().bearer


def current_name() -> str | None:
    """The name of who asks, as it is stored beside what is done."""
    found = current()
    return None if found is None else found.name


def check_still_let_in() -> None:
    """Raise RoleRefused once what takes long may not go on: logged out, no such token any more, or of another role."""
    asking = _CALLER.get()
    if asking.now() != asking.bearer:
        raise RoleRefused("the role of this token is another one now", hint="ask again")


def is_still_let_in() -> bool:
    """False once what takes long may not go on."""
    try:
        check_still_let_in()
    except RoleRefused:
        return False
    return True


def may_steer(submitted_by: str | None) -> bool:
    """Whether who asks may change the job that *submitted_by* handed in."""
    found = current()
    return found is None or found.may_steer(submitted_by)


def check_steering(job: str, submitted_by: str | None) -> None:
    """Raise RoleRefused unless who asks may change *job* (its public id), by the tokens of now."""
    found = _CALLER.get().now()
    if found is None or found.may_steer(submitted_by):
        return
    of = "nobody with a token" if submitted_by is None else submitted_by
    raise RoleRefused(
        f"job {job} was submitted by {of}: this needs the role admin",
        cause=f"you are {found.name}, and may steer the jobs that you submitted",
        hint="ask for a token of the role admin, or ask who has one",
    )


def has_role(needed: AccessRole) -> bool:
    """Whether who asks has the role *needed*."""
    found = current()
    return found is None or found.role.covers(needed)


def check_role(needed: AccessRole) -> None:
    """Raise RoleRefused unless who asks has the role *needed*, by the tokens of now."""
    found = _CALLER.get().now()
    if found is None or found.role.covers(needed):
        return
    raise RoleRefused(
        f"this needs the role {needed}",
        cause=f"you are {found.name}, with the role {found.role}",
        hint=f"ask with a token of the role {needed}: whoever runs the daemon makes one",
    )


@contextmanager
def acting_for(caller: Bearer | None, look: Callable[[], Bearer | None] | None = None) -> Iterator[None]:
    """What is done meanwhile, in this task, is done for *caller*.

    look: who that is by the tokens of then; raises RoleRefused if they are not let in any more.
    """
    token = _CALLER.set(_Caller(caller, look))
    try:
        yield
    finally:
        _CALLER.reset(token)
