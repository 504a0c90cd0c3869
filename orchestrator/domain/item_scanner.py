"""Finds the ends of the items in a JSON list that arrives piece by piece, without taking them apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_STRUCTURE: Final = re.compile(rb'["{}\[\]]')


class ItemScanner:
    """Finds where items end, token by token; goes on where it stopped when the buffer has grown."""

    def __init__(self) -> None:
        self._at = 0
        self._depth = 0
        self._in_string = False

    def ends(self, buffer: bytearray) -> Iterator[int]:
        """Positions just past the items of *buffer*; stops at its end or at the `]` that closes the list."""
        while True:
            if self._in_string and not self._leave_string(buffer):
                return
            token = _STRUCTURE.search(buffer, self._at)
            if token is None:
                self._at = len(buffer)
                return
            self._at = token.end()
            sign = token.group()
            if sign == b'"':
                self._in_string = True
                continue
            self._depth += 1 if sign in b"{[" else -1
            if self._depth < 0:
                return
            if self._depth == 0:
                yield self._at

    def _leave_string(self, buffer: bytearray) -> bool:
        """Move past the quote that ends the string; False when it is not here yet."""
        while (quote := buffer.find(b'"', self._at)) >= 0:
            slashes = 0
            while buffer[quote - 1 - slashes] == ord("\\"):
                slashes += 1
            self._at = quote + 1
            if slashes % 2 == 0:
                self._in_string = False
                return True
        self._at = len(buffer)
        return False
