"""The dashboard's colours can be read, in both themes: WCAG 2.1 AA, 4.5 to 1 for text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

import orchestrator

CSS: Final = (Path(orchestrator.__file__).parent / "http_api/dashboard/static/app.css").read_text()
GROUNDS: Final = ("bg", "surface", "raised")
TONES: Final = ("ok", "bad", "warn", "run", "mute", "wait")
#: Text on ground. What only marks an area (a bar, a dot) has words beside it.
PAIRS: Final = (
    *((text, ground) for text in ("text", "dim") for ground in (*GROUNDS, "code")),
    *((text, ground) for text in ("accent", "bad") for ground in ("bg", "surface")),
    *((tone, f"{tone}-bg") for tone in TONES),
    ("text", "warn-bg"),
    ("accent-text", "accent"),
    ("ribbon", "ribbon-bg"),
    ("bg", "text"),
)


def themes() -> dict[str, dict[str, str]]:
    """The colours of each theme by name."""
    blocks = re.findall(r"(:root[^{]*)\{([^}]*)\}", CSS)
    found = {selector.strip(): dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", body)) for selector, body in blocks}
    return {"light": found[":root"], "dark": found[':root[data-theme="dark"]'], "by_system": found[SYSTEM]}


SYSTEM: Final = ':root:not([data-theme="light"])'


def luminance(colour: str) -> float:
    """Source: WCAG 2.1, "relative luminance"."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """From 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(theme: str) -> None:
    """AA for normal text, wherever text stands."""
    colours = themes()[theme]
    weak = {pair: round(contrast(colours[pair[0]], colours[pair[1]]), 2) for pair in PAIRS}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}


def test_dark_is_the_same_by_choice_and_by_the_system() -> None:
    """The colours are written twice, because CSS cannot say it once."""
    assert themes()["dark"] == themes()["by_system"]
