"""Instants as text: ISO-8601, UTC, always 27 characters, so that they compare as text."""

from __future__ import annotations

from datetime import UTC, datetime


def to_text(at: datetime) -> str:
    """`2026-11-23T06:18:52.000000Z`; *at* must be aware."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def to_text_or_none(at: datetime | None) -> str | None:
    """The same, for a column that may be empty."""
    return None if at is None else to_text(at)


def from_text(text: str) -> datetime:
    """The instant that `to_text` wrote."""
    return datetime.fromisoformat(text)


def from_text_or_none(text: str | None) -> datetime | None:
    """The same, for a column that may be empty."""
    return None if text is None else datetime.fromisoformat(text)
