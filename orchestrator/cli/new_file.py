"""A file that a command writes whole or not at all, and that replaces no other one unless that was said."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from orchestrator.domain import errors
from orchestrator.domain.humanize import readable

if TYPE_CHECKING:
    from orchestrator.ports.streams import Sink

_COPIED_BYTES: Final = 1 << 20


class NewFile:
    """The output at *path*; "-" is standard output. A pipe gets its first byte when all of them are there.

    Raises OutputError, from its making on, for a path that cannot be written.
    """

    def __init__(self, path: str, *, overwrite: bool) -> None:
        from orchestrator.results import FileSink, check_writable, open_sink

        self._path = path
        self._overwrite = overwrite
        self._sink: Sink = open_sink(path)
        self._is_file = isinstance(self._sink, FileSink)
        if self._is_file:
            check_writable(path)
        self._hash = hashlib.sha256()
        self._spool: IO[bytes] | None = None if self._is_file else tempfile.TemporaryFile()  # noqa: SIM115 - its own life

    async def write(self, text: bytes) -> None:
        """Write *text*; nothing is to be seen of it yet."""
        self._hash.update(text)
        if self._spool is None:
            await self._sink.write(text)
        else:
            await asyncio.to_thread(self._spool.write, text)

    async def commit(self) -> bool:
        """Make it visible; False: it was there already, with the same content.

        Raises OutputError if a file with other content is there.
        """
        if self._is_file and not self._overwrite and self._is_taken():
            is_same = await asyncio.to_thread(self._is_there)
            await self.abort()
            if is_same:
                return False
            raise errors.OutputError(
                f"{readable(self._path)} is there already, with other content",
                hint="--overwrite replaces it; or name another file",
            )
        if self._spool is not None:
            self._spool.seek(0)
            while piece := await asyncio.to_thread(self._spool.read, _COPIED_BYTES):
                await self._sink.write(piece)
        await self._sink.commit()
        self._close()
        return True

    async def abort(self) -> None:
        """Remove what was written."""
        await self._sink.abort()
        self._close()

    def _close(self) -> None:
        if self._spool is not None:
            self._spool.close()

    def _is_taken(self) -> bool:
        try:
            return Path(self._path).stat().st_size > 0
        except OSError:
            return False

    def _is_there(self) -> bool:
        from orchestrator.inputs import read_blocks, unpacked_text

        found = hashlib.sha256()
        try:
            for piece in unpacked_text(self._path, read_blocks(self._path, threading.Event())):
                found.update(piece)
        except errors.InputError:  # it is none of ours
            return False
        return found.digest() == self._hash.digest()
