"""Canned calls of a tool that a request forces (`tool_choice`): with input that fits its schema."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from orchestrator.sandbox.canned_answers import fitting_value


class _ForcedChoice(msgspec.Struct):
    type: str = ""
    name: str = ""


class _ToolOfRequest(msgspec.Struct):
    name: str = ""
    type: str = "custom"
    input_schema: Any = None


class ForcedTool(NamedTuple):
    """A tool of the caller's that an answer has to call."""

    name: str
    schema: Any


_decode_choice: Final = msgspec.json.Decoder(_ForcedChoice).decode
_decode_tools: Final = msgspec.json.Decoder(list[_ToolOfRequest]).decode


def forced_tool(tools: bytes, choice: bytes) -> ForcedTool | None:
    """The tool that *choice*, a `tool_choice`, forces; of `any` the first that is the caller's own. None: none."""
    try:
        asked = _decode_choice(choice)
        own = [tool for tool in _decode_tools(tools) if tool.type == "custom"]
    except msgspec.DecodeError:
        return None
    if asked.type not in {"any", "tool"}:
        return None
    found = next((tool for tool in own if asked.type == "any" or tool.name == asked.name), None)
    return None if found is None else ForcedTool(found.name, found.input_schema)


def canned_call(tool: ForcedTool, chance: int) -> str:
    """The name and the input of a call of *tool*, as JSON; what its schema does not say is empty."""
    try:
        made = fitting_value(tool.schema, chance)
    except (KeyError, TypeError, ValueError, RecursionError):  # no schema that the API takes
        made = {}
    return msgspec.json.encode({"name": tool.name, "input": made if isinstance(made, dict) else {}}).decode()
