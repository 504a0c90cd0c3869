"""Keeps the libraries below from logging what must not be logged.

At DEBUG the SDK logs whole request bodies (prompts) and httpcore2 logs every header, the key among them (measured with
SDK 2.12). `ANTHROPIC_LOG=debug` switches that on when the SDK is imported, so this has to run after the import.
"""

from __future__ import annotations

import logging
from typing import Final

LOGGERS: Final = ("anthropic", "httpx2", "httpcore2", "httpx", "httpcore", "h11", "hpack")


def silence_libraries() -> None:
    """Let the HTTP libraries and the SDK say warnings and errors, nothing below."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
