"""A store whose database does not answer for a while, before a step or just after it was stored."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.domain.errors import StoreError, StoreUnreachable
from orchestrator.engine.context import Context


@dataclass(slots=True)
class Line:
    """The way to the database. failing: how many calls are still to fail, of all or *only* of one kind.

    heard: the step reaches the database, and only its answer is lost. error: what is raised.
    """

    failing: int = 0
    heard: bool = False
    error: type[StoreError] = StoreUnreachable
    only: str | None = None
    failed: list[str] = field(default_factory=list)

    def is_cut(self, call: str) -> bool:
        """Whether this call fails."""
        if self.failing <= 0 or self.only not in (None, call):
            return False
        self.failing -= 1
        self.failed.append(call)
        return True


class Severed:
    """A facet, or the store, behind a line."""

    def __init__(self, inner: Any, line: Line, name: str) -> None:
        self._inner = inner
        self._line = line
        self._name = name

    def __getattr__(self, name: str) -> Any:
        thing = getattr(self._inner, name)
        call = f"{self._name}.{name}"
        if inspect.iscoroutinefunction(thing):
            return self._over_the_line(thing, call)
        return Severed(thing, self._line, call) if hasattr(thing, "_db") else thing

    def _over_the_line(self, step: Callable[..., Any], call: str) -> Callable[..., Any]:
        async def run(*args: Any, **kwargs: Any) -> Any:
            is_cut = self._line.is_cut(call)
            if is_cut and not self._line.heard:
                raise self._line.error("the database does not answer")
            answer = await step(*args, **kwargs)
            if is_cut:
                raise self._line.error("the database does not answer", cause="what became of the step is not known")
            return answer

        return run


def behind(line: Line) -> Callable[[Context], Context]:
    """Put the store of a world behind *line*."""
    return lambda context: replace(context, store=Severed(context.store, line, "store"))
