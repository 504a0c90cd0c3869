"""Canned answers that fit a schema (`output_config.format`): the same for the same request, recognisable as canned."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from orchestrator.domain.answer_schema import AnswerSchema
from orchestrator.domain.errors import UsageError
from orchestrator.sandbox.seeded import word

#: In every text that is made up.
MADE_UP: Final = "SANDBOX"
_FORMATS: Final = MappingProxyType(
    {
        "date-time": "2026-11-28T12:00:00Z",
        "time": "12:00:00Z",
        "date": "2026-11-28",
        "duration": "P1D",
        "email": "sandbox@example.com",
        "hostname": "sandbox.example.com",
        "uri": "https://example.com/sandbox",
        "ipv4": "192.0.2.1",
        "ipv6": "2001:db8::1",
        "uuid": "00000000-0000-4000-8000-000000000000",
    }
)
_LONGEST: Final = 40
#: Texts that simple patterns match: one of a kind of character, or one of these.
_TRIED: Final = (*_FORMATS.values(), "1.0", "12:00", "AB-12", "ab_12", "Sandbox text", "#00ff00", "+1 555 0100")


class BadFormatError(Exception):
    """The `output_config.format` of a request is none that the API takes; `str()` is its message."""


class _AskedFormat(msgspec.Struct, tag="json_schema", tag_field="type"):
    schema: msgspec.Raw


class _OutputConfig(msgspec.Struct):
    format: _AskedFormat | None = None


_decode: Final = msgspec.json.Decoder(_OutputConfig).decode


def schema_of(output_config: bytes) -> AnswerSchema | None:
    """The schema that an `output_config` asks for; None if it asks for none. Raises BadFormatError."""
    try:
        found = _decode(output_config).format
    except msgspec.DecodeError as exc:
        raise BadFormatError(f"output_config.format: {exc}") from exc
    return None if found is None else _read(bytes(found.schema))


def fitting_text(schema: AnswerSchema, chance: int) -> str:
    """The JSON of an answer that fits *schema*; *chance* decides what is open."""
    return msgspec.json.encode(fitting_value(msgspec.json.decode(schema.text), chance)).decode()


def fitting_value(schema: Any, chance: int) -> Any:  # noqa: ANN401 - any schema, and any JSON
    """What fits *schema*; *chance* decides what is open."""
    return _Maker(schema, chance).value(schema, "answer")


def unfit_text() -> str:
    """JSON that fits no closed schema."""
    return msgspec.json.encode({MADE_UP: "an answer that does not fit the schema"}).decode()


@lru_cache(maxsize=64)
def _read(schema: bytes) -> AnswerSchema:
    try:
        return AnswerSchema.from_text(schema)
    except UsageError as exc:
        raise BadFormatError(f"output_config.format.schema: {exc.message}") from exc


class _Maker:
    """Makes one answer."""

    def __init__(self, whole: Mapping[str, Any], chance: int) -> None:
        self._whole = whole
        self._chance = chance

    def value(self, schema: Any, name: str) -> Any:  # noqa: ANN401 - any part of a schema, and any JSON
        """A value of *schema*; *name*: what it is called."""
        if not isinstance(schema, dict):
            return f"{MADE_UP} {name}"
        if "$ref" in schema:
            return self.value(self._at(schema["$ref"]), name)
        if "const" in schema:
            return schema["const"]
        for choices in (schema.get("enum"), schema.get("anyOf")):
            if choices:
                picked = choices[self._draw(name) % len(choices)]
                return self.value(picked, name) if choices is schema.get("anyOf") else picked
        merged = dict(schema)
        for part in schema.get("allOf", ()):
            merged |= part if isinstance(part, dict) else {}
        return self._of_type(_type(merged, self._draw(name)), merged, name)

    def _of_type(self, kind: str, schema: dict[str, Any], name: str) -> Any:  # noqa: ANN401 - any JSON
        if kind == "object":
            return {each: self.value(schema["properties"][each], each) for each in self._members(schema)}
        if kind == "array":
            return [self.value(schema.get("items"), name)]
        if kind == "string":
            return _text(schema, name)
        draw = self._draw(name)
        return {"integer": draw % 10, "number": draw % 100 / 100, "boolean": draw % 2 == 0}.get(kind)

    def _members(self, schema: dict[str, Any]) -> Iterator[str]:
        """The properties of an object: what is required first, as the API has it; of the others some."""
        known, required = schema.get("properties", {}), schema.get("required", ())
        yield from (name for name in known if name in required)
        yield from (name for name in known if name not in required and self._draw(f"{name}?") % 2)

    def _at(self, reference: str) -> Any:  # noqa: ANN401 - any part of a schema
        found: Any = self._whole
        for step in unquote(reference).split("/")[1:]:
            found = found[step.replace("~1", "/").replace("~0", "~")]
        return found

    def _draw(self, name: str) -> int:
        return word(self._chance, name)


def _type(schema: Mapping[str, Any], draw: int) -> str:
    kinds = schema.get("type", "object" if "properties" in schema else "string")
    return str(kinds[draw % len(kinds)] if isinstance(kinds, list) else kinds)


def _text(schema: Mapping[str, Any], name: str) -> str:
    pattern = schema.get("pattern")
    if pattern is not None:
        return _matching(pattern)
    return _FORMATS.get(schema.get("format", ""), f"{MADE_UP} {name}")


@lru_cache(maxsize=64)
def _matching(pattern: str) -> str:
    """A text that *pattern* matches, if a simple one does."""
    kinds = (each * length for length in range(1, _LONGEST) for each in "0aA")
    return next((text for text in (MADE_UP, pattern.strip("^$"), *_TRIED, *kinds) if re.search(pattern, text)), MADE_UP)
