"""Reads files of settings, keys and tokens: regular files of a sane size, and secrets that nobody else may read.

A named pipe does not hang, a device is never read, and a file that grows without end is not held in memory.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orchestrator.domain.errors import OrchestratorError

#: Settings, keys and tokens are some hundred bytes; the example of all settings has 10 kB.
MOST_BYTES: Final = 1 << 20
_ROOT: Final = 0
#: As many as Linux follows.
_MOST_LINKS: Final = 40
#: Where container engines put secrets, readable by all there (mode 0444). Only root makes a folder in /run.
_CONTAINER_SECRETS: Final = Path("/run/secrets")


class UnusableFileError(Exception):
    """The file exists and must not be read; the text says why, for people."""


def read_regular_file(path: Path) -> tuple[bytes, os.stat_result]:
    """The content of the file at *path*, at most `MOST_BYTES`, and its status. Raises OSError, UnfitFileError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnusableFileError("it is a folder" if stat.S_ISDIR(found.st_mode) else "it is not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MOST_BYTES:
        raise UnusableFileError(f"it is larger than {MOST_BYTES >> 20} MiB")
    return content, found


def why_untrusted(path: Path, found: os.stat_result) -> str | None:
    """Why another user may have written the file at *path* (absolute); None: only root and we can have written it.

    found: the status of the opened file. Its author may also be that of a link, so the owner of each link on the way
    counts too. Raises OSError.
    """
    ours = {os.geteuid(), _ROOT}
    if found.st_uid not in ours:
        return "it belongs to another user"
    if any(link.lstat().st_uid not in ours for link in symlinks_on_the_way(path)):
        return "a link on the way to it belongs to another user"
    if found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and not _is_private(found.st_gid, found.st_uid)):
        return f"others may write to it (mode {stat.S_IMODE(found.st_mode):04o})"
    return None


def symlinks_on_the_way(path: Path) -> Iterator[Path]:
    """Every symbolic link that is followed to open *path*, those of folders too. Raises OSError."""
    done, rest, links = Path(path.anchor), list(reversed(path.parts[1:])), 0
    while rest:
        part = rest.pop()
        here = done.parent if part == ".." else done / part
        if not here.is_symlink():
            done = here
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        yield here
        target = here.readlink()
        if target.is_absolute():
            done = Path(target.anchor)
        rest += [each for each in reversed(target.parts) if each != target.anchor]


def read_secret(path: Path, *, called: str, hint: str, error: type[OrchestratorError]) -> str:
    """The text of the file at *path*, which holds a secret alone, without surrounding white space.

    called: what the file is, for the message ("the token file"). Raises *error*, naming the file and never its content,
    for one that cannot be read, is not ours or root's, or that others may read. Where systemd or a container engine
    provides secrets, the mode is theirs to choose, as long as nobody else can write.
    """
    try:
        content, found = read_regular_file(path)
    except OSError as exc:
        why = exc.strerror
    except UnusableFileError as exc:
        why = str(exc)
    else:
        _check_secret(path, found, called=called, hint=hint, error=error)
        return content.decode("latin-1").strip()
    raise error(f"{called} {path} cannot be read", cause=why, hint=hint)


def _check_secret(path: Path, found: os.stat_result, *, called: str, hint: str, error: type[OrchestratorError]) -> None:
    if found.st_uid not in (os.geteuid(), _ROOT):
        raise error(f"{called} {path} belongs to another user", hint=f"{hint}; it must be your own")
    closed = 0o022 if _is_handed_over(path) else 0o077
    if found.st_mode & closed:
        cause = f"its mode is {stat.S_IMODE(found.st_mode):04o}"
        remedy = f"chmod 600 {path}; if somebody may have read it, replace what it holds"
        raise error(f"others may read {called} {path}", cause=cause, hint=remedy)


def _is_handed_over(path: Path) -> bool:
    """True below systemd's folder of credentials, which nobody else can enter, and below a container's secrets."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return path.parent == _CONTAINER_SECRETS or (folder != "" and path.parent == Path(folder))


def _is_private(group: int, user: int) -> bool:
    """True for the group that many systems give each user, with the user's own name and nobody else in it."""
    try:
        name = pwd.getpwuid(user).pw_name
        found = grp.getgrgid(group)
    except KeyError:
        return False
    return found.gr_name == name and set(found.gr_mem) <= {name}
