"""The turns of a conversation, as OpenAI's two APIs write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from orchestrator.conversion.content_parts import kind
from orchestrator.conversion.conversation import Conversation
from orchestrator.conversion.findings import LineFindings

_SYSTEM: Final = frozenset({"system", "developer"})
_ROLES: Final = "a role is system, developer, user, assistant or tool"
#: Of a message: what has no counterpart, or is said elsewhere.
_OF_CALLS: Final = "a function message of OpenAI's first API has no id of its call: write it as a tool message"


def add_chat(messages: object, place: str, talk: Conversation, found: LineFindings) -> None:
    """The messages of Chat Completions."""
    if not isinstance(messages, list) or not messages:
        what = "is empty" if messages == [] else f"must be a list, not {kind(messages)}"
        found.wrong(place, what, 'write [{"role": "user", "content": "…"}]')
        return
    for message, where in _objects(messages, place, found):
        _add_message(message, where, talk, found)


def _objects(items: list[Any], place: str, found: LineFindings) -> Iterator[tuple[dict[str, Any], str]]:
    """Those of *items* that are objects, each with its place; the others are told as wrong."""
    for number, item in enumerate(items):
        where = f"{place}.{number}"
        if isinstance(item, dict):
            yield item, where
        else:
            found.wrong(where, f"must be an object, not {kind(item)}", "give it a role and a content")


def _add_message(message: Mapping[str, Any], place: str, talk: Conversation, found: LineFindings) -> None:
    role, content = message.get("role"), message.get("content")
    if message.get("name") is not None and role != "function":
        found.lost("name", "of who speaks: there are only user and assistant")
    if message.get("audio") is not None:
        found.lost("audio", "of an earlier answer")
    if role in _SYSTEM:
        talk.add_system(content, f"{place}.content")
    elif role == "user":
        talk.add_user(content, f"{place}.content")
    elif role == "assistant":
        refusal = message.get("refusal")
        if content is None and isinstance(refusal, str):
            found.changed("refusal", "is text of the assistant")
            content = refusal
        talk.add_assistant(content, f"{place}.content", _calls(message, place, talk, found))
    elif role == "tool":
        talk.add_tool_result(message.get("tool_call_id"), content, place)
    elif role == "function":
        found.wrong(f"{place}.role", "'function' has no counterpart", _OF_CALLS, is_alike=True)
    else:
        found.wrong(f"{place}.role", f"is {str(role)[:40]!r}", _ROLES)


def _calls(message: Mapping[str, Any], place: str, talk: Conversation, found: LineFindings) -> list[dict[str, Any]]:
    if message.get("function_call") is not None:
        found.wrong(f"{place}.function_call", "has no id", _OF_CALLS, is_alike=True)
    calls = message.get("tool_calls") or []
    made = []
    for number, call in enumerate(calls if isinstance(calls, list) else [calls]):
        where = f"{place}.tool_calls.{number}"
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            found.wrong(where, "is no call of a function", "leave it and its result out", is_alike=True)
            continue
        made.append(talk.call(call.get("id"), function.get("name"), function.get("arguments"), where))
    return made


def add_items(items: object, place: str, talk: Conversation, found: LineFindings) -> None:
    """The input of the Responses API: a text, or items."""
    if isinstance(items, str):
        talk.add_user(items, place)
        return
    if not isinstance(items, list):
        found.wrong(place, f"must be a text or a list, not {kind(items)}", "write what the user asks")
        return
    for item, where in _objects(items, place, found):
        _add_item(item, where, talk, found)


def _add_item(item: Mapping[str, Any], place: str, talk: Conversation, found: LineFindings) -> None:
    name = item.get("type", "message")
    if name == "message":
        _add_message({key: item[key] for key in ("role", "content") if key in item}, place, talk, found)
    elif name == "function_call":
        call = talk.call(item.get("call_id"), item.get("name"), item.get("arguments"), place)
        talk.add_assistant(None, place, [call])
    elif name == "function_call_output":
        talk.add_tool_result(item.get("call_id"), item.get("output"), place, ("call_id", "output"))
    elif name == "reasoning":
        found.lost("reasoning", "of an earlier answer: thinking of another model is of no use")
    else:
        remedy = "write what it holds as a message: it lies at OpenAI, or is of a tool of theirs"
        found.wrong(f"{place}.type", f"{str(name)[:40]!r} has no counterpart", remedy, is_alike=True)
