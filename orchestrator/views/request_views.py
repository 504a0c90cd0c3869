"""The contents of a job as JSON: requests, results, failures by cause, and lines that were left out."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Annotated, Any, Final, Self

import msgspec

from orchestrator.domain.ids import BatchId
from orchestrator.domain.json_text import mask_lone_surrogates
from orchestrator.domain.model import JobSnapshot, JobStatus, RequestCounts
from orchestrator.domain.queries import Attempt, ErrorGroup, RequestDetails, RequestRow, ResultRow
from orchestrator.domain.result_lines import result_of
from orchestrator.domain.states import RequestState
from orchestrator.ports.streams import InputProblem
from orchestrator.views.job_views import LineProblemView
from orchestrator.views.view import Count, Timestamp, View, parse_time, time_text

#: JSON that is passed on byte for byte.
RawObject = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]
RawOrNull = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": ["object", "null"]})]
_NULL: Final = b"null"


class RequestRowView(View, frozen=True, kw_only=True):
    """One request in a list. `number` is its place in the job, `line` the one in its source."""

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
        )


class RequestsView(View, frozen=True, kw_only=True):
    """A page of requests."""

    requests: list[RequestRowView]
    next: str | None


class AttemptView(View, frozen=True, kw_only=True):
    """An attempt that did not succeed, and why."""

    batch: int
    kind: str
    error_type: str | None
    error_message: str | None
    api_request_id: str | None
    at: Timestamp

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
        )


class UsageView(View, frozen=True, kw_only=True):
    """Tokens, as the API counted them; null: not known. Those of the cache are not among the input's."""

    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_5m_tokens: int | None
    cache_write_1h_tokens: int | None


class RequestView(View, frozen=True, kw_only=True):
    """One request. `params` and `result` are as they came, and null once purged."""

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
    batch: int | None
    params: RawOrNull
    result: RawOrNull
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
            batch=request.batch_id,
            params=_raw(request.params),
            result=_raw(request.result),
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
            params=_body(self.params),
            result=_body(self.result),
            failed_attempts=tuple(attempt.to_attempt() for attempt in self.trips),
            **usage,
        )


class ResultRowView(View, frozen=True, kw_only=True):
    """One settled request. number: its place in the input; result: the API's own object."""

    number: int
    custom_id: str
    state: RequestState
    result: RawObject

    @classmethod
    def of(cls, row: ResultRow) -> Self:
        """The view of *row*; a request that was never sent gets a result in the API's form."""
        return cls(number=row.number, custom_id=row.custom_id, state=row.state, result=msgspec.Raw(result_of(row)))

    def to_row(self) -> ResultRow:
        """Convert back to a `ResultRow`."""
        return ResultRow(self.number, self.custom_id, self.state, _body(self.result))


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


def _raw(text: bytes | None) -> msgspec.Raw:
    return msgspec.Raw(_NULL if text is None else text)


def _body(raw: msgspec.Raw) -> bytes | None:
    text = bytes(raw)
    return None if text == _NULL else text


def _unmasked(content: bytes, masked: bytes, result: bytes, after: int) -> tuple[msgspec.Raw, int]:
    """The original bytes of *result*, which was found in *masked*, and where they end: masking keeps every offset."""
    key = b'"result":'
    start = masked.index(key + result, after) + len(key)
    end = start + len(result)
    return msgspec.Raw(content[start:end]), end
