"""`AnswerSchema`: what the answers of a job look like, as JSON Schema; asked for by the API, and checked here.

The API promises the schema of an answer that ended by itself. One that was cut at `max_tokens`, or refused, may be
anything; and a text of an `enum` may differ in case, which is put right here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.domain.errors import UsageError
from orchestrator.domain.humanize import plain
from orchestrator.domain.json_text import UNREADABLE, kind_of, why_unreadable
from orchestrator.domain.schema_limits import Unfit, escaped, types_of, unfit_parts
from orchestrator.domain.schema_words import schema_of_words

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator

#: Every request has the whole schema: one of this size has data in it.
MOST_BYTES: Final = 64 << 10
_SHOWN_CHARS: Final = 60
_SHOWN_PROBLEMS: Final = 10
_MOST_ERRORS: Final = 1_000
_GUIDE: Final = "a guide is at https://json-schema.org/understanding-json-schema"
_MASK: Final = "\ufffc"
_decode: Final = msgspec.json.Decoder().decode
_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode
#: What begins a text, and what texts may be in.
_MENDED: Final = (b'"', b"[", b"{")


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """A schema. text: its JSON, compact, the very text that is sent and stored.

    That of a job is made of its text, and not judged again (`of_job`); `read` and its like judge.
    """

    text: str

    @classmethod
    def of_job(cls, text: str | None) -> AnswerSchema | None:
        """The schema of a job that has *text* for it; None: its answers are what they like."""
        return None if text is None else cls(text)

    @classmethod
    def read(cls, text: str) -> AnswerSchema:
        """The schema that *text* is: JSON if it begins with a brace, else a few words. Raises UsageError."""
        return cls.from_text(text) if text.lstrip()[:1] == "{" else cls.from_dsl(text)

    @classmethod
    def from_text(cls, json: str | bytes) -> AnswerSchema:
        """The schema in *json*, as it is. Raises UsageError for one that is none, or that the API would refuse."""
        raw = json.encode("utf-8", "surrogatepass") if isinstance(json, str) else json
        try:
            schema = _decode(raw)
        except UNREADABLE as exc:
            hint = "a schema is a JSON object, or a few words: 'label, score float, why?'"
            raise UsageError(f"the schema {why_unreadable(raw, exc)}", hint=hint) from exc
        if not isinstance(schema, dict):
            raise UsageError(f"the schema is {kind_of(raw.strip())}", hint="a schema is a JSON object")
        return cls(_judged(msgspec.json.format(raw, indent=-1).decode(), schema))

    @classmethod
    def from_dsl(cls, text: str) -> AnswerSchema:
        """The schema of `label, score float, why?`: an object of exactly these fields. Raises UsageError."""
        schema = schema_of_words(text)
        return cls(_judged(msgspec.json.encode(schema).decode(), schema))

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the answer's members, in order; none if an answer is no object."""
        return tuple(_properties(self.text))

    @property
    def field_types(self) -> dict[str, str | None]:
        """By field its one type of JSON Schema, apart from null; None where it has another, several, or none."""
        return {name: _plain_type(schema) for name, schema in _properties(self.text).items()}

    @property
    def format(self) -> dict[str, Any]:
        """What asks the API for it, as the value of `output_config.format`."""
        return {"type": "json_schema", "schema": msgspec.Raw(self.text.encode())}

    def problem(self, answer_text: str) -> str | None:
        """Why the text of an answer does not fit, as a short sentence with the JSON pointer; None if it does."""
        return self._read(answer_text)[1]

    def parsed(self, answer_text: str) -> Any:  # noqa: ANN401 - whatever the schema says
        """The value of an answer that fits, its enums written as in the schema; None for one that does not."""
        return self._read(answer_text)[0]

    def members(self, answer_text: str) -> dict[str, msgspec.Raw] | None:
        """The members of an answer that fits, each as JSON; None for one that does not, or is no object."""
        value = self.parsed(answer_text)
        if not isinstance(value, dict):
            return None
        written = _decode_members(answer_text.encode())
        # Numbers keep their digits; texts may have been put right.
        return {
            name: text if bytes(text)[:1] not in _MENDED else msgspec.Raw(_encode(value[name]))
            for name, text in written.items()
        }

    def _read(self, answer_text: str) -> tuple[Any, str | None]:
        raw = answer_text.encode("utf-8", "surrogatepass")
        try:
            value = _decode(raw)
        except UNREADABLE as exc:
            why = why_unreadable(raw, exc)
            return None, f"not JSON: {why.removeprefix('is not valid JSON: ')}"
        validator = _validator(self.text)
        if validator.is_valid(value):
            return value, None
        errors = list(islice(validator.iter_errors(value), _MOST_ERRORS))
        mended = _with_case_of_schema(value, errors)
        if validator.is_valid(mended):
            return mended, None
        return None, _told(next(validator.iter_errors(mended)))


def _judged(text: str, schema: Mapping[str, Any]) -> str:
    """*text*, which is that of *schema*. Raises UsageError for what the API would refuse, with every place of it."""
    if len(text.encode()) > MOST_BYTES:
        raise UsageError(f"the schema is larger than {MOST_BYTES >> 10} KiB", hint="is it a schema?")
    found = list(islice(unfit_parts(schema), _SHOWN_PROBLEMS)) or _of_compiling(text)
    if not found:
        return text
    first, *more = found
    cause = "\n".join(f"and {_sentence(each)}" for each in more) or None
    raise UsageError(_sentence(first), cause=cause, hint=first.remedy)


def _sentence(found: Unfit) -> str:
    return plain(f"{found.pointer} of the schema {found.message}" if found.pointer else f"the schema {found.message}")


@lru_cache(maxsize=64)
def _validator(text: str) -> Validator:
    """What checks answers. It fetches nothing, and its patterns take linear time."""
    import jsonschema_rs

    return jsonschema_rs.validator_for(
        _decode(text), offline=True, validate_formats=False, pattern_options=jsonschema_rs.RegexOptions(), mask=_MASK
    )


def _of_compiling(text: str) -> list[Unfit]:
    """What is wrong with a schema by the rules of JSON Schema itself."""
    from jsonschema_rs import ValidationError

    try:
        _validator(text)
    except ValidationError as exc:
        return [Unfit(_pointer(exc), f"is wrong: {_message(exc)}", _GUIDE)]
    except ValueError:
        return [Unfit("", "is nested too deeply", "write it flatter")]
    return []


@lru_cache(maxsize=64)
def _properties(text: str) -> Mapping[str, Any]:
    """The properties of the outermost object."""
    schema = whole = _decode(text)
    for _ in range(_SHOWN_PROBLEMS):  # a reference may lead to one
        written = schema.get("$ref")
        if not isinstance(written, str):
            break
        schema = _at(whole, written.removeprefix("#"))
    found = schema.get("properties")
    return MappingProxyType(found if isinstance(found, dict) else {})


def _at(schema: Any, pointer: str) -> dict[str, Any]:  # noqa: ANN401 - any part of a schema
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        schema = schema.get(name) if isinstance(schema, dict) else None
    return schema if isinstance(schema, dict) else {}


def _plain_type(schema: object) -> str | None:
    if not isinstance(schema, dict):
        return None
    named = [each for each in types_of(schema) if each != "null"]
    return named[0] if len(named) == 1 else None


def _with_case_of_schema(value: Any, errors: list[ValidationError]) -> Any:  # noqa: ANN401 - any JSON
    """*value* with each text that differs from one of its enum in case alone as the schema writes it."""
    for error in _with_branches(errors):
        told = error.kind.as_dict()
        options = told.get("options", [told["expected_value"]] if "expected_value" in told else [])
        given = error.instance
        if not isinstance(given, str):
            continue
        alike = [each for each in options if isinstance(each, str) and each.casefold() == given.casefold()]
        if len(alike) == 1:
            value = _replaced(value, error.instance_path, alike[0])
    return value


def _with_branches(errors: list[ValidationError]) -> Iterator[ValidationError]:
    """*errors*, and those of the branches of an anyOf."""
    waiting = list(errors)
    while waiting:
        error = waiting.pop()
        yield error
        for branch in error.kind.as_dict().get("context", []):
            waiting.extend(branch)


def _replaced(value: Any, path: list[str | int], text: str) -> Any:  # noqa: ANN401 - any JSON
    if not path:
        return text
    inner = value
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = text
    return value


def _told(error: ValidationError) -> str:
    place = _pointer(error)
    return plain(f"{place}: {_message(error)}" if place else _message(error))


def _message(error: ValidationError) -> str:
    shown = msgspec.json.encode(error.instance).decode()
    return error.message.replace(_MASK, shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}…")


def _pointer(error: ValidationError) -> str:
    return "".join(f"/{escaped(step)}" for step in error.instance_path)
