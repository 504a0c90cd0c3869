"""Ports whose process can die at any call: for crash tests that go through every step of a life.

Every call of a port costs two sparks of the fuse, one before it and one after: so a life ends just before a step
touched the world, or just after it did and before anybody knew.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.engine.context import Context


class Killed(BaseException):
    """The process is dead. Not an Exception: nothing may handle it."""


@dataclass(slots=True)
class Fuse:
    """How many sparks are left; `steps` names the calls that were made."""

    left: int
    steps: list[str] = field(default_factory=list)

    def burn(self, step: str) -> None:
        """Take a spark, or die."""
        if self.left <= 0:
            raise Killed(step)
        self.left -= 1
        self.steps.append(step)


class Mortal:
    """A port, a facet of one, or anything with async methods, on a fuse."""

    def __init__(self, inner: Any, fuse: Fuse, name: str) -> None:
        self._inner = inner
        self._fuse = fuse
        self._name = name

    def __getattr__(self, name: str) -> Any:
        thing = getattr(self._inner, name)
        step = f"{self._name}.{name}"
        if inspect.iscoroutinefunction(thing):
            return self._deadly(thing, step)
        if not callable(thing) and hasattr(thing, "_db"):
            return Mortal(thing, self._fuse, step)
        return thing

    def _deadly(self, call: Callable[..., Any], step: str) -> Callable[..., Any]:
        async def run(*args: Any, **kwargs: Any) -> Any:
            self._fuse.burn(f"before {step}")
            answer = await call(*args, **kwargs)
            self._fuse.burn(f"after {step}")
            return answer

        return run


def on_a_fuse(fuse: Fuse) -> Callable[[Context], Context]:
    """Put the store and the API of a world on *fuse*."""
    return lambda context: replace(
        context,
        store=Mortal(context.store, fuse, "store"),
        provider=Mortal(context.provider, fuse, "api"),
    )
