"""One request as text for a terminal: what it was made of, its prompt, its answer, and every attempt.

All of it is somebody else's: what steers a terminal is spelled out, and a text keeps nothing of its own but its lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.domain import money
from orchestrator.domain.answers import Answer, answer_of
from orchestrator.domain.humanize import count, instant, plain
from orchestrator.domain.json_text import readable_object
from orchestrator.domain.queries import Attempt, RequestDetails, ResultRow
from orchestrator.domain.result_choice import status_of
from orchestrator.domain.row_columns import cell_text, members_of

if TYPE_CHECKING:
    from orchestrator.domain.model import JobSnapshot

#: More of one text than this is not shown: the raw form has it all.
_SHOWN: Final = 20_000
_CELL: Final = 2_000
_WIDTH: Final = 11


def turns_of(params: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The turns of a prompt in order, the system prompt first: a role, and what is said."""
    if (system := params.get("system")) is not None:
        yield "system", system
    turns = params.get("messages")
    for turn in turns if isinstance(turns, list) else []:
        if isinstance(turn, dict):
            yield str(turn.get("role")), turn.get("content")


def request_text(job: JobSnapshot, found: RequestDetails) -> Iterator[str]:
    """The lines of *found*, a request of *job*."""
    answer = _answer(found)
    yield from _facts(job, found, answer)
    if job.purged_at is not None:
        yield _line("purged", f"its prompt and its answer were deleted {instant(job.purged_at)}")
    yield from _titled("row", _cells(members_of(found.row or b"")))
    if found.original_params is not None and found.params is not None:
        before, now = readable_object(found.original_params), readable_object(found.params)
        changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        yield _line("changed", f"{plain(', '.join(changed)) or 'nothing'}: as it was handed in is in --raw")
    for role, said in turns_of({} if found.params is None else readable_object(found.params)):
        yield from _titled(role, _text(_said(said)))
    if answer is not None and answer.text is not None and found.result is not None:
        result = readable_object(found.result)
        message = result.get("message", result.get("answer"))  # an invalid one has it under another name
        yield from _titled("answer", _text(_said(message.get("content") if isinstance(message, dict) else None)))
        schema = job.answer_schema
        yield from _titled("fields", _cells((schema and schema.members(answer.text)) or {}))
    for attempt in found.failed_attempts:
        yield _line("attempt", " ".join(filter(None, _attempt(attempt))))


def _answer(found: RequestDetails) -> Answer | None:
    if found.result is None:
        return None
    return answer_of(ResultRow(found.number, found.custom_id, found.state, found.result))


def _facts(job: JobSnapshot, found: RequestDetails, answer: Answer | None) -> Iterator[str]:
    place = f"line {found.line:,} of its input, in job {job.public_id}"
    yield _line("request", f"{plain(found.custom_id)}  ({place})")
    yield _line("state", _state(found, answer))
    if found.error_type is not None:
        yield _line("error", plain(": ".join(filter(None, (found.error_type, found.error_message)))))
    if found.api_request_id is not None:
        yield _line("at the API", plain(found.api_request_id))
    if found.reused_from is not None:
        yield _line("identical", f"to {plain(found.reused_from)}, whose answer it shows")
    if answer is not None and answer.model is not None:
        stop = "" if answer.stop_reason is None else f", stopped by {plain(answer.stop_reason)}"
        yield _line("model", f"{plain(answer.model)}{stop}")
    read = found.cache_read_tokens or None
    counts = ((found.input_tokens, "input"), (read, "read from the cache"), (found.output_tokens, "output"))
    if told := [f"{number:,} {what}" for number, what in counts if number is not None]:
        yield _line("tokens", ", ".join(told))
    if found.cost_nanos is not None:
        yield _line("cost", money.shown(found.cost_nanos))


def _state(found: RequestDetails, answer: Answer | None) -> str:
    state = found.state.value
    if answer is not None and found.result is not None:
        state = status_of(ResultRow(found.number, found.custom_id, found.state, found.result), answer)
    batch = "" if found.batch_id is None else f", batch {found.batch_id}"
    return f"{state}, {count(found.attempts, 'attempt')}{batch}"


def _attempt(attempt: Attempt) -> Iterator[str]:
    """The parts of a line."""
    yield f"batch {attempt.batch_id}:"
    became = attempt.outcome if attempt.kind == "succeeded" else attempt.kind
    why = ": ".join(filter(None, (attempt.error_type, attempt.error_message)))
    yield plain(", ".join(filter(None, (became, why))))
    if attempt.cost_nanos:
        yield f"for {money.shown(attempt.cost_nanos)}"
    yield f"({instant(attempt.at)})"


def _said(content: object) -> str:
    """The text of a turn; blocks that are none are named, with their JSON."""
    blocks = content if isinstance(content, list) else [content]
    return "\n".join(map(_block, blocks))


def _block(block: object) -> str:
    match block:
        case str(text) | {"type": "text", "text": str(text)}:
            return text
        case {"type": str(kind)}:
            return f"[{kind}] {_cut(msgspec.json.encode(block).decode(), _CELL)}"
        case _:
            return _cut(msgspec.json.encode(block).decode(), _CELL)


def _cells(columns: Mapping[str, msgspec.Raw]) -> list[str]:
    return [f"{plain(name)}: {plain(_cut(cell_text(value), _CELL))}" for name, value in columns.items()]


def _text(text: str) -> list[str]:
    return [plain(line) for line in _cut(text, _SHOWN).split("\n")]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} more characters)"


def _titled(title: str, lines: Iterable[str]) -> Iterator[str]:
    for place, line in enumerate(lines):
        yield _line("" if place else title, line)


def _line(title: str, text: str) -> str:
    return f"{plain(title):<{_WIDTH}}{text}".rstrip()
