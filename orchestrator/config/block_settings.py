"""Settings that are lists of tables: `[[webhooks]]`, `[[tokens]]`. Read from files alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from orchestrator.config.setting import REFUSED, Key, Meaning
from orchestrator.config.values import SettingOrigin, ValueKind, toml_text
from orchestrator.domain.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlace:
    """The block of that number, for messages."""

    name: str
    number: int
    source: SettingOrigin

    def refuse(self, what: str, hint: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(f"{self.source.label}: [[{self.name}]] number {self.number} {what}", hint=hint) from None


def blocks_key(name: str, read: Callable[[object, SettingOrigin], object]) -> Key:
    """The setting of the blocks *name*. read: raises UsageError itself, for it knows more than a kind of value does."""
    kind = ValueKind(expected=f"tables [[{name}]]", read=read)
    return Key(section=name, key="", default=(), meaning=Meaning(kind=kind, means="", project=REFUSED))


def example_block(name: str, fields: Mapping[str, Meaning]) -> Iterator[str]:
    """A block in the example file, commented out twice: there is no default to restore."""
    yield f"# [[{name}]]"
    for key, meaning in fields.items():
        yield from (f"# # {line}" for line in meaning.means.split("\n"))
        yield f"# {key} = {meaning.example or toml_text(False)}"


def read_blocks(
    name: str, raw: object, fields: Mapping[str, Meaning], source: SettingOrigin
) -> Iterator[tuple[BlockPlace, dict[str, object]]]:
    """The blocks called *name*, each key of *fields* read by its kind. Raises UsageError."""
    if not isinstance(raw, list) or not all(isinstance(table, Mapping) for table in raw):
        raise UsageError(f"{source.label}: {name} is a list of tables", hint=f"write [[{name}]], with two brackets")
    for number, table in enumerate(raw, start=1):
        place = BlockPlace(name=name, number=number, source=source)
        yield place, {key: _read(key, value, fields, place) for key, value in table.items()}


def _read(key: str, value: object, fields: Mapping[str, Meaning], place: BlockPlace) -> object:
    meaning = fields.get(key)
    if meaning is None:
        place.refuse(f"has an unknown setting {key}", f"the settings are: {', '.join(fields)}")
    try:
        return meaning.kind.read(value, place.source)
    except ValueError:
        example = meaning.example or "false"
        place.refuse(f"{key}: expected {meaning.kind.expected}", f"write for instance: {key} = {example}")
