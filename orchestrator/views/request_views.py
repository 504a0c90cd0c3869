"""The contents of a job as JSON: requests, results, failures by cause, and lines that were left out."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any, Self

import msgspec

from orchestrator.domain.ids import BatchId
from orchestrator.domain.json_text import mask_lone_surrogates
from orchestrator.domain.model import JobSnapshot, JobStatus, RequestCounts
from orchestrator.domain.queries import Attempt, ErrorGroup, RequestDetails, RequestRow, ResultRow
from orchestrator.domain.result_lines import result_of
from orchestrator.domain.row_columns import ColumnKind, RowColumn
from orchestrator.domain.states import RequestState
from orchestrator.ports.streams import InputProblem
from orchestrator.views.cost_views import Money, money_text, parse_money
from orchestrator.views.job_views import LineProblemView
from orchestrator.views.view import (
    Count,
    RawObject,
    RawOrNull,
    Timestamp,
    View,
    bytes_if_set,
    bytes_or_none,
    parse_time,
    raw_or_null,
    time_text,
)


class RequestRowView(View, frozen=True, kw_only=True):
    """One request in a list. `number` is its place in the job, `line` the one in its source.

    cost: of all its answers, once it is settled; null as the tokens where it is not known.
    """

    number: int
    custom_id: str
    line: int
    state: RequestState
    attempts: Count
    error_type: str | None
    error_message: str | None
    stop_reason: str | None
    batch: int | None
    params_bytes: Count
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: Money | None = None

    @classmethod
    def of(cls, row: RequestRow) -> Self:
        """The view of *row*."""
        return cls(
            number=row.number,
            custom_id=row.custom_id,
            line=row.line,
            state=row.state,
            attempts=row.attempts,
            error_type=row.error_type,
            error_message=row.error_message,
            stop_reason=row.stop_reason,
            batch=row.batch_id,
            params_bytes=row.params_bytes,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cost=money_text(row.cost_nanos),
        )

    def to_row(self) -> RequestRow:
        """Convert back to a `RequestRow`."""
        known = {name: value for name, value in self.fields().items() if name not in ("batch", "cost")}
        batch = None if self.batch is None else BatchId(self.batch)
        return RequestRow(**known, batch_id=batch, cost_nanos=parse_money(self.cost))


class RequestsView(View, frozen=True, kw_only=True):
    """A page of requests."""

    requests: list[RequestRowView]
    next: str | None


class AttemptView(View, frozen=True, kw_only=True):
    """An attempt that did not succeed, and why. kind: of its result, as the API said it; outcome: what that meant."""

    batch: int
    kind: str
    error_type: str | None
    error_message: str | None
    api_request_id: str | None
    at: Timestamp
    outcome: str = ""
    cost: Money | None = None

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        """The view of *attempt*."""
        return cls(
            batch=attempt.batch_id,
            kind=attempt.kind,
            error_type=attempt.error_type,
            error_message=attempt.error_message,
            api_request_id=attempt.api_request_id,
            at=time_text(attempt.at),
            outcome=attempt.outcome,
            cost=money_text(attempt.cost_nanos),
        )

    def to_attempt(self) -> Attempt:
        """Convert back to an `Attempt`."""
        return Attempt(
            batch_id=BatchId(self.batch),
            kind=self.kind,
            error_type=self.error_type,
            error_message=self.error_message,
            api_request_id=self.api_request_id,
            at=parse_time(self.at),
            outcome=self.outcome,
            cost_nanos=parse_money(self.cost),
        )


class UsageView(View, frozen=True, kw_only=True):
    """Tokens, as the API counted them; null: not known. Those of the cache are not among the input's."""

    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_5m_tokens: int | None
    cache_write_1h_tokens: int | None


class RequestView(View, frozen=True, kw_only=True):
    """One request. `params` are as they are sent, `result` and `row` as they came, all of them null once purged.

    original_params: as they were handed in; not there: they are sent so. row: of a table, what the request was made of;
    null as well if it was handed in without. reused_from: the custom_id of the identical request that is sent for it
    (`dedupe`); null: it is sent itself.
    """

    job: str
    number: int
    previous: int | None
    following: int | None
    custom_id: str
    line: int
    state: RequestState
    attempts: Count
    error_type: str | None
    error_message: str | None
    api_request_id: str | None
    stop_reason: str | None
    usage: UsageView
    cost: Money | None = None
    reused_from: str | None = None
    batch: int | None
    params: RawOrNull
    original_params: RawOrNull | msgspec.UnsetType = msgspec.UNSET
    result: RawOrNull
    row: RawOrNull | msgspec.UnsetType = msgspec.UNSET
    trips: list[AttemptView]

    @classmethod
    def of(cls, job: JobSnapshot, request: RequestDetails, around: tuple[int | None, int | None]) -> Self:
        """The view of *request* of *job*. around: the numbers of its neighbours."""
        return cls(
            job=job.public_id,
            number=request.number,
            previous=around[0],
            following=around[1],
            custom_id=request.custom_id,
            line=request.line,
            state=request.state,
            attempts=request.attempts,
            error_type=request.error_type,
            error_message=request.error_message,
            api_request_id=request.api_request_id,
            stop_reason=request.stop_reason,
            usage=UsageView(**{name: getattr(request, name) for name in UsageView.__struct_fields__}),
            cost=money_text(request.cost_nanos),
            reused_from=request.reused_from,
            batch=request.batch_id,
            params=raw_or_null(request.params),
            original_params=(
                msgspec.UNSET if request.original_params is None else raw_or_null(request.original_params)
            ),
            result=raw_or_null(request.result),
            row=raw_or_null(request.row),
            trips=[AttemptView.of(attempt) for attempt in request.failed_attempts],
        )

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """Decode *content*; params and result stay byte for byte, even with half a surrogate pair in them."""
        try:
            return msgspec.json.decode(content, type=cls)
        except msgspec.DecodeError:  # JSON allows such halves, decoders refuse them
            masked = mask_lone_surrogates(content)
            view = msgspec.json.decode(masked, type=cls)
            result, _ = _unmasked(content, masked, bytes(view.result), 0)
            return msgspec.structs.replace(view, result=result)

    def to_details(self) -> RequestDetails:
        """Convert back to a `RequestDetails`."""
        usage: dict[str, Any] = self.usage.fields()
        return RequestDetails(
            number=self.number,
            custom_id=self.custom_id,
            line=self.line,
            state=self.state,
            attempts=self.attempts,
            error_type=self.error_type,
            error_message=self.error_message,
            api_request_id=self.api_request_id,
            stop_reason=self.stop_reason,
            batch_id=None if self.batch is None else BatchId(self.batch),
            params=bytes_or_none(self.params),
            original_params=bytes_if_set(self.original_params),
            result=bytes_or_none(self.result),
            row=bytes_if_set(self.row),
            failed_attempts=tuple(attempt.to_attempt() for attempt in self.trips),
            cost_nanos=parse_money(self.cost),
            reused_from=self.reused_from,
            **usage,
        )


class ResultRowView(View, frozen=True, kw_only=True):
    """One settled request. number: its place in the input; result: the API's own object; cost: null if not known.

    row: what it was made of, or null; there only if it was asked for. reused_from: the custom_id of the identical
    request whose answer it is (`dedupe`); not there: it is its own.
    """

    number: int
    custom_id: str
    state: RequestState
    cost: Money | None = None
    reused_from: str | msgspec.UnsetType = msgspec.UNSET
    result: RawObject
    row: RawOrNull | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def of(cls, row: ResultRow, *, with_row: bool = False) -> Self:
        """The view of *row*; a request that was never sent gets a result in the API's form."""
        return cls(
            number=row.number,
            custom_id=row.custom_id,
            state=row.state,
            cost=money_text(row.cost_nanos),
            reused_from=msgspec.UNSET if row.reused_from is None else row.reused_from,
            result=msgspec.Raw(result_of(row)),
            row=raw_or_null(row.row or None) if with_row else msgspec.UNSET,
        )

    def to_row(self) -> ResultRow:
        """Convert back to a `ResultRow`."""
        row, cost = bytes_if_set(self.row), parse_money(self.cost)
        reused_from = None if self.reused_from is msgspec.UNSET else self.reused_from
        made_of = b"" if row is None else row
        return ResultRow(
            self.number, self.custom_id, self.state, bytes_or_none(self.result), cost, made_of, reused_from
        )


class RowColumnView(View, frozen=True, kw_only=True):
    """A column of the rows that a job was made of. kind: of all of its values but null; "text" for several kinds."""

    name: str
    kind: ColumnKind


class RowColumnsView(View, frozen=True, kw_only=True):
    """The columns of a job's rows, in the order of the first row that has them; none for a job without rows."""

    columns: list[RowColumnView]

    @classmethod
    def of(cls, columns: Iterable[RowColumn]) -> Self:
        """The view of *columns*."""
        return cls(columns=[RowColumnView(name=column.name, kind=column.kind) for column in columns])

    def to_columns(self) -> tuple[RowColumn, ...]:
        """Convert back to `RowColumn`s."""
        return tuple(RowColumn(column.name, column.kind) for column in self.columns)


class ResultPageView(View, frozen=True, kw_only=True):
    """Settled requests in input order; `next` is the number to go on `above`."""

    results: list[ResultRowView]
    next: int | None

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """Decode *content*; each result stays byte for byte as the API gave it."""
        try:
            return msgspec.json.decode(content, type=cls)
        except msgspec.DecodeError:  # half a surrogate pair in an answer
            masked = mask_lone_surrogates(content)
            page, rows, place = msgspec.json.decode(masked, type=cls), [], 0
            for row in page.results:
                result, place = _unmasked(content, masked, bytes(row.result), place)
                place += 0 if row.row is msgspec.UNSET else len(bytes(row.row))  # a row may quote the next result
                rows.append(msgspec.structs.replace(row, result=result))
            return msgspec.structs.replace(page, results=rows)


class LineLeftOutView(LineProblemView, frozen=True, kw_only=True):
    """One thing that is wrong with a line that was left out. raw: the line as it was handed in, in base64."""

    raw: str

    @classmethod
    def with_line(cls, problem: InputProblem) -> Self:
        """The view of *problem* with the text of the line."""
        return cls(**LineProblemView.of(problem).fields(), raw=b64encode(problem.raw).decode("ascii"))

    def to_left_out(self) -> InputProblem:
        """Convert back to an `InputProblem`."""
        return self.to_problem(b64decode(self.raw, validate=True))


class LeftOutView(View, frozen=True, kw_only=True):
    """Lines that were left out, in file order; `next` is the line to go on `after`."""

    refused: list[LineLeftOutView]
    next: int | None


class ExampleView(View, frozen=True, kw_only=True):
    """A request that failed for this reason."""

    custom_id: str
    line: int


class ErrorGroupView(View, frozen=True, kw_only=True):
    """Failures of one cause: their messages but for numbers, ids and URLs; `message` is that of the first of them."""

    type: str
    cause: str
    message: str
    count: Count
    examples: list[ExampleView]

    @classmethod
    def of(cls, group: ErrorGroup) -> Self:
        """The view of *group*."""
        return cls(
            type=group.error_type,
            cause=group.cause,
            message=group.error_message,
            count=group.count,
            examples=[ExampleView(custom_id=custom_id, line=line) for custom_id, line in group.examples],
        )

    def to_group(self) -> ErrorGroup:
        """Convert back to an `ErrorGroup`."""
        return ErrorGroup(
            error_type=self.type,
            cause=self.cause,
            error_message=self.message,
            count=self.count,
            examples=tuple((each.custom_id, each.line) for each in self.examples),
        )


class ErrorsView(View, frozen=True, kw_only=True):
    """What failed in a job, by cause."""

    job: str
    requests: RequestCounts
    groups: list[ErrorGroupView]
    source: str
    sandbox: bool

    @classmethod
    def of(cls, status: JobStatus, groups: list[ErrorGroup]) -> Self:
        """The view of the failures of a job."""
        return cls(
            job=status.job.public_id,
            requests=status.job.requests,
            groups=[ErrorGroupView.of(group) for group in groups],
            source=status.job.source,
            sandbox=status.sandbox,
        )


def _unmasked(content: bytes, masked: bytes, result: bytes, after: int) -> tuple[msgspec.Raw, int]:
    """The original bytes of *result*, which was found in *masked*, and where they end: masking keeps every offset."""
    key = b'"result":'
    start = masked.index(key + result, after) + len(key)
    end = start + len(result)
    return msgspec.Raw(content[start:end]), end
