"""Tools and how they are chosen, as OpenAI's two APIs write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.conversion.content_parts import kind
from orchestrator.conversion.findings import LineFindings
from orchestrator.domain.model_generation import takes_forced_tool

#: Source: the API's reference of `tool_choice`.
_CHOICES: Final[Mapping[str, str]] = {"auto": "auto", "none": "none", "required": "any"}
_KNOWN: Final = frozenset({"type", "function", "name", "description", "parameters", "strict"})


def tools_of(body: Mapping[str, Any], model: str, found: LineFindings) -> dict[str, Any]:
    """`tools` and `tool_choice` of a *body* for *model*; nothing where no tool has a counterpart."""
    made = [tool for tool in _all(body, found) if tool]
    choice = _choice(body, found)
    parallel = body.get("parallel_tool_calls")
    if choice is not None and choice["type"] in {"any", "tool"} and made and not takes_forced_tool(model):
        found.lost("tool_choice", f"{model} cannot be made to use a tool: it chooses")
        choice = None
    if not made:
        if choice is not None and choice["type"] not in {"auto", "none"}:
            found.lost("tool_choice", "chooses among tools, and none is left")
        elif choice is not None:
            found.default("tool_choice")
        if parallel is not None:
            found.default("parallel_tool_calls")
        return {}
    if parallel is False and (choice is None or choice["type"] != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    elif parallel is not None:
        found.default("parallel_tool_calls")
    return {"tools": made, **({} if choice is None else {"tool_choice": choice})}


def _all(body: Mapping[str, Any], found: LineFindings) -> list[dict[str, Any]]:
    made = []
    for name in ("tools", "functions"):
        given = body.get(name)
        if given is None:
            continue
        if not isinstance(given, list):
            found.wrong(name, f"must be a list, not {kind(given)}", "write a list of tools")
            continue
        for number, tool in enumerate(given):
            wrapped = {"type": "function", "function": tool} if name == "functions" else tool
            made.append(_tool(wrapped, f"{name}.{number}", found))
    return made


def _tool(tool: object, place: str, found: LineFindings) -> dict[str, Any]:
    """One tool, or nothing for a kind that has no counterpart."""
    if not isinstance(tool, dict):
        found.wrong(place, f"must be an object, not {kind(tool)}", "describe a function")
        return {}
    if tool.get("type") != "function":
        found.lost(
            "tools", f"of the kind {str(tool.get('type'))[:40]!r}: OpenAI runs them itself, or they are no functions"
        )
        return {}
    inner = tool.get("function")
    function: Mapping[str, Any] = inner if isinstance(inner, dict) else tool
    if not isinstance(function.get("name"), str):
        found.wrong(f"{place}.name", "must be a text", "name the function")
        return {}
    for key in sorted(function.keys() - _KNOWN):
        found.lost(f"tools.{key}", "of a function")
    described = function.get("description")
    return {
        "name": function["name"],
        **({"description": described} if isinstance(described, str) else {}),
        "input_schema": _input_schema(function.get("parameters"), f"{place}.parameters", found),
        **({"strict": True} if function.get("strict") is True else {}),
    }


def _input_schema(parameters: object, place: str, found: LineFindings) -> dict[str, Any]:
    """The schema of what a function takes; ours is always of an object."""
    if parameters is None:
        return {"type": "object"}
    if not isinstance(parameters, dict) or parameters.get("type", "object") != "object":
        found.wrong(place, "is no schema of an object", 'write {"type": "object", "properties": {…}}')
        return {}
    return {"type": "object", **parameters}


def _choice(body: Mapping[str, Any], found: LineFindings) -> dict[str, Any] | None:
    name = "tool_choice" if body.get("tool_choice") is not None else "function_call"
    given = body.get(name)
    if given is None:
        return None
    if isinstance(given, str) and given in _CHOICES:
        return {"type": _CHOICES[given]}
    if isinstance(given, dict):
        inner = given.get("function")
        named = (inner if isinstance(inner, dict) else given).get("name")
        if given.get("type", "function") == "function" and isinstance(named, str):
            return {"type": "tool", "name": named}
        found.lost(name, f"of the kind {str(given.get('type'))[:40]!r}")
        return None
    found.wrong(name, f"is {str(given)[:40]!r}", "it is auto, none, required or a function")
    return None
