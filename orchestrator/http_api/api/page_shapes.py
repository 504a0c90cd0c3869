"""The shapes of `pages`; see `shapes`."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.states import RequestState
from orchestrator.http_api.api.shapes import LineProblem, Shape


class ResultRow(Shape):
    """One settled request. number: its place in the input; result: the API's own object."""

    number: int
    custom_id: str
    state: RequestState
    result: dict[str, Any]


class ResultPage(Shape):
    """Settled requests in input order; `next` is the number to go on `above`."""

    results: list[ResultRow]
    next: int | None


class LineLeftOut(LineProblem):
    """One thing that is wrong with a line that was left out. raw: the line as it was handed in, in base64."""

    raw: str


class LeftOut(Shape):
    """Lines that were left out, in file order; `next` is the line to go on `after`."""

    refused: list[LineLeftOut]
    next: int | None
