"""Which sessions were logged out, in a file beside the store: after a restart their cookies open nothing either."""

from __future__ import annotations

import os
import re
import secrets
import threading
from pathlib import Path
from typing import Final

from orchestrator.config.files import UnfitFileError, read_sane
from orchestrator.domain.errors import UsageError

_LINE: Final = re.compile(r"(\d{1,12}) ([A-Za-z0-9_-]{43})", re.ASCII)
#: More sessions than this are not remembered (the file stays below 1 MiB): the oldest are forgotten first.
_MOST: Final = 10_000


class LoggedOut:
    """Sessions by their number, each until its cookie would have ended by itself."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._until: dict[str, int] = {}
        self._turn = threading.Lock()

    def keep_at(self, path: Path) -> None:
        """Remember them in the file at *path* from now on, and what it holds. Raises UsageError for an unusable one."""
        self._path = path
        try:
            text = read_sane(path)[0].decode("ascii", "replace")
        except FileNotFoundError:
            return
        except (OSError, UnfitFileError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else str(exc)
            hint = "see to the file; without it every login that was ended is good again until its week is over"
            raise UsageError(f"the file of ended logins {path} cannot be read", cause=why, hint=hint) from exc
        for line in text.splitlines():
            if (found := _LINE.fullmatch(line)) is not None:
                self._until[found[2]] = int(found[1])

    def __contains__(self, number: str) -> bool:
        return number in self._until

    def add(self, number: str, until: int, *, now: int) -> None:
        """*number* is over from now on; written at once. Raises OSError: then only this process knows."""
        with self._turn:
            good = {each: end for each, end in self._until.items() if end > now}
            self._until = dict([*good.items(), (number, until)][-_MOST:])
            if self._path is not None:
                _write(self._path, "".join(f"{end} {each}\n" for each, end in self._until.items()))


def _write(path: Path, text: str) -> None:
    """Replace the file at *path* as a whole; nobody else may read it."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "w", encoding="ascii") as out:  # noqa: PTH123 - an open descriptor, made exclusively
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
