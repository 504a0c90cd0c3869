"""Text for people: durations, sizes, counts, and foreign text made safe to print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

#: Names that a list for people has at most.
_SHOWN: Final = 5
#: How to get rid of a job that is importing.
IMPORT_ENDS: Final = (
    "it ends with the command or upload that brings its input: stop that; the engine takes away what a failed one left "
    "once the disk has space"
)


def readable(path: str) -> str:
    r"""*path* as text that can be stored and shown: a file's name may have bytes that are no UTF-8, shown as `\xNN`."""
    try:
        return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # no name of a file: half a surrogate pair that a program made
        return path.encode("utf-8", "backslashreplace").decode()


def plain(text: str) -> str:
    r"""*text* without characters that steer a terminal: file names, ids and the API's messages are not ours.

    Line breaks and tabs become spaces, the others their escape, such as `\x1b`.
    """
    if text.isprintable():
        return text
    text = readable(text)
    return "".join(
        c if c.isprintable() else " " if c in "\n\t\r" else c.encode("unicode_escape").decode() for c in text
    )


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 request`, `2,500 requests`, `3 batches`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {f'{noun}s' if plural is None else plural}"


def some(names: Sequence[str], most: int = _SHOWN) -> str:
    """`a, b, c, d and 5 more`: the first *most* of *names*."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def nearest(name: str, valid: Iterable[str]) -> str:
    """`did you mean "priority"?`; empty if nothing in *valid* is like *name*."""
    import difflib  # late: only a mistake needs it

    close = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f'did you mean "{close[0]}"?' if close else ""


def batches(number: int) -> str:
    """`1 batch`, `3 batches`."""
    return count(number, "batch", "batches")


def size(size_bytes: int) -> str:
    """Decimal, three digits: `61 kB`, `256 MB`, `1.2 GB`."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    value, units = size_bytes / 1000, ["kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if value >= 9.95 else f"{value:.1f} {units[0]}"


def span(duration: timedelta) -> str:
    """Approximate duration in at most two units: `45s`, `3m`, `5h12m`, `2d3h`; a negative one counts as zero."""
    seconds = max(0, round(duration.total_seconds()))
    if seconds < 100:
        return f"{seconds}s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes}m"
    if minutes < 48 * 60:
        return _two(minutes, 60, "h", "m")
    return _two(round(minutes / 60), 24, "d", "h")


def _two(amount: int, per: int, unit: str, rest_unit: str) -> str:
    whole, rest = divmod(amount, per)
    return f"{whole}{unit}{rest}{rest_unit}" if rest else f"{whole}{unit}"


def instant(at: datetime) -> str:
    """A moment in UTC: `2026-11-23 06:18:52 UTC`."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(duration: timedelta) -> str:
    """Elapsed time: `00:07`, `23:59:10`."""
    seconds = max(0, int(duration.total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"
