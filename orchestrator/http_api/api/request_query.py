"""What a query says of the requests that are wanted: the same for lists, for lines of an input, and for results."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Final

from fastapi import Depends, Query

from orchestrator.domain import ids, queries, states
from orchestrator.domain.result_choice import HELP, RequestChoice

_MOST_WORDS: Final = 20


async def request_filter(
    batch: Annotated[int | None, Query(ge=1, le=ids.MAX_INTEGER, description="Only requests of this batch.")] = None,
    error_type: Annotated[str | None, Query(max_length=1000, description="Only failures of this type.")] = None,
    error_message: Annotated[
        str | None, Query(max_length=10_000, description="Only failures with this message.")
    ] = None,
    error_cause: Annotated[
        str | None, Query(max_length=1000, description="Only failures of this `cause`, as `errors` gives it.")
    ] = None,
    custom_id_prefix: Annotated[
        str | None, Query(max_length=1000, description="Only requests whose `custom_id` begins with it.")
    ] = None,
) -> queries.RequestFilter:
    """The filter in the query."""
    return queries.RequestFilter(
        batch=None if batch is None else ids.BatchId(batch),
        error_type=error_type,
        error_message=error_message,
        cause=error_cause,
        id_prefix=custom_id_prefix or None,
    )


async def states_and_filter(
    within: Annotated[queries.RequestFilter, Depends(request_filter)],
    state: Annotated[
        list[states.RequestState] | None,
        Query(max_length=len(states.RequestState), description="Only requests in one of these states."),
    ] = None,
    stop_reason: Annotated[
        list[str] | None,
        Query(max_length=_MOST_WORDS, description='Only answers that ended by one of these, such as "refusal".'),
    ] = None,
) -> RequestChoice:
    """The choice in the query, but for its words."""
    return RequestChoice(states=frozenset(state or ()), stops=frozenset(stop_reason or ()), within=within)


async def request_choice(
    choice: Annotated[RequestChoice, Depends(states_and_filter)],
    only: Annotated[
        list[str] | None,
        Query(max_length=_MOST_WORDS, description=f"Only requests of which one of these is true: {HELP}"),
    ] = None,
) -> RequestChoice:
    """The choice in the query."""
    return replace(choice, only=frozenset(only or ()))
