"""Python objects as JSON text: as the API's SDK encodes them, or why they have no JSON form.

Owns which types are accepted. Nothing is guessed: a value that JSON cannot express exactly is refused, with its place
in the request. Source of the rules: `anthropic/_utils/_prepare.py` and `_json.py` (SDK 2.14, read 2026-11-28).
"""

from __future__ import annotations

import base64
import io
import math
import stat
from collections import UserString
from collections.abc import Callable, Iterator, Mapping, MappingView, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from orchestrator.domain.limits import MAX_INPUT_LINE_BYTES

_REMEDY: Final = "hand over dicts, lists, strings, numbers, True, False and None"
_READ_BYTES: Final = 1 << 20
_MOST_WORDS: Final = 300
#: `dtype.kind` of numpy's truth values, integers and floats. Source: numpy's reference, `numpy.dtype.kind`.
_NUMERIC_KINDS: Final = frozenset("biuf")

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


class NotJsonError(ValueError):
    """*field* of a request, such as "params.messages[0].content", has no JSON form; *remedy*: what to do."""

    def __init__(self, field: str, message: str, remedy: str = _REMEDY) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.remedy = remedy


class _File(Protocol):
    def read(self, size: int, /) -> object: ...


def encode_json(value: object) -> bytes:
    """*value* as compact JSON. Raises Unwritable.

    Iterators are used up and files are read to their end. The fast path encodes in C and reads the text back: if that
    is the same value, it is right. Otherwise the value is converted part by part.
    """
    with suppress(Exception):  # of whatever objects are in it: the patient way says where and why
        line = _encode(value)
        if _decode(line) == value:
            return line
    try:
        return _encode(_plain(value, ""))
    except RecursionError:
        raise NotJsonError("", "is nested too deeply, or contains itself") from None


def _plain(value: object, at: str) -> object:
    """*value* in types that mean the same in JSON. at: its place in the request."""
    try:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str | int | float | Decimal):
            return _scalar(value, at)
        if isinstance(value, Mapping):
            return _mapping(value, at)
        _refuse_special(value, at)
        if isinstance(value, Sequence | AbstractSet | MappingView | Iterator):
            return _items(value, at)
        return _plain(_converted(value, at), at)
    except (NotJsonError, RecursionError, MemoryError):
        raise
    except Exception as exc:  # what the object's own code raises; its caller is told where
        raise NotJsonError(at, f"is {_kind(value)}, which cannot be read: {_said(exc)}", "mend the object") from exc


def _refuse_special(value: object, at: str) -> None:
    """Refuse what would be iterated by mistake: bytes into numbers, a file into lines."""
    if isinstance(value, bytes | bytearray | memoryview | UserString):
        raise NotJsonError(at, f"is {_kind(value)}, which is no JSON", "decode it: bytes stand for base64 data only")
    if _is_file(value):
        remedy = 'read it yourself, or put it where {"type": "base64", "data": …} has its data'
        raise NotJsonError(at, f"is {_kind(value)}: a file stands for base64 data only", remedy)


def _converted(value: object, at: str) -> object:
    """The plain form of a model, a date or a number of numpy."""
    dump: Callable[..., object] | None = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        return _dumped(value, dump, at)
    if isinstance(value, date):
        return _date(value, at)
    number = _numpy_number(value)
    if number is None:
        raise _formless(value, at)
    return number


def _scalar(value: str | float | Decimal, at: str) -> object:
    """The plain form of text and numbers, also of subclasses; a Decimal keeps every digit."""
    if isinstance(value, str):
        text = str.__str__(value)
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise NotJsonError(
                at, "has half a surrogate pair, which is not a character", "remove it, or decode it rightly"
            )
        return text
    if isinstance(value, int):
        return _integer(int(value), at)
    if not (value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)):
        raise NotJsonError(at, f"is {value}; NaN and infinity are not JSON numbers", "leave it out, or give a number")
    return msgspec.Raw(str(value).encode()) if isinstance(value, Decimal) else float(value)


def _integer(value: int, at: str) -> int:
    """Refuse an integer with more digits than Python writes (`sys.set_int_max_str_digits`)."""
    try:
        _encode(value)
    except (ValueError, OverflowError):
        raise NotJsonError(at, "is an integer with too many digits", "send it as a string") from None
    return value


def _mapping(value: Mapping[Any, object], at: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, inner in value.items():
        if not isinstance(key, str):
            raise NotJsonError(at, f"has the key {key!r}, which is no string", "write keys as strings")
        if _is_left_out(inner):
            continue
        place = f"{at}.{key}" if at else key
        is_data = key == "data" and value.get("type") == "base64"
        found[str(_scalar(key, at))] = _base64(inner, place) if is_data else _plain(inner, place)
    return found


def _items(value: Any, at: str) -> list[object]:  # noqa: ANN401 - what can be iterated
    items = [_plain(inner, f"{at}[{place}]") for place, inner in enumerate(value)]
    # A set has no order of its own: without one the same requests would be another job in every process.
    return (
        sorted(items, key=_encode) if isinstance(value, AbstractSet) and not isinstance(value, MappingView) else items
    )


def _dumped(value: object, dump: Callable[..., object], at: str) -> object:
    """A model as the SDK sends it: only fields that were set, under the API's names."""
    try:
        return dump(mode="json", by_alias=True, exclude_unset=True, exclude=getattr(value, "__api_exclude__", None))
    except (RecursionError, MemoryError):
        raise
    except Exception as exc:  # the model's own code: whatever it raises
        raise NotJsonError(at, f"is {_kind(value)}, whose model_dump failed: {_said(exc)}") from exc


def _date(value: date, at: str) -> str:
    if value != value:  # noqa: PLR0124 - so a missing time of pandas (NaT) is told
        raise NotJsonError(at, f"is {value}, a missing time", "leave it out, or write the time as text")
    return value.isoformat()


def _base64(value: object, at: str) -> object:
    """The data of a base64 source: a file's whole content, or bytes; text is base64 already."""
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    if not _is_file(value):
        return _plain(value, at)
    try:
        content = _content(value, at)
    except (OSError, ValueError) as exc:
        if isinstance(exc, NotJsonError):
            raise
        why = (exc.strerror if isinstance(exc, OSError) else None) or str(exc) or type(exc).__name__
        raise NotJsonError(at, f"cannot be read: {why}", "check the file") from exc
    if not content:
        raise NotJsonError(at, "is a file with nothing to read", "open it anew, or seek(0), if it was read before")
    return base64.b64encode(content).decode("ascii")


def _content(value: object, at: str) -> bytes:
    if isinstance(value, Path):
        if not stat.S_ISREG(value.stat().st_mode):  # a pipe would be waited for
            raise NotJsonError(at, f"is {str(value)!r}, which is not a file", "name a file")
        with value.open("rb") as file:
            return _read(file, at)
    if callable(getattr(value, "read", None)):
        return _read(value, at)  # type: ignore[arg-type]  # it has a `read`: what that gives is looked at
    raise NotJsonError(at, f"is {_kind(value)}; of paths only pathlib.Path is read", "hand over a pathlib.Path")


def _read(file: _File, at: str) -> bytes:
    """The rest of *file*, text as UTF-8; at most as much as a request can hold."""
    content = bytearray()
    while piece := file.read(_READ_BYTES):
        if not isinstance(piece, str | bytes):
            raise NotJsonError(at, f"is {_kind(file)}, whose read() gives no bytes", "hand over an open file")
        content += piece.encode() if isinstance(piece, str) else piece
        if len(content) > MAX_INPUT_LINE_BYTES:
            raise NotJsonError(at, f"is a file of more than {MAX_INPUT_LINE_BYTES:,} bytes", "send a smaller one")
    return bytes(content)


def _is_file(value: object) -> bool:
    return isinstance(value, io.IOBase) or hasattr(value, "__fspath__") or callable(getattr(value, "read", None))


def _is_left_out(value: object) -> bool:
    """True for the SDK's "not given" (NotGiven, Omit), recognised without importing it."""
    kind = type(value)
    return kind.__name__ in {"NotGiven", "Omit"} and kind.__module__.partition(".")[0] == "anthropic"


def _numpy_number(value: object) -> bool | int | float | None:
    """The plain value of a numpy scalar (bool, integer or float), recognised without importing numpy."""
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    item: Callable[[], object] | None = getattr(value, "item", None)
    if kind not in _NUMERIC_KINDS or getattr(value, "shape", None) != () or item is None:
        return None
    found = item()
    return found if isinstance(found, bool | int | float) and type(found) is not type(value) else None


def _formless(value: object, at: str) -> NotJsonError:
    kind = _kind(value)
    remedies = {
        "dataclass": "hand over dataclasses.asdict(x)",
        "enum": "hand over its .value",
    }
    sort = "dataclass" if hasattr(value, "__dataclass_fields__") else "enum" if hasattr(value, "_value_") else ""
    return NotJsonError(at, f"is {kind}, which has no JSON form", remedies.get(sort, _REMEDY))


def _said(exc: Exception) -> str:
    """The text of an error of foreign code, if it can be had."""
    try:
        words = str(exc)[:_MOST_WORDS]
    except Exception:  # noqa: BLE001 - as above
        words = ""
    return f"{type(exc).__name__}: {words}" if words else type(exc).__name__


def _kind(value: object) -> str:
    name = value.__name__ if isinstance(value, type) else type(value).__name__
    if isinstance(value, type):
        return f"the class {name}"
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
