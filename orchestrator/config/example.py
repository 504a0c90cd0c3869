"""The text of `config.example.toml`, generated from the settings so that it cannot differ from them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from orchestrator.config.sections import KEYS, SECTIONS
from orchestrator.config.setting import ALLOWED, NOT_HERE, REFUSED, Key
from orchestrator.config.token_section import token_example_lines
from orchestrator.config.webhook_section import example_lines

_HEAD: Final = """\
# Settings of orchestrator. Every one is optional; the values below are the defaults.
# Take the "#" away before a setting to change it. Texts, durations and sizes with a unit stand in quotes.
#
# Strongest first: flag > environment > ./orchestrator.toml > ~/.config/orchestrator/config.toml > default.
# `--config FILE` replaces both files. In the environment, [limits] poll_interval is ORCHESTRATOR_LIMITS__POLL_INTERVAL.
# `orchestrator config show` prints what holds, and from where. A relative path in a file starts at that file's folder.
#
# ./orchestrator.toml comes with a folder, which may be somebody else's. It is refused if another user owns it or can
# write to it, and so is what is marked "Not in ./orchestrator.toml": that belongs in your own file, the environment,
# a flag, or a file that you name with --config.
#
# Secrets do not belong here. The API key comes from ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN, or the file that
# [api] key_file names.
"""


def render_example() -> str:
    """The whole file: each setting with its meaning, unit and default, commented out.

    Removing the "#" before all of them gives the defaults.
    """
    parts = [_HEAD]
    for section, keys in groupby(KEYS.values(), key=lambda key: key.section):
        parts.append(f"\n# {_first_line(section)}\n[{section}]\n")
        parts.extend(f"\n{line}\n" for line in ("\n".join(_lines(key)) for key in keys))
    parts.append("\n" + "".join(f"{line}\n" for line in token_example_lines()))
    parts.append("\n" + "".join(f"{line}\n" for line in example_lines()))
    return "".join(parts)


def _first_line(section: str) -> str:
    """The purpose of the section: the first sentence of its class, without the name in front."""
    sentence = (SECTIONS[section].__doc__ or "").split("\n", 1)[0]
    text = sentence.partition(": ")[2]
    return text[:1].upper() + text[1:]


def _lines(key: Key) -> Iterator[str]:
    meaning = key.meaning
    for line in meaning.means.split("\n"):
        yield f"# {line}"
    if meaning.project is not ALLOWED:
        yield f"# {NOT_HERE}." if meaning.project is REFUSED else f"# {NOT_HERE}, unless it lies in that folder."
    if key.default is None:
        yield f"# Not set: {meaning.unset}. To set it, for instance:"
        yield f"# {key.key} = {meaning.example}"
    else:
        yield f"#{key.key} = {meaning.kind.show(key.default)}"
