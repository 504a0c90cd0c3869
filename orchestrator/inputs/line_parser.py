"""Parses one line of the input: a request that may be stored, or its problems, field by field."""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.domain import humanize
from orchestrator.domain.json_text import UNREADABLE, is_utf8, kind_of, one_line, why_unreadable
from orchestrator.domain.limits import LARGE_LINE_BYTES
from orchestrator.domain.param_problem import ParamProblem
from orchestrator.domain.params import ParamRules, problems_in
from orchestrator.ports.streams import KEPT_RAW_BYTES, InputLine, InputProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


SHAPE: Final = '{"custom_id": "…", "params": {…}}'
_CONVERT: Final = "`orchestrator convert FILE -m MODEL -o requests.jsonl` makes requests of such lines"
_ONE_PER_LINE: Final = "write each request as one line of JSON; jq -c . in.json > out.jsonl does it"
_NUMBERED: Final = (
    "give every request one of its own, such as its number: "
    "jq -c '{custom_id: \"row-\\(input_line_number)\"} + .' in.jsonl > out.jsonl"
)
_PARAMS_KEYS: Final = frozenset({"model", "max_tokens", "messages", "system", "tools", "temperature", "thinking"})

#: `{"custom_id":"","params":}`: what a line holds besides its id and its params, and the least that a second
#: `,"params":0` would add. A line with less to spare cannot say a key twice.
_FRAME_BYTES: Final = 26
_LEAST_DUPLICATE_BYTES: Final = 11
#: `,"row":`, and a second `,"row":0`.
_ROW_FRAME_BYTES: Final = 7
_LEAST_SECOND_ROW_BYTES: Final = 8
_KEYS: Final = ("custom_id", "params", "row")
_ROW_SHAPE: Final = 'write it as an object of columns, such as "row": {"id": 7}, or leave it out'
_NO_ROW: Final = msgspec.Raw()

#: A line may have any number of keys, each of them a problem.
_MOST_PROBLEMS: Final = 20
_SPACE: Final = b" \t\r\n"


class _Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    custom_id: str
    params: msgspec.Raw
    row: msgspec.Raw = _NO_ROW


class _NumberedEnvelope(msgspec.Struct, gc=False):
    custom_id: msgspec.Raw
    params: msgspec.Raw
    row: msgspec.Raw = _NO_ROW


class NumericIds:
    """The lines whose custom_id was a number, which were taken with its text."""

    def __init__(self) -> None:
        self._lines = 0
        self._first = 0

    def note(self, line: int) -> None:
        """One more."""
        self._first = line if self._lines == 0 else self._first
        self._lines += 1

    @property
    def notices(self) -> list[str]:
        """What is said of them, all at once."""
        if not self._lines:
            return []
        where = f"of {humanize.count(self._lines, 'request')}, from line {self._first:,}"
        return [f"the custom_id {where}, is a number, and was taken as text: results come back with it in quotes"]


_INTEGER: Final = re.compile(rb"-?[0-9]{1,64}")
_envelope: Final = msgspec.json.Decoder(_Envelope)
_numbered: Final = msgspec.json.Decoder(_NumberedEnvelope)


class _Named(msgspec.Struct, forbid_unknown_fields=True):
    custom_id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    row: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_OTHER_KEY: Final = re.compile(r"unknown field `(.*)`", re.DOTALL)
_named: Final = msgspec.json.Decoder(_Named)
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text: Final = msgspec.json.Decoder(str)


def read_line(
    line: bytes, number: int, rules: ParamRules, numeric: NumericIds | None = None
) -> InputLine | list[InputProblem]:
    """The request in *line* (the *number*-th, not blank, without its newline), or all of its problems.

    Never raises on bad input. The params and the row are the very bytes of the line; a row that has line feeds is
    put into one. An integer as custom_id is taken as its text, and noted in *numeric*; None: it is refused.
    """
    try:
        envelope = _envelope.decode(line)
    except UNREADABLE:
        found = _explain(line, number, rules, takes_numbers=numeric is not None)
        if numeric is not None and isinstance(found, InputLine):  # nothing else is taken that does not decode
            numeric.note(number)
        return found
    params, custom_id, row = bytes(envelope.params), envelope.custom_id, b""
    room = _FRAME_BYTES + _LEAST_DUPLICATE_BYTES
    if envelope.row is not _NO_ROW:
        row = bytes(envelope.row)
        if row[:1] != b"{":
            return _explain(line, number, rules)
        room = _FRAME_BYTES + _ROW_FRAME_BYTES + len(row) + _LEAST_SECOND_ROW_BYTES
    if (
        len(line) - len(params) - len(custom_id) < room
        and custom_id
        and "\0" not in custom_id
        and (line.isascii() or is_utf8(line))
        and not problems_in(params, rules)
    ):
        return InputLine(number, custom_id, params, one_line(row))
    return _explain(line, number, rules)


def _explain(
    line: bytes, number: int, rules: ParamRules, *, takes_numbers: bool = False
) -> InputLine | list[InputProblem]:
    """The slow path: finds every problem, and still accepts a line that only looked odd."""
    raw = line[:KEPT_RAW_BYTES]
    found_in = _problems(line, rules, takes_numbers=takes_numbers)
    problems = [InputProblem.of(found, number, raw) for found in islice(found_in, _MOST_PROBLEMS)]
    if problems:
        return problems
    envelope = _numbered.decode(line)
    custom_id = bytes(envelope.custom_id)
    text = _text.decode(custom_id) if custom_id.startswith(b'"') else custom_id.decode()
    return InputLine(number, text, bytes(envelope.params), one_line(bytes(envelope.row)))


def _no_object(line: bytes) -> ParamProblem:
    """The problem of a line that does not begin as an object."""
    try:
        msgspec.json.decode(line)
    except UNREADABLE as exc:  # a line of CSV may begin with a number, and is none for that
        return ParamProblem("", why_unreadable(line, exc), _ONE_PER_LINE)
    return ParamProblem("", f"must be an object, not {kind_of(line.lstrip())}", f"write {SHAPE}")


def _problems(line: bytes, rules: ParamRules, *, takes_numbers: bool) -> Iterator[ParamProblem]:
    if not is_utf8(line):
        yield ParamProblem("", "is not valid UTF-8", "save the file as UTF-8")
        return
    if b"\0" in line:
        yield ParamProblem("", f"has a NUL byte (byte {line.index(0) + 1})", "remove it, or save the file as UTF-8")
        return
    try:
        fields = _fields_of(line)
    except _OtherKey as exc:
        yield from _key_problems(line, {str(exc): b""})
        return
    except msgspec.ValidationError:
        yield _no_object(line)
        return
    except UNREADABLE as exc:
        yield ParamProblem("", why_unreadable(line, exc), _ONE_PER_LINE)
        return
    yield from _key_problems(line, fields)
    if "requests" in fields or _foreign(fields):
        return
    yield from _custom_id_problems(fields.get("custom_id"), takes_numbers=takes_numbers)
    if "params" in fields:
        yield from problems_in(fields["params"], rules)
    else:
        yield ParamProblem("params", "is missing", f"write {SHAPE}")
    if "row" in fields and kind_of(fields["row"]) != "an object":
        yield ParamProblem("row", f"must be an object, not {kind_of(fields['row'])}", _ROW_SHAPE)


class _OtherKey(ValueError):
    """The first key of a large line that a request does not have."""


def _fields_of(line: bytes) -> dict[str, bytes]:
    """The members of a line. Of a large line only those of a request: it may have millions of others.

    Raises what decoding raises, and _OtherKey for another member of a large line.
    """
    if len(line) <= LARGE_LINE_BYTES or line.lstrip()[:1] != b"{":
        return {key: bytes(value) for key, value in _fields.decode(line).items()}
    try:
        named = _named.decode(line)
    except msgspec.ValidationError as exc:
        other = _OTHER_KEY.search(str(exc))
        raise _OtherKey("" if other is None else other[1]) from exc
    members = {"custom_id": named.custom_id, "params": named.params, "row": named.row}
    return {key: bytes(value) for key, value in members.items() if value is not msgspec.UNSET}


def _key_problems(line: bytes, fields: Mapping[str, bytes]) -> Iterator[ParamProblem]:
    if foreign := _foreign(fields):
        yield ParamProblem("", foreign, _CONVERT, is_alike=True)
    elif "requests" in fields:
        yield ParamProblem(
            "requests", "is the body of a create call, not one request", "jq -c '.requests[]' in.json > out.jsonl"
        )
    else:
        for key in sorted(fields.keys() - set(_KEYS)):
            remedy = "put it inside params" if key in _PARAMS_KEYS else f"remove it; a line is {SHAPE}"
            yield ParamProblem(_shown(key), "is not a key of a request", remedy)
    for key in _KEYS:
        if key in fields and _says_twice(line, key, fields):
            yield ParamProblem(key, "is there more than once in this line", "keep one of them")


def _foreign(fields: Mapping[str, bytes]) -> str | None:
    """What a line is that was written for another API; of a large line only one key is known."""
    if "params" in fields:
        return None
    if "body" in fields or fields.keys() == {"method"} or fields.keys() == {"url"}:
        return "is in OpenAI's batch format (method, url, body)"
    return "is a chat row (messages), not a request" if "messages" in fields else None


def _says_twice(line: bytes, key: str, fields: Mapping[str, bytes]) -> bool:
    """True if *key* is repeated: a decoder would silently use the last. Parses only lines with room for a repeat."""
    has_row = "row" in fields
    spare = len(line) - sum(len(value) for value in fields.values()) - (_FRAME_BYTES - len('""'))
    spare -= _ROW_FRAME_BYTES * has_row
    if spare < (_LEAST_SECOND_ROW_BYTES if has_row else _LEAST_DUPLICATE_BYTES):
        return False
    rest = line  # only the keys around the objects matter; one may hold the other
    for value in sorted((fields.get("params", b""), fields.get("row", b"")), key=len, reverse=True):
        rest = rest.replace(value, b"0") if value.startswith(b"{") else rest
    if len(rest) > LARGE_LINE_BYTES:  # it has nothing but these, and white space
        own = len(fields.get("custom_id", b"").translate(None, _SPACE))
        most = _FRAME_BYTES + _LEAST_SECOND_ROW_BYTES * has_row
        return len(rest.translate(None, _SPACE)) - own > most
    try:
        keys = json.loads(rest, object_pairs_hook=_keys, parse_int=str, parse_float=str)
    except RecursionError:
        return True  # without these only a second value can be that deep
    return bool(keys.count(key) > 1)


def _keys(pairs: list[tuple[str, object]]) -> list[str]:
    return [key for key, _ in pairs]


def _custom_id_problems(value: bytes | None, *, takes_numbers: bool) -> Iterator[ParamProblem]:
    if value is None:
        yield ParamProblem("custom_id", "is missing", _NUMBERED)
    elif takes_numbers and _INTEGER.fullmatch(value):
        return
    elif kind_of(value) != "a string":
        yield ParamProblem(
            "custom_id", f"must be a string, not {kind_of(value)}", 'write it in quotes, such as "custom_id": "42"'
        )
    elif value == b'""':
        yield ParamProblem("custom_id", "is empty", "give every request a custom_id of its own")
    elif "\0" in _text.decode(value):
        yield ParamProblem("custom_id", "has a NUL character", "remove it")


def _shown(key: str) -> str:
    return key if len(key) <= 64 and key.isprintable() else ascii(key[:64])
