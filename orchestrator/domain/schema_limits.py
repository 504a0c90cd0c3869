"""What the API does not take of JSON Schema, told before anything is sent: it refuses each such request.

Source: the API's guide "Structured outputs", sections "JSON Schema limitations" and "Schema complexity limits".
"""

from __future__ import annotations

import graphlib
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

MOST_OPTIONAL: Final = 24
MOST_UNIONS: Final = 16
_TYPES: Final = ("object", "array", "string", "integer", "number", "boolean", "null")
_FORMATS: Final = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
_SAY_IT: Final = "leave it out, and say it in the description, which the model reads"
_REMEDIES: Final[Mapping[str, str]] = MappingProxyType(
    dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), _SAY_IT)
    | dict.fromkeys(("minLength", "maxLength", "maxItems", "uniqueItems", "minProperties", "maxProperties"), _SAY_IT)
    | dict.fromkeys(("contains", "minContains", "maxContains", "propertyNames", "not"), _SAY_IT)
    | dict.fromkeys(("if", "then", "else", "dependentSchemas", "dependentRequired", "dependencies"), _SAY_IT)
    | dict.fromkeys(("prefixItems", "additionalItems", "unevaluatedItems"), "write items, one schema for all of them")
    | dict.fromkeys(("patternProperties", "unevaluatedProperties"), "name every property")
    | dict.fromkeys(("$dynamicRef", "$recursiveRef"), "write $ref to a definition in $defs")
    | {"oneOf": "write anyOf"}
)
#: What of a regular expression is not taken, where no backslash stands before it.
_BAD_PATTERN: Final = re.compile(r"\\\\|\\([1-9])|\\([bB])|\\.|(\(\?<?[=!])", re.DOTALL)
_LOCAL: Final = re.compile(r"#(/.*)?", re.DOTALL)


class Unfit(NamedTuple):
    """A part of a schema that the API does not take. pointer: where it is; the empty one is all of it."""

    pointer: str
    message: str
    remedy: str


def unfit_parts(schema: Mapping[str, Any]) -> Iterator[Unfit]:
    """What is wrong with *schema*, first what stands first in it."""
    places = dict(subschemas(schema))
    for pointer, found in places.items():
        yield from _of_keywords(pointer, found)
        yield from _of_values(pointer, found)
    yield from _of_references(places)
    yield from _of_counts(places)


def subschemas(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every schema in *schema* by its JSON pointer, itself first, in the order of the text."""
    waiting: list[tuple[str, Any]] = [("", schema)]
    while waiting:
        pointer, found = waiting.pop()
        if isinstance(found, Mapping):
            yield pointer, found
            waiting.extend(reversed(list(_children(pointer, found))))


def escaped(name: str | int) -> str:
    """*name* as a JSON pointer has it."""
    return str(name).replace("~", "~0").replace("/", "~1")


def _children(pointer: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for keyword, value in schema.items():
        if keyword in {"properties", "$defs", "definitions"} and isinstance(value, Mapping):
            yield from ((f"{pointer}/{keyword}/{escaped(name)}", each) for name, each in value.items())
        elif keyword in {"anyOf", "allOf"} and isinstance(value, list):
            yield from ((f"{pointer}/{keyword}/{place}", each) for place, each in enumerate(value))
        elif keyword == "items":
            yield f"{pointer}/{keyword}", value


def _of_keywords(pointer: str, schema: Mapping[str, Any]) -> Iterator[Unfit]:
    for keyword in schema:
        if keyword in _REMEDIES:
            yield Unfit(f"{pointer}/{keyword}", "is not supported by the API", _REMEDIES[keyword])
    least = schema.get("minItems", 0)
    if least not in (0, 1):
        yield Unfit(f"{pointer}/minItems", "is supported by the API as 0 or 1 alone", _SAY_IT)
    if is_object(schema) and schema.get("additionalProperties") is not False:
        remedy = 'write "additionalProperties": false'
        yield Unfit(pointer, "is an object that is open to other properties, which the API refuses", remedy)


def _of_values(pointer: str, schema: Mapping[str, Any]) -> Iterator[Unfit]:
    for each in types_of(schema):
        if each not in _TYPES:
            yield Unfit(f"{pointer}/type", f"has {each!r}, which is no type", f"types are {', '.join(_TYPES)}")
    options = schema.get("enum")
    if isinstance(options, list) and any(isinstance(each, dict | list) for each in options):
        yield Unfit(f"{pointer}/enum", "has an object or a list, which the API refuses", "list plain values")
    written = schema.get("format")
    if isinstance(written, str) and written not in _FORMATS:
        remedy = f"{_SAY_IT}; formats are {', '.join(_FORMATS)}"
        yield Unfit(f"{pointer}/format", f"is {written!r}, which the API does not know", remedy)
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and any(found[1] or found[2] or found[3] for found in _BAD_PATTERN.finditer(pattern)):
        message = "looks around, refers back or asks for the edge of a word, which the API refuses"
        yield Unfit(f"{pointer}/pattern", message, "write it without (?=…), (?!…), \\1 and \\b")


def _of_references(places: Mapping[str, Mapping[str, Any]]) -> Iterator[Unfit]:
    targets: dict[str, str] = {}
    for pointer, schema in places.items():
        written = schema.get("$ref")
        if not isinstance(written, str):
            continue
        if _LOCAL.fullmatch(written) is None:
            remedy = "copy it into $defs, and write '#/$defs/NAME'"
            yield Unfit(f"{pointer}/$ref", "leads out of the schema; nothing is fetched", remedy)
        elif pointer.rpartition("/")[0].endswith("/allOf"):
            yield Unfit(f"{pointer}/$ref", "is in an allOf, which the API refuses", "write it without allOf")
        else:
            targets[pointer] = unquote(written[1:])
    if (circle := _circle(targets)) is not None:
        remedy = "write the levels that you need one below the other"
        yield Unfit(circle, "is recursive, which the API refuses", remedy)


def _circle(targets: Mapping[str, str]) -> str | None:
    """A place that a reference below it leads back to; *targets*: by the place of each reference, where it leads."""
    known = set(targets.values())
    inside: dict[str, set[str]] = {}
    for place, target in targets.items():
        parts = place.split("/")
        for length in range(1, len(parts) + 1):
            above = "/".join(parts[:length])
            if above in known:
                inside.setdefault(above, set()).add(target)
    try:
        graphlib.TopologicalSorter(inside).prepare()
    except graphlib.CycleError as exc:
        return str(exc.args[1][0])
    return None


def _of_counts(places: Mapping[str, Mapping[str, Any]]) -> Iterator[Unfit]:
    optional = sum(len(_optional(schema)) for schema in places.values())
    if optional > MOST_OPTIONAL:
        message = f"has {optional:,} properties that are not required; the API takes {MOST_OPTIONAL}"
        yield Unfit("", message, "list more of them in required")
    unions = sum("anyOf" in schema or isinstance(schema.get("type"), list) for schema in places.values())
    if unions > MOST_UNIONS:
        message = f"has {unions:,} values of several types (anyOf, or a list of types); the API takes {MOST_UNIONS}"
        yield Unfit("", message, "give more of them one type")


def _optional(schema: Mapping[str, Any]) -> set[str]:
    properties, required = schema.get("properties"), schema.get("required")
    return set(properties if isinstance(properties, Mapping) else ()) - {
        name for name in (required if isinstance(required, list) else ()) if isinstance(name, str)
    }


def is_object(schema: Mapping[str, Any]) -> bool:
    """True if the values of *schema* may be objects, as far as it says so itself."""
    return "object" in types_of(schema) or "properties" in schema


def types_of(schema: Mapping[str, Any]) -> list[Any]:
    """The types that *schema* names: none, one or several."""
    named = schema.get("type", [])
    return named if isinstance(named, list) else [named]
