"""Parses TOML that people wrote: settings and prices. What is wrong with it is said with the file and a remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from orchestrator.domain.errors import UsageError

#: A key of more dots than any has: tomllib's time and memory for it grow with the square of its length.
_LONG_KEY: Final = re.compile(
    r"""(?<![\w-])(?:(?>[\w-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')[ \t]*\.[ \t]*){128}""", re.ASCII
)
#: What may have lines in it that only look like keys, and what may look like its beginning.
_TEXTS: Final = re.compile(
    r"""#[^\n]*|\"{3}(?:\\.|[^\\])*?\"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'""", re.DOTALL
)


def parse_toml(
    content: bytes, label: str, *, hint: str, shape: str, parse_float: Callable[[str], Any] = float
) -> dict[str, Any]:
    """The tables in *content*, which errors call *label*.

    hint: how it is written. shape: how it is nested. parse_float: what reads a number with a point. Raises UsageError.
    """
    import tomllib  # late: most runs have no file

    try:
        text = content.decode("utf-8-sig")
        if _LONG_KEY.search(text) is not None:
            raise too_deep(label, shape)
        return tomllib.loads(text, parse_float=parse_float)
    except RecursionError:
        raise too_deep(label, shape) from None
    except UnicodeDecodeError:
        raise UsageError(f"{label}: it is not UTF-8 text", hint="save it as UTF-8") from None
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(f"{label}: it is not valid TOML", cause=str(exc), hint=hint) from None
    except (ValueError, ArithmeticError):  # what reads a number takes no more than so many digits
        raise UsageError(f"{label}: a number in it is too long", hint=hint) from None


def line_of_key(content: bytes, key: str) -> int | None:
    """The line, from 1, in which the top level of valid TOML has *key*; None if it is spelled with escapes.

    The parser of the standard library tells no lines.
    """
    text = content.decode("utf-8-sig")
    bare = _TEXTS.sub(lambda found: "\n" * found[0].count("\n") or found[0], text)
    name = re.escape(key)
    found = re.search(rf"""^[ \t]*\[*[ \t]*(?:{name}|"{name}"|'{name}')[ \t]*[.=\]]""", bare, re.MULTILINE)
    return None if found is None else bare.count("\n", 0, found.start()) + 1


def too_deep(label: str, shape: str) -> UsageError:
    """What is raised for tables in tables in tables."""
    return UsageError(f"{label}: it is nested too deeply", hint=shape)
