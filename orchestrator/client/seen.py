"""From a server's JSON back to values: the other way of `http_api.views` and `http_api.details`.

What only an engine needs (fences, cursors, the proofs of a doubt) is not sent: `Job` and `Batch` do not have it.
A key that is missing raises KeyError, one of a wrong kind TypeError or ValueError: the server is of another version.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from orchestrator.domain.api_answers import ApiCounts
from orchestrator.domain.ids import BatchId, JobId
from orchestrator.domain.json_text import mask_lone_surrogates
from orchestrator.domain.model import Attention, Batch, Event, Job, JobStatus, RequestCounts
from orchestrator.domain.notices import Delivery, DeliveryState, Endpoint
from orchestrator.domain.queries import TOKENS, Attempt, ErrorGroup, RequestDetails, ResultRow
from orchestrator.domain.states import BatchState, JobState, RequestState
from orchestrator.ports.streams import InputProblem

View = Mapping[str, Any]

_ALIKE: Final = ("reason_code", "reason", "source", "api_version", "priority", "still_open", "resubmitted")
_TRIP: Final = ("kind", "error_type", "error_message", "api_request_id")
_ERROR: Final = ("error_type", "error_message", "api_request_id")
_REQUEST: Final = ("custom_id", "number", "line", "attempts", *_ERROR, "stop_reason")


def to_status(view: View, number: JobId) -> JobStatus:
    """`views.job_view`. number: what the job is called on this side."""
    return JobStatus(
        job=_job(view, number),
        batches={state.value: int(view["batches"][state.value]) for state in BatchState},
        stop_reasons={str(name): int(count) for name, count in view["stop_reasons"].items()},
        attention=tuple(_attention(each) for each in view["attention"]),
        next_expiry=instant(view["next_expiry"]),
        sweep_until=instant(view["sweep_until"]),
        sandbox=bool(view["sandbox"]),
        asked_again_at=instant(view.get("asked_again_at")),
    )


def _job(view: View, number: JobId) -> Job:
    counts: dict[str, int] = view["requests"]
    return Job(
        id=number,
        public_id=str(view["id"]),
        name=str(view["name"]),
        state=JobState(view["state"]),
        betas=tuple(view["betas"]),
        content_hash=view.get("content_hash"),
        key=None,
        purged_at=instant(view["purged_at"]),
        created_at=_at(view["created_at"]),
        finished_at=instant(view["finished_at"]),
        requests=RequestCounts(**{name: int(counts[name]) for name in RequestCounts.__dataclass_fields__}),
        **{name: view[name] for name in _ALIKE},
    )


def to_batch(view: View, job: JobId) -> Batch:
    """`details.batch_view`."""
    results = view["results"]
    times: dict[str, Any] = {name: instant(view[name]) for name in _BATCH_TIMES}
    return Batch(
        id=BatchId(int(view["batch"])),
        job_id=job,
        state=BatchState(view["state"]),
        remote_id=view["remote_id"],
        count=int(view["requests"]),
        size_bytes=int(view["bytes"]),
        api_version=str(view["api_version"]),
        betas=tuple(view["betas"]),
        organization=view["organization"],
        workspace=view["workspace"],
        planned_at=_at(view["planned_at"]),
        api_counts=None if results is None else ApiCounts(**results),
        downloads=int(view["downloads"]),
        **times,
    )


_BATCH_TIMES: Final = ("sent_at", "created_at", "expires_at", "ended_at", "settled_at")


def to_group(view: View) -> ErrorGroup:
    """A group of `details.errors_view`."""
    return ErrorGroup(
        error_type=str(view["type"]),
        cause=str(view["cause"]),
        error_message=str(view["message"]),
        count=int(view["count"]),
        examples=tuple((str(each["custom_id"]), int(each["line"])) for each in view["examples"]),
    )


def to_event(view: View, job: JobId | None) -> Event:
    """`details.event_view`."""
    return Event(
        id=int(view["id"]),
        at=_at(view["at"]),
        job_id=job,
        batch_id=_batch_id(view["batch"]),
        kind=str(view["kind"]),
        old=view["old"],
        new=view["new"],
        why=view["why"],
    )


class _Page(msgspec.Struct):
    results: list[_Row]


class _Row(msgspec.Struct):
    number: int
    custom_id: str
    state: RequestState
    result: msgspec.Raw


_NULL: Final = b"null"
_RESULT: Final = b'"result":'
_decode_page: Final = msgspec.json.Decoder(_Page).decode
_decode_parts: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def to_results(content: bytes) -> list[ResultRow]:
    """A page of results, each byte for byte as the API gave it."""
    try:
        rows = _decode_page(content).results
    except msgspec.DecodeError:  # half a surrogate pair in an answer, which JSON allows and decoders refuse
        rows = _masked_page(content)
    return [ResultRow(row.number, row.custom_id, row.state, _body(row.result)) for row in rows]


def _masked_page(content: bytes) -> list[_Row]:
    """The rows of a page that is read with such halves masked; the bytes of each result as they came."""
    masked = mask_lone_surrogates(content)
    rows, at = _decode_page(masked).results, 0
    for row in rows:
        row.result, at = _unmasked(content, masked, bytes(row.result), at)
    return rows


def _unmasked(content: bytes, masked: bytes, result: bytes, after: int) -> tuple[msgspec.Raw, int]:
    """The bytes of *content* that *result* is in *masked*, and where they end: masking keeps every offset."""
    start = masked.index(_RESULT + result, after) + len(_RESULT)
    end = start + len(result)
    return msgspec.Raw(content[start:end]), end


def to_request(content: bytes) -> RequestDetails:
    """`details.request_view`, with its two bodies byte for byte."""
    try:
        view = msgspec.json.decode(content, type=dict[str, Any])
        parts = _decode_parts(content)
    except msgspec.DecodeError:
        masked = mask_lone_surrogates(content)
        view = msgspec.json.decode(masked, type=dict[str, Any])
        parts = _decode_parts(masked)
        parts["result"] = _unmasked(content, masked, bytes(parts["result"]), 0)[0]
    params, result = _body(parts["params"]), _body(parts["result"])
    return RequestDetails(
        state=RequestState(view["state"]),
        **{name: view["usage"][name] for name in TOKENS},
        batch_id=_batch_id(view["batch"]),
        params=params,
        result=result,
        failed_attempts=tuple(_trip(each) for each in view["trips"]),
        **{name: view[name] for name in _REQUEST},
    )


def to_endpoint(view: View) -> Endpoint:
    """`views.endpoint_view`; its number is nobody's business but the store's."""
    return Endpoint(id=0, url=str(view["url"]), events=tuple(view["events"]), active=bool(view["active"]))


def to_delivery(view: View) -> Delivery:
    """`views.delivery_view`."""
    return Delivery(
        id=int(view["id"]),
        event_id=view["event"],
        state=DeliveryState(view["state"]),
        created_at=_at(view["created_at"]),
        next_at=instant(view["next_at"]),
        last_at=instant(view["last_at"]),
        **{name: view[name] for name in _DELIVERY},
    )


_DELIVERY: Final = ("url", "type", "tries", "last_status", "last_error")


def to_refused(view: View) -> InputProblem:
    """A line that was left out, and why."""
    raw = b64decode(view["raw"], validate=True)
    return InputProblem(line=view["line"], field=view["field"], message=view["problem"], remedy=view["remedy"], raw=raw)


def instant(text: str | None) -> datetime | None:
    """The time that `views.time_text` wrote."""
    return None if text is None else _at(text)


def _body(raw: msgspec.Raw) -> bytes | None:
    text = bytes(raw)
    return None if text == _NULL else text


def _at(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without its zone")
    return at


def _attention(view: View) -> Attention:
    return Attention(
        kind=str(view["kind"]),
        batch_id=_batch_id(view["batch"]),
        message=str(view["message"]),
        since=_at(view["since"]),
    )


def _trip(view: View) -> Attempt:
    return Attempt(batch_id=BatchId(int(view["batch"])), at=_at(view["at"]), **{name: view[name] for name in _TRIP})


def _batch_id(number: int | None) -> BatchId | None:
    return None if number is None else BatchId(int(number))
