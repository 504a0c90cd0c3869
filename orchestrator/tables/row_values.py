"""The values of a row as a template may see them: what is not there is noted, and nothing of Python shows.

The template engine takes what a filter gets, or what stands in a list, for nothing or null if it is not there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    #: Told the path of what is not there, such as `text.y`.
    Note = Callable[[str], None]

#: Functions of the engine; its others are of no use for prompts. A column of the name comes before it.
FUNCTIONS: Final = frozenset({"range", "dict", "namespace"})
#: What an object has beside its members: `row.items()`.
METHODS: Final = frozenset({"items", "keys", "values", "get"})
#: Names that the engine gives a meaning inside of loops, macros and blocks.
_INNER: Final = frozenset({"loop", "caller", "self", "super"})
_TAG: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_STRING: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
#: Where a template asks whether there is a value, or says what stands for it.
_GUARDED: Final = (
    re.compile(r"(\w+)\s*(?:is\s+(?:not\s+)?(?:un)?defined\b|\|\s*(?:default|d)\b)"),
    re.compile(r"['\"]([^'\"]*)['\"]\s*\]\s*(?:is\s+(?:not\s+)?(?:un)?defined\b|\|\s*(?:default|d)\b)"),
    re.compile(r"['\"]([^'\"]*)['\"]\s+(?:not\s+)?in\b"),
    re.compile(r"(?:select|reject)attr\(\s*['\"]([^'\"]*)"),
    re.compile(r"attribute\s*=\s*['\"]([^'\"]*)['\"]\s*,\s*default\b"),
)
_COMPARED: Final = re.compile(r"(?<![\w.])(\w+)(?=\s*[=!]=)|(?<=[=!]=)\s*(\w+)\b(?!\s*\.)")
_LOOP: Final = re.compile(r"\bfor\b[^%]*?\bin\b")
_IN: Final = re.compile(r"\bin\b")


class NamesUsed:
    """What a template uses of a row: *names* as the engine finds them, *paths* the same with their members."""

    def __init__(self, source: str, names: set[str], paths: set[str]) -> None:
        tags = " ".join(_TAG.findall(source))
        bare = _STRING.sub("''", tags)
        guarded = {name for pattern in _GUARDED for name in pattern.findall(tags)}
        functions = {name for name in FUNCTIONS & names if re.search(rf"\b{name}\b(?!\s*\()", bare) is None}
        self.takes_row = "row" in names
        #: The columns that it cannot do without.
        self.columns = names - functions - guarded - _INNER - {"row"}
        #: Members of `row`, likewise.
        self.of_row = {path.split(".")[1] for path in paths if path.startswith("row.")} - guarded - METHODS
        #: The engine compares by itself: nothing tells that this was done.
        self.compared = {name for pair in _COMPARED.findall(bare) for name in pair if name}
        self.guarded = guarded
        #: False where it asks whether something is in an object: nothing tells that from taking it.
        self.has_noted_members = _IN.search(_LOOP.sub("", bare)) is None


class Missing:
    """Stands for a column that is not there, and notes that it was used."""

    def __init__(self, name: str, note: Note) -> None:
        self._name = name
        self._note = note

    def _used(self, *_: object) -> bool:
        self._note(self._name)
        return False

    __bool__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = _used

    @override
    def __str__(self) -> str:
        self._used()
        return ""

    __repr__ = __str__

    def __len__(self) -> int:
        return int(self._used())

    def __iter__(self) -> Iterator[object]:
        self._used()
        return iter(())

    def __getattr__(self, name: str) -> object:
        if not name.startswith("_"):
            self._used()
        raise AttributeError(name)


class _Object(dict[str, Any]):
    """An object of a row; its methods give lists, as views have no form in a text."""

    _path = ""
    _note: Note | None = None

    def __missing__(self, key: object) -> object:
        if self._note is not None:
            self._note(f"{self._path}{key}")
        raise KeyError(key)

    @override
    def keys(self) -> list[str]:  # type: ignore[override]  # for templates alone
        return list(self)

    @override
    def values(self) -> list[Any]:  # type: ignore[override]
        return list(super().values())

    @override
    def items(self) -> list[tuple[str, Any]]:  # type: ignore[override]
        return list(super().items())


class _List(list[Any]):
    """A list of a row, without the methods that one has in Python."""

    @override
    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return super().__getattribute__(name)
        raise AttributeError(name)


def shown(value: object, note: Note | None, path: str = "") -> Any:  # noqa: ANN401 - as JSON has it
    """The JSON *value* for a template; *note* is told which members were missed, with *path* before their names."""
    if isinstance(value, dict):
        found = _Object({key: shown(each, note, f"{path}{key}.") for key, each in value.items()})
        found._path, found._note = path, note  # noqa: SLF001 - a dict has no other place for them
        return found
    if isinstance(value, list):
        return _List([shown(each, note, path) for each in value])
    return value


def all_shown(values: Mapping[str, Any], note: Note | None) -> dict[str, Any]:
    """The columns of a row, each as `shown`."""
    return {
        name: shown(value, note, f"{name}.") if isinstance(value, dict | list) else value
        for name, value in values.items()
    }
