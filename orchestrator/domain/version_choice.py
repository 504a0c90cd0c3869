"""Which version of the API a job is sent with, where nobody chose it.

A later version takes less than the one before it, and nothing more (migration guide of 2026-10-21), so the requests of
a job never need different versions: all of them go with the newest, or, if one of them needs it, with the older.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from orchestrator.domain.api_versions import NEWEST_API_VERSION, OLD_API_VERSION
from orchestrator.domain.version_rules import version_needs


class VersionChoice:
    """The version that the requests of a job are sent with: the newest, or the one that some of them need."""

    def __init__(self) -> None:
        self._needs: Counter[str] = Counter()

    def add_all(self, params: Iterable[bytes]) -> None:
        """Look at requests, which intake has checked, as they pass."""
        for each in params:
            self._needs.update(version_needs(each))

    @property
    def version(self) -> str:
        """The version for all that was added."""
        return OLD_API_VERSION if self._needs else NEWEST_API_VERSION

    @property
    def reason(self) -> str | None:
        """Why it is not the newest: `120 requests set temperature, 3 set top_p`; None: it is."""
        if not self._needs:
            return None
        (first, most), *others = self._needs.most_common()
        told = [f"{most:,} request{'s' * (most != 1)} {_verb(first, most)}"]
        return ", ".join(told + [f"{many:,} {_verb(need, many)}" for need, many in others])


def version_words(version: str, reason: str) -> str:
    """`API version 2023-06-01, because 120 requests set temperature`."""
    return f"API version {version}, because {reason}"


def _verb(need: str, count: int) -> str:
    """*need*, said of one request or of many."""
    verb, rest = need.split(" ", 1)
    return need if count != 1 else f"{ {'have': 'has'}.get(verb, f'{verb}s') } {rest}"
