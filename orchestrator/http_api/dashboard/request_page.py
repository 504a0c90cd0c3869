"""The page of one request: the row that it was made of, its prompt, its answer, and every attempt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.domain import errors, queries, states
from orchestrator.http_api.dashboard import markdown, money_parts, page, request_list
from orchestrator.http_api.dashboard.thumbnails import image_parts, keep_within_page
from orchestrator.views.request_calls import RequestCall
from orchestrator.views.request_text import turns_of

if TYPE_CHECKING:
    from orchestrator.domain.answer_schema import AnswerSchema
    from orchestrator.domain.model import JobSnapshot
    from orchestrator.ports.reads import Reads

#: More of one text than this is not shown: the page says how much there is, and the API has it all.
_SHOWN: Final = 100_000
#: JSON is indented unless that makes more of it: what is nested deep would be blanks.
_INDENTED: Final = 1_000_000
#: So many columns of a row are shown, and so much of each.
_COLUMNS: Final = 100
_CELL: Final = 2_000
#: Letters of what a tool is for.
_TOOL_WORDS: Final = 200
_DECODE: Final = msgspec.json.Decoder()
_DECODE_ROW: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


async def load(request: page.PageRequest) -> dict[str, object]:
    """Data of the request page. Raises NoSuchThing."""
    text: str = request.params["number"]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise errors.NoSuchThing(
            f"no request {text!r} in this job", hint="requests are numbered from 1, in input order"
        )
    asked = request_list.AskedRequests.of(request)
    facts = await request.services.bulk.read(partial(_read, request.params["ref"], int(text), asked))
    view: queries.RequestDetails = facts["view"]
    params = _decoded(view.params)
    message = _message(view)
    prompt, answer = list(_prompt(params)), None if message is None else _answer(message)
    keep_within_page(block for said in (*(turn["blocks"] for turn in prompt), answer or ()) for block in said)
    is_settled = view.state in states.SETTLED_REQUESTS
    return {
        **facts,
        "title": view.custom_id,
        "model": params.get("model") if isinstance(params.get("model"), str) else None,
        "row": None if view.row is None else _row(view.row),
        "prompt": prompt,
        "answer": answer,
        "fields": None if message is None else _fields(message, facts["job"].answer_schema),
        "usage": _usage(view, message),
        "stop": None if message is None else message.get("stop_reason"),
        "raw_params": _pretty(view.params),
        "raw_original": _pretty(view.original_params),
        "raw_result": _pretty(view.result),
        "calls": None if view.params is None else _calls(view, view.params, facts["job"], request.address),
        "settled": is_settled,
        "cost": money_parts.request_money(view.cost_nanos) if is_settled and facts["job"].purged_at is None else None,
    }


def _read(ref: str, number: int, asked: request_list.AskedRequests, reads: Reads) -> dict[str, Any]:
    job = reads.find(ref)
    view = reads.request_at(job.id, number)
    before, after = request_list.neighbours(asked, job.id, number, reads)
    original = None if view.reused_from is None else reads.request(job.id, view.reused_from).number
    return {
        "job": job,
        "view": view,
        "before": before,
        "after": after,
        "original": original,
        "kept": asked.address(),
        "back": request_list.way_back(asked, job.id, number, reads),
        "among": asked.filter_words(),
    }


def _calls(view: queries.RequestDetails, params: bytes, job: JobSnapshot, address: str) -> dict[str, object]:
    """The same call by hand, at full price, and how its result is fetched."""
    call = RequestCall(
        params=params,
        api_version=job.api_version,
        betas=tuple(job.betas),
        address=address,
        job=job.public_id,
        custom_id=view.custom_id,
    )
    return {"size": len(params), "curl": call.curl, "python": call.python, "fetch": call.fetch}


def _decoded(text: bytes | None) -> dict[str, Any]:
    try:
        found = None if text is None else _DECODE.decode(text)
    except msgspec.DecodeError:  # a result is stored as it came
        return {}
    return found if isinstance(found, dict) else {}


def _row(text: bytes) -> dict[str, object]:
    """Column and value, in order: text as it reads, anything else as the JSON that was handed in."""
    return _cells(_DECODE_ROW.decode(text))


def _cells(columns: Mapping[str, msgspec.Raw]) -> dict[str, object]:
    shown = list(islice(columns.items(), _COLUMNS))
    return {"cells": [(name, _cell(bytes(value))) for name, value in shown], "left_out": len(columns) - len(shown)}


def _cell(value: bytes) -> str:
    text: str = _DECODE.decode(value) if value.startswith(b'"') else value.decode()
    return text if len(text) <= _CELL else f"{text[:_CELL]}…"


def _message(view: queries.RequestDetails) -> dict[str, Any] | None:
    """The answer inside a result that succeeded."""
    message = _decoded(view.result).get("message")
    return message if isinstance(message, dict) else None


def _prompt(params: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The turns of the prompt, in order; blocks that are not text are named."""
    for role, said in turns_of(params):
        yield {"role": role, "blocks": _blocks(said)}
    tools = params.get("tools")
    if isinstance(tools, list) and tools:
        yield {"role": "tools", "blocks": [_other_block(_called(tool), tool) for tool in tools]}


def _called(tool: object) -> str:
    """A tool's name, and the beginning of what it is for."""
    known = tool if isinstance(tool, dict) else {}
    name, meaning = known.get("name", known.get("type", "?")), str(known.get("description") or "").split("\n")[0]
    return f"{name}: {meaning[:_TOOL_WORDS]}" if meaning else str(name)


def _blocks(content: object) -> list[dict[str, object]]:
    if isinstance(content, str):
        return [_text_block(content)]
    blocks = content if isinstance(content, list) else [content]
    return [_block(block) for block in blocks]


def _block(block: object) -> dict[str, object]:
    match block:
        case {"type": "text", "text": str(text)}:
            return _text_block(text)
        case {"type": "thinking", "thinking": str(text)}:
            return {**_text_block(text), "kind": "thinking"}
        case dict() as image if image.get("type") == "image":
            return {"kind": "image", "pieces": None, "text": None, **image_parts(image)}
        case {"type": "tool_use", "name": str(name)}:
            return _other_block(f"tool_use {name}", block)
        case {"type": str(kind)}:
            return _other_block(kind, block)
        case _:
            return _other_block("other", block)


def _other_block(kind: str, block: object) -> dict[str, object]:
    return {"kind": kind, "text": _cut(_indented(msgspec.json.encode(block))), "pieces": None}


def _text_block(text: str) -> dict[str, object]:
    found: list[markdown.MarkdownBlock] = markdown.pieces(text[:_SHOWN])
    return {"kind": "text", "text": None, "pieces": found, "left_out": max(len(text) - _SHOWN, 0)}


def _answer(message: dict[str, Any]) -> list[dict[str, object]]:
    return _blocks(message.get("content"))


def _fields(message: dict[str, Any], schema: AnswerSchema | None) -> dict[str, object] | None:
    """The members of an answer that fits its job's schema, as a row's."""
    content = message.get("content")
    if schema is None or not isinstance(content, list):
        return None
    texts = [block["text"] for block in content if isinstance(block, dict) and block.get("type") == "text"]
    found = schema.members("".join(text for text in texts if isinstance(text, str)))
    return None if found is None else _cells(found)


def _usage(view: queries.RequestDetails, message: dict[str, Any] | None) -> list[tuple[str, int]]:
    """Tokens by kind; only whole numbers are shown."""
    usage = {} if message is None else message.get("usage")
    if isinstance(usage, dict):
        found = [(str(key).replace("_", " "), value) for key, value in usage.items() if type(value) is int and value]
        if found:
            return found
    both = (("input tokens", view.input_tokens), ("output tokens", view.output_tokens))
    return [(text, number) for text, number in both if number is not None]


def _pretty(text: bytes | None) -> dict[str, object] | None:
    """JSON, indented, with its numbers unchanged; truncated if it is long."""
    if text is None:
        return None
    if len(text) > _SHOWN:
        return {"text": text[:_SHOWN].decode("utf-8", "ignore"), "size": len(text), "cut": True}
    try:
        return {"text": _indented(text), "size": len(text), "cut": False}
    except msgspec.DecodeError:
        return {"text": text.decode("utf-8", "replace"), "size": len(text), "cut": False}


def _indented(text: bytes) -> str:
    """JSON with its numbers unchanged, indented if it is not long. Raises DecodeError."""
    shown = text if len(text) > _SHOWN else msgspec.json.format(text, indent=2)
    return (shown if len(shown) <= _INDENTED else text).decode("utf-8", "replace")


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


PAGE: Final = page.Page(template="request.html", load=load, title="Request")
#: The same in its row of the list.
INSIDE: Final = page.Page(template="parts/request-inside.html", load=load, title="Request")
