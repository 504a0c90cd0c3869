"""A schema in a few words, as `llm` has it: `label, score float, why?: in one sentence`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, Final

from orchestrator.domain.errors import UsageError
from orchestrator.domain.humanize import plain

_TYPES: Final = MappingProxyType({"str": "string", "int": "integer", "float": "number", "bool": "boolean"})
_NAME: Final = re.compile(r"[\w-]+")
_RULE: Final = (
    f"a field is a name, a type ({', '.join(_TYPES)}; str if there is none), ? if it may be missing, and what it means "
    "after a colon, as in 'label, score float, why?: in one sentence'; a field with commas stands on a line of its own"
)
_SHOWN: Final = 64


def schema_of_words(text: str) -> dict[str, Any]:
    """The JSON Schema of *text*: fields with commas between, or a field a line, whose description may have commas.

    It is an object of exactly these fields, in their order. Raises UsageError.
    """
    properties: dict[str, dict[str, str]] = {}
    required = []
    for field in _fields(text):
        name, is_optional, found = _field(field)
        if name in properties:
            raise UsageError(f"the schema has the field {name} twice", hint="give each field a name of its own")
        properties[name] = found
        if not is_optional:
            required.append(name)
    if not properties:
        raise UsageError("the schema has no field", hint=_RULE)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _fields(text: str) -> Iterator[str]:
    for field in text.splitlines() if len(text.strip().splitlines()) > 1 else text.split(","):
        if found := field.strip().removesuffix(",").strip():
            yield found


def _field(text: str) -> tuple[str, bool, dict[str, str]]:
    """The name, whether it may be missing, and the schema of its value."""
    head, _, description = text.partition(":")
    plainly = head.replace("?", " ").split()
    name, *kind = plainly or [""]
    if _NAME.fullmatch(name) is None or head.count("?") > 1 or len(kind) > 1:
        raise UsageError(f"{plain(text[:_SHOWN])!r} is no field of a schema", hint=_RULE)
    if kind and kind[0] not in _TYPES:
        raise UsageError(f"{plain(kind[0][:_SHOWN])!r} is no type of the field {name}", hint=_RULE)
    found = {"type": _TYPES[kind[0]] if kind else "string"}
    if said := description.strip():
        found["description"] = said
    return name, "?" in head, found
