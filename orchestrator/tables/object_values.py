"""A program's own rows as JSON objects: what the frames and records of Python hold, and what has no form there.

By the rules of a Parquet file: NaN, NaT, NA and infinities are null; times are ISO 8601, decimals text, bytes base64.
Nothing that was handed in is changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.tables.table import TableRow, row_problem

if TYPE_CHECKING:
    from orchestrator.ports.streams import InputProblem

_VALUES: Final = "text, numbers, times, bytes, lists and mappings have one: convert it, or leave the column out"
_OBJECT: Final = 'hand over mappings such as {"column": "value"}'
#: The values of pandas that stand for nothing.
_NOTHING: Final = frozenset({"NaTType", "NAType"})
#: How a time, a model of pydantic, a series, a scalar of Arrow says what it is.
_CONVERT: Final = ("isoformat", "model_dump", "to_list", "as_py")
#: What a class of somebody's own is made a plain value by.
_BASES: Final[tuple[tuple[type, Callable[[Any], object]], ...]] = (
    (os.PathLike, str),
    (str, str.__str__),
    (int, int),
    (float, float),
    (Mapping, dict),
    (Sequence, list),
)


def row_of(item: object, number: int) -> TableRow | InputProblem:
    """*item*, a mapping or what gives one, as row *number*; or the problem that it is none, or of its first column."""
    columns: Mapping[Any, object] | None = {}
    try:
        columns = _columns(item)
        if columns is None:
            return row_problem(number, "", f"is of type {type(item).__name__}, which is no row", _OBJECT, b"")
        odd = next((name for name in columns if not isinstance(name, str)), None)
        if odd is not None:
            remedy = "give the columns names that are text: df.columns = df.columns.map(str)"
            return row_problem(number, "", f"has a column called {odd!r:.80}, which is no text", remedy, b"")
        raw = _encode(columns)
        return TableRow(number, _decode(raw), raw)
    except RecursionError:
        return row_problem(number, "", "is nested too deeply, or contains itself", "make it flat", b"")
    except MemoryError:
        raise
    except Exception as exc:  # noqa: BLE001 - of the program's own objects: the column is looked for
        return _of_column(columns or {}, number, exc)


def _of_column(columns: Mapping[str, object], number: int, failed: Exception) -> InputProblem:
    """The problem of the first column that has no form in JSON."""
    for name, value in columns.items():
        try:
            _encode(value)
        except Exception as exc:  # noqa: BLE001 - as above
            return row_problem(number, name, _said(value, exc), _VALUES, b"")
    return row_problem(number, "", f"cannot be read: {failed}"[:300], _OBJECT, b"")


def _said(value: object, exc: Exception) -> str:
    if isinstance(exc, UnicodeEncodeError):
        return "has half a surrogate pair, which is not a character"
    inner = f" ({exc.args[0]} in it)" if isinstance(exc, _Formless) and exc.args[0] != type(value).__name__ else ""
    return f"is of type {type(value).__name__}{inner}, which has no form in JSON"


def _columns(item: object) -> Mapping[Any, object] | None:
    """The columns of a mapping, of a record of a database, or of a pydantic model; None if it is none of them."""
    if isinstance(item, Mapping):
        found: Mapping[Any, object] = item if type(item) is dict else dict(item)
    elif not isinstance(item, type) and callable(getattr(item, "model_dump", None)):
        found = dict(item.model_dump(mode="json"))  # type: ignore[attr-defined]  # pydantic is not imported for its type
    elif not isinstance(item, type) and callable(getattr(item, "keys", None)) and hasattr(item, "__getitem__"):
        found = dict(item)  # type: ignore[call-overload]  # as `sqlite3.Row` and its like are taken
    else:
        return None
    if any(isinstance(value, set | frozenset) for value in found.values()):
        # A set has no order of its own: without one the same rows would be another job in every process.
        return {key: _sorted(value) if isinstance(value, set | frozenset) else value for key, value in found.items()}
    return found


def _sorted(values: Iterable[object]) -> list[object]:
    return sorted(values, key=_encode)


class _Formless(TypeError):
    """A value of the type that is named has no form in JSON."""


def _form(value: Any) -> object:  # noqa: ANN401 - whatever a program has in its rows
    """The plain form of what msgspec does not know. Raises _Formless."""
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    if library == "pandas" and kind.__name__ in _NOTHING:
        return None
    if library == "numpy":
        return _of_numpy(value)
    for name in _CONVERT:
        convert: Callable[[], object] | None = getattr(value, name, None)
        if callable(convert) and not isinstance(value, type):
            return convert()
    if library == "pandas":  # a period, an interval
        return str(value)
    for base, plain in _BASES:
        if isinstance(value, base):
            return plain(value)
    raise _Formless(value.__name__ if isinstance(value, type) else kind.__name__)


def _of_numpy(value: Any) -> object:  # noqa: ANN401 - a scalar or an array of numpy, which is not imported
    if value.dtype.kind in "Mm":  # in nanoseconds these would become numbers
        texts = value.astype(str).tolist()
        return _without_nat(texts)
    if value.dtype.kind in "biufUSO":
        return value.tolist()
    raise _Formless(type(value).__name__)


def _without_nat(texts: Any) -> object:  # noqa: ANN401 - a text, or lists of texts
    if isinstance(texts, list):
        return [_without_nat(each) for each in texts]
    return None if texts == "NaT" else texts


_encode: Final = msgspec.json.Encoder(enc_hook=_form).encode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
