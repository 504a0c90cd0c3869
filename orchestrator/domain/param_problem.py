"""What is wrong with the params of a request."""

from __future__ import annotations

from typing import NamedTuple


class ParamProblem(NamedTuple):
    """One reason why a request cannot go into a batch."""

    field: str  #: "params", "params.max_tokens", "params.messages.3.role"
    message: str
    remedy: str
    is_alike: bool = False  #: of one cause for many requests: it is told once, with how many they are
