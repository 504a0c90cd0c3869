"""The description of one setting: its kind and meaning, and whether a folder's own file may set it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from orchestrator.config.values import ValueKind

META: Final = "orchestrator.setting"


class FromProject(Enum):
    """Whether `./orchestrator.toml` may set it: that file comes with a folder, which others may have made.

    Every setting must say so, so that nobody forgets to think about it.
    """

    ALLOWED = "allowed"  #: how the work is done
    REFUSED = "refused"  #: where keys, prompts or notices go, who may reach us, what is spent, paid twice or deleted
    INSIDE = "inside"  #: a path: only one in the folder of that file, or below


ALLOWED: Final = FromProject.ALLOWED
REFUSED: Final = FromProject.REFUSED
INSIDE: Final = FromProject.INSIDE
#: What the example file says of the last two.
NOT_HERE: Final = "Not in ./orchestrator.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """The description of a setting, beside its default.

    unset: what applies while a setting without a default is not set, for people. example: a value, as TOML, to show
    where the default shows nothing.
    """

    kind: ValueKind
    means: str
    project: FromProject
    unset: str = ""
    example: str = ""


def means(
    kind: ValueKind, means: str, *, project: FromProject, unset: str = "", example: str = ""
) -> Mapping[str, Meaning]:
    """The `Meaning` of a setting, as metadata of its field."""
    return {META: Meaning(kind=kind, means=means, project=project, unset=unset, example=example)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One setting: `name` is "limits.poll_interval"."""

    section: str
    key: str
    default: object
    meaning: Meaning

    @property
    def name(self) -> str:
        """Section and key, with a dot between them; the section alone where it is one setting."""
        return f"{self.section}.{self.key}" if self.key else self.section
