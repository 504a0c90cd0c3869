"""Who the work under way is done for: set where a request comes in, and read where something is written or refused.

It belongs to a task and to those that it begins. A stage of the engine has none, nor has a command on the daemon's own
machine that showed no token: those may do everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from orchestrator.domain.access import AccessRole, Bearer
from orchestrator.domain.errors import RoleRefused

_CALLER: Final[ContextVar[Bearer | None]] = ContextVar("orchestrator.caller", default=None)


def current() -> Bearer | None:
    """Who asks; None: nobody who had to show a token."""
    return _CALLER.get()


def current_name() -> str | None:
    """The name of who asks, as it is stored beside what is done."""
    found = _CALLER.get()
    return None if found is None else found.name


def may_steer(submitted_by: str | None) -> bool:
    """Whether who asks may change the job that *submitted_by* handed in."""
    found = _CALLER.get()
    return found is None or found.may_steer(submitted_by)


def check_steering(job: str, submitted_by: str | None) -> None:
    """Raise RoleRefused unless who asks may change *job* (its public id)."""
    if may_steer(submitted_by):
        return
    of = "nobody with a token" if submitted_by is None else submitted_by
    raise RoleRefused(
        f"job {job} was submitted by {of}: this needs the role admin",
        cause=f"you are {current_name()}, and may steer the jobs that you submitted",
        hint="ask for a token of the role admin, or ask who has one",
    )


def has_role(needed: AccessRole) -> bool:
    """Whether who asks has the role *needed*."""
    found = _CALLER.get()
    return found is None or found.role.covers(needed)


def check_role(needed: AccessRole) -> None:
    """Raise RoleRefused unless who asks has the role *needed*."""
    found = _CALLER.get()
    if found is None or found.role.covers(needed):
        return
    raise RoleRefused(
        f"this needs the role {needed}",
        cause=f"you are {found.name}, with the role {found.role}",
        hint=f"ask with a token of the role {needed}: whoever runs the daemon makes one",
    )


@contextmanager
def acting_for(caller: Bearer | None) -> Iterator[None]:
    """What is done meanwhile, in this task, is done for *caller*."""
    token = _CALLER.set(caller)
    try:
        yield
    finally:
        _CALLER.reset(token)
