"""What lets a client in: the token and its file, and browser sessions: login codes, cookies, logouts.

The token file holds the token alone, and only its owner may read or replace it.

A session is a random number under a MAC whose key derives from the token's digest and a secret of the store: it
survives a restart, dies with the token, and cannot be made of a digest alone, which stands in the settings. Sessions
that were logged out stand in a file beside the store, so that they stay closed after a restart. Daemons that share a
store and a token let in whom one of them let in: their sessions are of the store, not of a port, links are under a MAC
as well, and what was ended or used stands in the store. Nothing here knows HTTP.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from orchestrator.config.safe_files import UnusableFileError, read_regular_file, read_secret
from orchestrator.domain.errors import MAKE_SPACE, StoreError, StoreFull, UsageError, is_no_space

CODE_S: Final = 600
SESSION_S: Final = 7 * 24 * 3600
#: So many wrong tokens are looked at within a minute, and so many wrong codes.
_MOST_FAILURES: Final = 10
_WITHIN_S: Final = 60.0
#: More links than this are not open at once: the oldest is void.
_MOST_CODES: Final = 20
_SECRET_BYTES: Final = 32
_VALUE: Final = re.compile(r"(\d{1,12})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    """digest: of the code. key: the token's digest when it was made, so that replacing the token voids the code."""

    digest: bytes
    key: bytes
    until: float


class FailureThrottle:
    """Counts recent failures, and blocks further attempts after too many."""

    def __init__(self, ticks: Callable[[], float]) -> None:
        self._ticks = ticks
        self._times: deque[float] = deque(maxlen=_MOST_FAILURES)

    @property
    def wait_s(self) -> int:
        """Seconds until the next attempt is allowed; 0: now."""
        if len(self._times) < _MOST_FAILURES:
            return 0
        return max(0, -int(-(self._times[0] + _WITHIN_S - self._ticks()) // 1))

    def note(self) -> None:
        """Count a failure."""
        self._times.append(self._ticks())


class EndedLogins(Protocol):
    """What daemons on one store have ended, as far as this one has heard."""

    def __contains__(self, number: object) -> bool: ...

    async def end(self, number: str, until: int) -> bool:
        """End *number* for all; False if it was ended already. Raises StoreError: then no other daemon knows."""
        ...


class Sessions:
    """The logins at the address of *port*. key: always the digest of a token that is valid now.

    now: wall-clock seconds; ticks: monotonic seconds. Wrong tokens and wrong codes are counted separately: anybody can
    open old links, and that must not lock out somebody with the token.
    """

    def __init__(
        self, port: int, *, now: Callable[[], float] = time.time, ticks: Callable[[], float] = time.monotonic
    ) -> None:
        self._place = str(port)
        self._shared: EndedLogins | None = None
        self._secret = secrets.token_bytes(_SECRET_BYTES)
        self._now = now
        self._ticks = ticks
        self._codes: deque[_Code] = deque(maxlen=_MOST_CODES)
        self.wrong_tokens, self.wrong_codes = FailureThrottle(ticks), FailureThrottle(ticks)
        self.over = RevokedSessions()

    def keep(self, secret: bytes) -> None:
        """Let in who logged in before a restart, or at another daemon. secret: that of the store."""
        self._secret = secret

    def share(self, place: str, ended: EndedLogins) -> None:
        """Let in, and keep out, whom the other daemons of *place*, a store, do."""
        self._place, self._shared = place, ended

    def new_code(self, key: bytes) -> str:
        """A code that lets one browser in, once, within `CODE_S`."""
        if self._shared is not None:
            return self._sealed("code", key, int(self._now()) + CODE_S)
        code = secrets.token_urlsafe(_SECRET_BYTES)
        self._codes.append(_Code(digest=_digest(code), key=key, until=self._ticks() + CODE_S))
        return code

    def redeem(self, code: str, keys: Sequence[bytes]) -> bytes | None:
        """The key of a valid code, once. Each candidate is compared in constant time."""
        shown = _digest(code)
        same = [each for each in self._codes if hmac.compare_digest(each.digest, shown)]
        for each in same:
            self._codes.remove(each)
        good = [each.key for each in same if each.until > self._ticks()]
        return next((key for key in keys for each in good if hmac.compare_digest(each, key)), None)

    async def redeem_shared(self, code: str, keys: Sequence[bytes]) -> bytes | None:
        """As `redeem`, for a code of any daemon on the store. Raises StoreError if the store does not answer."""
        for key in keys if self._shared is not None else ():
            number = self._opened("code", code, key)
            if number is not None and self._shared is not None:
                return key if await self._shared.end(number, int(self._now()) + CODE_S) else None
        return None

    def begin(self, key: bytes) -> str:
        """The cookie value of a new session."""
        return self._sealed("session", key, int(self._now()) + SESSION_S)

    def find(self, value: str, key: bytes) -> str | None:
        """The session behind a cookie's *value*; None if there is none or it is over."""
        return self._opened("session", value, key)

    def end(self, number: str) -> None:
        """Revoke a session: copies of its cookie stop working. Raises OSError if a restart would forget that."""
        now = int(self._now())
        self.over.add(number, now + SESSION_S, now=now)

    async def end_shared(self, number: str) -> None:
        """Revoke a session on the other daemons of the store, too. Raises StoreError if they do not hear of it."""
        if self._shared is not None:
            await self._shared.end(number, int(self._now()) + SESSION_S)

    def _sealed(self, kind: str, key: bytes, until: int) -> str:
        number = secrets.token_urlsafe(_SECRET_BYTES)
        return f"{until}.{number}.{self._mac(kind, key, until, number)}"

    def _opened(self, kind: str, value: str, key: bytes) -> str | None:
        """The number in *value* if it is ours, of that kind, and not over."""
        found = _VALUE.fullmatch(value)
        if found is None:
            return None
        until, number, mac = int(found[1]), found[2], found[3]
        is_ours = hmac.compare_digest(mac, self._mac(kind, key, until, number))
        is_over = number in self.over or (self._shared is not None and number in self._shared)
        return number if is_ours and until > self._now() and not is_over else None

    def _mac(self, kind: str, key: bytes, until: int, number: str) -> str:
        """The place is part of it: a cookie that a browser sends to another port of this host is worth nothing here."""
        own_key = hmac.digest(self._secret, b"login\n" + key, "sha256")
        mac = hmac.digest(own_key, f"{kind}\n{self._place}\n{until}\n{number}".encode(), "sha256")
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "surrogateescape")).digest()


_LINE: Final = re.compile(r"(\d{1,12}) ([A-Za-z0-9_-]{43})", re.ASCII)
#: More sessions than this are not remembered (the file stays below 1 MiB): the oldest are forgotten first.
_MOST: Final = 10_000


class RevokedSessions:
    """Session numbers, each kept until its cookie would have expired anyway."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._until: dict[str, int] = {}
        self._turn = threading.Lock()

    def keep_at(self, path: Path) -> None:
        """Load the file at *path*, and write to it from now on. Raises UsageError for an unusable one."""
        self._path = path
        try:
            text = read_regular_file(path)[0].decode("ascii", "replace")
        except FileNotFoundError:
            return
        except (OSError, UnusableFileError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else str(exc)
            hint = "see to the file; without it every login that was ended is good again until its week is over"
            raise UsageError(f"the file of ended logins {path} cannot be read", cause=why, hint=hint) from exc
        for line in text.splitlines():
            if (found := _LINE.fullmatch(line)) is not None:
                self._until[found[2]] = int(found[1])

    def __contains__(self, number: str) -> bool:
        return number in self._until

    def add(self, number: str, until: int, *, now: int) -> None:
        """Revoke *number*; written at once. Raises OSError: then only this process knows."""
        with self._turn:
            good = {each: end for each, end in self._until.items() if end > now}
            self._until = dict([*good.items(), (number, until)][-_MOST:])
            if self._path is not None:
                _write(self._path, "".join(f"{end} {each}\n" for each, end in self._until.items()))


def _write(path: Path, text: str) -> None:
    """Replace the file at *path* atomically; nobody else may read it."""
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


#: 32 characters of base64 are 192 bits; `orchestrator service token` writes 43 (256 bits).
_TOKEN: Final = re.compile(r"[\x21-\x7e]{32,512}", re.ASCII)
_HINT: Final = "`orchestrator service token FILE` makes one"
#: 256 bits, as base64url: 43 characters.
_TOKEN_BYTES: Final = 32


def new_token() -> str:
    """A random token."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def digest_of(token: str) -> bytes:
    """The digest of a token: only this is kept, and it is compared in constant time."""
    return hashlib.sha256(token.encode()).digest()


def read_or_make_token(path: Path) -> str:
    """The token in the file at *path*, which is created (atomically, mode 0600) if it does not exist.

    Its folder, the store's, must exist. Raises UsageError, naming the file and never its content; StoreError if the
    file cannot be created.
    """
    if path.is_symlink():  # whoever else may write to the folder could have it lead to any secret of ours
        raise UsageError(f"the token file {path} is a link", hint="remove it, and the next start makes a token")
    if not path.exists():
        try:
            _make(path)
        except OSError as exc:
            full = StoreFull("the disk that holds the store is full", cause=str(exc), hint=MAKE_SPACE)
            hint = "name another with --token-file FILE, or see to the folder"
            other = StoreError(f"the token file {path} cannot be made", cause=exc.strerror, hint=hint)
            raise (full if is_no_space(exc) else other) from exc
    return read_token(path)


def _make(path: Path) -> None:
    """Create a token file at *path*; one that another process created meanwhile stays."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(fd, "w", encoding="ascii") as out:  # noqa: PTH123 - an open descriptor, made exclusively
            out.write(f"{new_token()}\n")
            out.flush()
            os.fsync(out.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def read_token(path: Path) -> str:
    """The token in the file at *path*. Raises UsageError, naming the file and never its content."""
    text = read_secret(path, called="the token file", hint=_HINT, error=UsageError)
    if _TOKEN.fullmatch(text) is None:
        why = "it must hold one token of at least 32 printable characters, and nothing else"
        raise UsageError(f"the token file {path} holds no token", cause=why, hint=_HINT)
    return text
