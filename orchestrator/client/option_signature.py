"""The signature of a method whose options are a TypedDict, with each of them: what `help` and a notebook show."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, TypeVar, get_type_hints

F = TypeVar("F", bound=Callable[..., Any])


class _Left:
    """Stands for an option that was not given."""

    def __repr__(self) -> str:
        return "…"


_LEFT: Final = _Left()


def lists_options(of: type) -> Callable[[F], F]:
    """Give a method that ends with `**how: Unpack[of]` a signature that has the keys of *of* in its place."""

    def with_signature(function: F) -> F:
        own = inspect.signature(function)
        named = [each for each in own.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        options = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=_LEFT, annotation=kind)
            for key, kind in get_type_hints(of).items()
        ]
        listed: Any = function
        listed.written_signature = own  # for the reference, where the options have a place of their own
        listed.__signature__ = own.replace(parameters=[*named, *options])
        return function

    return with_signature
