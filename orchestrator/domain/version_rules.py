"""What the newer version of the API, or a model under every version, refuses of params that a batch takes otherwise."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Final

import msgspec

from orchestrator.domain.api_versions import OLD_API_VERSION, STRICTER_API_VERSION
from orchestrator.domain.json_text import UNREADABLE, kind_of
from orchestrator.domain.limits import LARGE_LINE_BYTES
from orchestrator.domain.model_generation import (
    takes_forced_tool,
    takes_format,
    takes_one_sampler,
    takes_prefill,
    takes_sampling,
)
from orchestrator.domain.param_problem import ParamProblem

#: Refused since 2026-10-21 even at their default values. Source: migration guide of that version.
SAMPLING: Final = ("temperature", "top_p", "top_k")

_USE_OLD_VERSION: Final = f"remove it, or send this file with --api-version {OLD_API_VERSION}"
_OTHER_MODEL: Final = "remove it (jq -c 'del(.params.{})' in.jsonl > out.jsonl), or ask a model up to Claude 4.6"
_DOCUMENT: Final = "have a document in an assistant message"
_CITATIONS: Final = "have citations on a user's text"
_SAID: Final = {
    _DOCUMENT: f"API version {STRICTER_API_VERSION} takes no document block in an assistant message",
    _CITATIONS: f"API version {STRICTER_API_VERSION} takes no citations on a user's text block",
}

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _AnyMessage(msgspec.Struct):
    role: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    content: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Message(msgspec.Struct, gc=False):
    role: str
    content: msgspec.Raw


class _ContentBlock(msgspec.Struct):
    type: msgspec.Raw = msgspec.Raw()
    citations: msgspec.Raw = msgspec.Raw()


class _TypedBlock(msgspec.Struct):
    type: msgspec.Raw
    citations: msgspec.Raw = msgspec.Raw()


class _ToolChoice(msgspec.Struct, gc=False):
    type: str = ""


class _FormatGiven(msgspec.Struct, gc=False):
    format: msgspec.Raw = msgspec.Raw(b"null")


class _Bound(msgspec.Struct, gc=False):
    """The members that only the older version takes, or takes everywhere in messages."""

    temperature: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    top_p: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    top_k: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    messages: msgspec.Raw = msgspec.Raw()


_items: Final = msgspec.json.Decoder(list[msgspec.Raw])
_message: Final = msgspec.json.Decoder(_AnyMessage)
_block: Final = msgspec.json.Decoder(_ContentBlock)
#: These end at the first item that is not what it must be, however many follow.
_plain_messages: Final = msgspec.json.Decoder(list[_Message])
_typed_blocks: Final = msgspec.json.Decoder(list[_TypedBlock])
_tool_choice: Final = msgspec.json.Decoder(_ToolChoice)
_format_given: Final = msgspec.json.Decoder(_FormatGiven)
_bound: Final = msgspec.json.Decoder(_Bound)
_share: Final = msgspec.json.Decoder(_Share | None)
_count: Final = msgspec.json.Decoder(Annotated[int, msgspec.Meta(ge=0)] | None)
_EMPTY: Final = re.compile(rb"\[\s*\]")


def may_hold_refused_content(params: bytes) -> bool:
    """A cheap sieve: only params with one of these words are looked at block by block."""
    return b'"document"' in params or b'"citations"' in params


def refused_by_version(fields: Mapping[str, bytes]) -> Iterator[ParamProblem]:
    """What version 2026-10-21 refuses of *fields*, the members of params."""
    for key in SAMPLING:
        if key in fields:
            message = f"API version {STRICTER_API_VERSION} takes no sampling parameters"
            yield ParamProblem(f"params.{key}", message, _USE_OLD_VERSION, is_alike=True)
    for place, need in _refused_content(fields.get("messages", b"")):
        yield ParamProblem(f"params.messages.{place}", _SAID[need], _USE_OLD_VERSION, is_alike=True)


def version_needs(params: bytes) -> list[str]:
    """What only version 2023-06-01 takes of *params*, each once: `set temperature`, `have a document in …`."""
    if not (any(b'"%b"' % key.encode() in params for key in SAMPLING) or may_hold_refused_content(params)):
        return []
    try:
        found = _bound.decode(params)
    except UNREADABLE:
        return []
    needs = [f"set {key}" for key in SAMPLING if getattr(found, key) is not msgspec.UNSET]
    return needs + list(dict.fromkeys(need for _, need in _refused_content(bytes(found.messages))))


def refused_by_model(model: str, fields: Mapping[str, bytes]) -> Iterator[ParamProblem]:
    """What *model* refuses of the sampling parameters in *fields*, whatever the version.

    Source: the Messages API's reference of each (those after Claude Opus 4.6), and migration guides (both of two).
    """
    for key in SAMPLING:
        value = fields.get(key)
        if value is None:
            continue
        if not _is_in_range(key, value):
            expected = "a whole number of at least 0" if key == "top_k" else "a number from 0 to 1"
            yield ParamProblem(
                f"params.{key}", f"must be {expected}, not {value[:32].decode(errors='replace')}", "mend it"
            )
        elif not (takes_sampling(model) or _is_default(key, value)):
            message = f"{model} takes no {key}{_BUT.get(key, '')}, whatever the API version"
            yield ParamProblem(f"params.{key}", message, _OTHER_MODEL.format(key), is_alike=True)
    if {"temperature", "top_p"} <= fields.keys() and takes_one_sampler(model):
        message = f"{model} takes temperature or top_p, not both"
        yield ParamProblem("params.top_p", message, "remove one of them", is_alike=True)


def may_begin_for(model: str, last_role: str, *, chooses_tool: bool) -> bool:
    """A cheap sieve: only such params are looked at by `refused_beginning`."""
    return (last_role == "assistant" and not takes_prefill(model)) or (chooses_tool and not takes_forced_tool(model))


def refused_beginning(model: str, fields: Mapping[str, bytes]) -> Iterator[ParamProblem]:
    """What *model* refuses of how its answer has to begin: with a call of a tool, or with a text.

    A paused turn of server tools, which stands last to be gone on with, is none of them. Source: pages on pause_turn.
    """
    if not takes_forced_tool(model) and _forces_tool(fields.get("tool_choice", b"")):
        message = f"{model} cannot be made to use a tool"
        yield ParamProblem("params.tool_choice", message, 'write {"type":"auto"}, or ask another model', is_alike=True)
    if not takes_prefill(model) and _ends_with_prefill(fields.get("messages", b"")):
        message = f"{model} takes no beginning of its answer as the last message"
        remedy = "end with the user's; a form of answers is asked for by output_config.format"
        yield ParamProblem("params.messages", message, remedy, is_alike=True)


def refused_format(model: str, output_config: bytes) -> Iterator[ParamProblem]:
    """A form of answers, where *model* takes none. Source: the page on structured outputs."""
    if not takes_format(model) and _has_format(output_config):
        message = f"{model} takes no form of answers (a schema)"
        yield ParamProblem("params.output_config.format", message, "ask a model from Claude 4.5 on", is_alike=True)


def _has_format(output_config: bytes) -> bool:
    try:
        return bytes(_format_given.decode(output_config).format) != b"null"
    except UNREADABLE:
        return False


def _forces_tool(choice: bytes) -> bool:
    try:
        return _tool_choice.decode(choice).type in {"any", "tool"}
    except UNREADABLE:
        return False


def _ends_with_prefill(messages: bytes) -> bool:
    if kind_of(messages) != "an array":
        return False
    last = deque(_said_in(messages), maxlen=1)
    _, role, content = last[0] if last else (0, b"", b"")
    if role != b'"assistant"':
        return False
    kinds = {bytes(block.type) for _, block in _blocks(content)}
    return kind_of(content) == "a string" or kinds == {b'"text"'}


_BUT: Final = {"temperature": " but 1", "top_p": " but 0.99 and more"}
#: The least that newer models take, for programs that always send a value.
_LEAST: Final = {"temperature": 1.0, "top_p": 0.99}


def _is_in_range(key: str, value: bytes) -> bool:
    try:
        (_count if key == "top_k" else _share).decode(value)
    except UNREADABLE:
        return False
    return True


def _is_default(key: str, value: bytes) -> bool:
    """Whether *value*, which is in range, changes nothing."""
    given = _share.decode(value) if key in _LEAST else _count.decode(value)
    return given is None or (key in _LEAST and given >= _LEAST[key])


def _refused_content(messages: bytes) -> Iterator[tuple[str, str]]:
    """The place of each refused block, and what it is: documents by the assistant, citations on the user's text.

    Source: migration guide of 2026-10-21.
    """
    if kind_of(messages) != "an array" or not may_hold_refused_content(messages):
        return
    for place, role, content in _said_in(messages):
        for block_place, block in _blocks(content):
            where = f"{place}.content.{block_place}"
            if role == b'"assistant"' and bytes(block.type) == b'"document"':
                yield where, _DOCUMENT
            elif role == b'"user"' and bytes(block.type) == b'"text"' and _has_entries(bytes(block.citations)):
                yield f"{where}.citations", _CITATIONS


def _said_in(messages: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Place, role and content of each message that has them, in JSON; of large ones, none behind the first trouble."""
    if len(messages) > LARGE_LINE_BYTES:
        with suppress(msgspec.ValidationError):
            for place, plain in enumerate(_plain_messages.decode(messages)):
                yield place, b'"%b"' % plain.role.encode(), bytes(plain.content)
        return
    for place, item in enumerate(_items.decode(messages)):
        if kind_of(bytes(item)) == "an object":
            message = _message.decode(item)
            if message.role is not msgspec.UNSET and message.content is not msgspec.UNSET:
                yield place, bytes(message.role), bytes(message.content)


def _blocks(content: bytes) -> Iterator[tuple[int, _ContentBlock | _TypedBlock]]:
    if kind_of(content) != "an array":
        return
    if len(content) > LARGE_LINE_BYTES:
        with suppress(msgspec.ValidationError):
            yield from enumerate(_typed_blocks.decode(content))
        return
    for place, item in enumerate(_items.decode(content)):
        if kind_of(bytes(item)) == "an object":
            yield place, _block.decode(item)


def _has_entries(citations: bytes) -> bool:
    return kind_of(citations) == "an array" and _EMPTY.match(citations) is None
