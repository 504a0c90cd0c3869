"""Default locations: the user's files, the database, the socket, and the sockets of this user's daemons by address.

The environment is an argument.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from orchestrator.domain.errors import UsageError
from orchestrator.domain.urls import database_identity

PROJECT_FILE: Final = "orchestrator.toml"
#: A longer path does not fit `sockaddr_un`. Source: unix(7): 108 bytes with the NUL at the end.
MAX_SOCKET_PATH_BYTES: Final = 107
_ROOT: Final = 0
_TEMPORARY: Final = Path("/tmp")  # noqa: S108 - the folder made in it is checked to be ours and closed to others


def home_of(env: Mapping[str, str]) -> Path | None:
    """The user's home, or None if HOME is not an absolute path."""
    return _absolute(env, "HOME")


def user_config_file(env: Mapping[str, str]) -> Path | None:
    """`$XDG_CONFIG_HOME/orchestrator/config.toml`, below `~/.config` if unset; None if HOME is not set either."""
    folder = _folder(env, "XDG_CONFIG_HOME", ".config")
    return None if folder is None else folder / "orchestrator" / "config.toml"


def data_folder(env: Mapping[str, str]) -> Path | None:
    """`$XDG_DATA_HOME`, `~/.local/share` if unset; None if HOME is not set either."""
    return _folder(env, "XDG_DATA_HOME", ".local/share")


def database_folder(url: str, env: Mapping[str, str]) -> Path:
    """Where daemons of this user keep what they know beside the database at *url*; it may not exist yet.

    Below `$XDG_STATE_HOME`, or `~/.local/state`; the same with any password. Raises UsageError where HOME is not set.
    """
    folder = _folder(env, "XDG_STATE_HOME", ".local/state")
    if folder is None:
        hint = "set XDG_STATE_HOME, or name the token's file: [server] token_file"
        raise UsageError("there is no place for a daemon's token", cause="HOME is not set", hint=hint)
    return folder / "orchestrator" / _digest(database_identity(url).encode())


def database_sockets(url: str, env: Mapping[str, str], *, temporary: Path = _TEMPORARY) -> tuple[Path, str]:
    """The folder of the sockets of daemons on the database at *url*, and what their names begin with.

    Each daemon has one of its own, `PREFIX-PID.sock`: several may run on one machine. Raises as `default_socket_path`.
    """
    return socket_folder(env, temporary=temporary), f"orchestrator-{_digest(database_identity(url).encode())}"


def _digest(name: bytes) -> str:
    return hashlib.sha256(name).hexdigest()[:16]


def default_socket_path(db_path: Path, env: Mapping[str, str], *, temporary: Path = _TEMPORARY) -> Path:
    """The socket of the engine that owns the database at *db_path*; the same for every spelling of that path.

    `$XDG_RUNTIME_DIR/orchestrator-<hash>.sock` where that folder exists and can be trusted, else the same name in a
    folder below *temporary* that is made (0700) if need be. Raises UsageError if that folder is not ours alone, or the
    path is too long for a socket.
    """
    folder = socket_folder(env, db_path, temporary=temporary)
    path = folder / f"orchestrator-{_digest(os.fsencode(db_path.resolve()))}.sock"
    check_socket_path(path)
    return path


def check_socket_path(path: Path) -> None:
    """Raise UsageError for a path that is too long for a socket."""
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH_BYTES:
        raise UsageError(
            f"the path of the socket is too long: {path}",
            cause=f"{length} bytes, and the system takes {MAX_SOCKET_PATH_BYTES}",
            hint="set XDG_RUNTIME_DIR to a folder with a shorter path, for every command alike",
        )


def socket_folder(env: Mapping[str, str], db_path: Path | None = None, *, temporary: Path = _TEMPORARY) -> Path:
    """The folder of this user's sockets, made if need be. Raises UsageError if it is not ours alone.

    db_path: the database in question, whose owner is trusted as well.
    """
    runtime = _absolute(env, "XDG_RUNTIME_DIR")
    return runtime if runtime is not None and _is_trusted(runtime, db_path) else _private_folder(temporary)


def _is_trusted(folder: Path, db_path: Path | None) -> bool:
    """True for a folder where nobody can put a socket in our engine's place: commands and prompts pass through it.

    It may belong to us, to root, or to the owner of the database, who has all of it anyway: that is how root uses a
    service that has a user of its own. Source: XDG Base Directory Specification 0.8, which wants mode 0700.
    """
    try:
        found = folder.stat()
    except OSError:
        return False
    owners = {os.geteuid(), _ROOT}
    if db_path is not None:
        with suppress(OSError):
            owners.add(db_path.stat().st_uid)
    return stat.S_ISDIR(found.st_mode) and found.st_uid in owners and not found.st_mode & 0o022


def _private_folder(temporary: Path) -> Path:
    """`orchestrator-<uid>` below *temporary*, made if it does not exist; nobody else may own or read it."""
    folder = temporary / f"orchestrator-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as exc:
        raise _not_private(folder, exc.strerror) from exc
    if not stat.S_ISDIR(found.st_mode):
        raise _not_private(folder, "it is not a folder")
    if found.st_uid != os.getuid():
        raise _not_private(folder, "it belongs to somebody else")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise _not_private(folder, "others may look into it")
    return folder


def _not_private(folder: Path, cause: str | None) -> UsageError:
    hint = f"remove {folder}, or set XDG_RUNTIME_DIR to a folder that only you can enter"
    return UsageError(f"the folder for the socket cannot be used: {folder}", cause=cause, hint=hint)


def _folder(env: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    found = _absolute(env, variable)
    if found is not None:
        return found
    home = home_of(env)
    return None if home is None else home / below_home


def _absolute(env: Mapping[str, str], variable: str) -> Path | None:
    """A relative path counts as unset. Source: XDG Base Directory Specification 0.8."""
    text = env.get(variable, "")
    return Path(text) if text.startswith("/") else None


_PREFIX: Final = "orchestrator-at-"

#: An IP address and a port.
Address = tuple[str, int]


@contextmanager
def socket_links(socket: Path, *addresses: Address) -> Iterator[None]:
    """For the length of a block, links to *socket* beside it, one for each of *addresses*.

    Stale links of an earlier process, which listened elsewhere, are removed. Where no link can be made there is none:
    callers then use the token.
    """
    for link in socket.parent.glob(f"{_PREFIX}*"):  # stale ones, of an earlier process that listened elsewhere
        _remove(link, socket)
    made = [socket.parent / _name(address) for address in addresses]
    for link in made:
        with suppress(OSError):
            link.unlink(missing_ok=True)
            link.symlink_to(socket.name)
    try:
        yield
    finally:
        for link in made:
            _remove(link, socket)


def daemon_socket(address: Address, env: Mapping[str, str]) -> Path | None:
    """The socket of this user's daemon at *address*, if one is known. Whether it still runs is not checked."""
    try:
        link = socket_folder(env) / _name(address)
        return link if link.is_socket() else None
    except (UsageError, OSError):
        return None


def _remove(link: Path, socket: Path) -> None:
    """Remove *link* if it leads to *socket*: by now another daemon may have the address."""
    with suppress(OSError):
        if link.readlink() == Path(socket.name):
            link.unlink()


def _name(address: Address) -> str:
    host, port = address
    return f"{_PREFIX}{host}-{port}"
