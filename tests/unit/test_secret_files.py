"""L1, L7: one rule for every file that holds a key, a token or a secret, and one for where systemd hands them over."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.client.server_address import server_at
from orchestrator.domain.errors import NeedsPerson, OrchestratorError, UsageError
from orchestrator.http_api.guard.access_tokens import read_token
from orchestrator.provider.credentials import from_file
from orchestrator.webhooks.courier import secret_from

#: Fit to be a key, a token and a secret at once.
SECRET = base64.b64encode(b"do not print me, 32 bytes of me!").decode()


def of_server(path: Path) -> object:
    return server_at("https://jobs.example", token_file=path)


def of_webhook(path: Path) -> object:
    return secret_from(None, path, {})


READERS = pytest.mark.parametrize(
    ("read", "error"),
    [(from_file, NeedsPerson), (of_webhook, UsageError), (read_token, UsageError), (of_server, NeedsPerson)],
    ids=["key_file", "secret_file", "server.token_file", "--token-file"],
)
Read = Callable[[Path], object]


def written(path: Path, mode: int) -> Path:
    path.write_text(f"{SECRET}\n")
    path.chmod(mode)
    return path


def refusal(read: Read, error: type[OrchestratorError], path: Path) -> str:
    with pytest.raises(error) as caught:
        read(path)
    said = f"{caught.value.message} {caught.value.cause} {caught.value.hint}"
    assert str(path) in said
    assert caught.value.hint is not None
    assert SECRET not in f"{said} {caught.value!r} {caught.value.__context__!r}"
    return said


@READERS
@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_secret_that_its_owner_alone_can_read_is_taken(
    tmp_path: Path, read: Read, error: type[OrchestratorError], mode: int
) -> None:
    """L1: the line break at the end is not a part of it."""
    assert "\n" not in str(read(written(tmp_path / "secret", mode)))


@READERS
@pytest.mark.parametrize("mode", [0o644, 0o666, 0o640, 0o604, 0o620, 0o602, 0o610])
def test_a_secret_that_others_may_read_or_write_is_refused(
    tmp_path: Path, read: Read, error: type[OrchestratorError], mode: int
) -> None:
    """L1: the settings say "readable by you alone", so that is held; the remedy is the very command."""
    path = written(tmp_path / "secret", mode)
    said = refusal(read, error, path)
    assert f"{mode:04o}" in said
    assert f"chmod 600 {path}" in said


@READERS
@pytest.mark.parametrize("mode", [0o400, 0o440, 0o444])
def test_what_systemd_hands_over_is_taken_with_the_mode_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Read, error: type[OrchestratorError], mode: int
) -> None:
    """L1: credentials belong to root and lie in a folder that nobody else can enter; nobody can write them."""
    folder = tmp_path / "credentials"
    folder.mkdir(mode=0o500)
    folder.chmod(0o700)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    read(written(folder / "secret", mode))
    refusal(read, error, written(folder / "open", 0o666))
    refusal(read, error, written(tmp_path / "secret", 0o444))


@READERS
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_secret_of_somebody_else_is_refused(tmp_path: Path, read: Read, error: type[OrchestratorError]) -> None:
    """L1: its owner may put another in its place."""
    path = written(tmp_path / "secret", 0o600)
    os.chown(path, 65534, 0)
    assert "another user" in refusal(read, error, path)


@READERS
@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "huge", "missing"])
def test_what_is_no_file_of_a_sane_size_holds_no_secret(
    tmp_path: Path, read: Read, error: type[OrchestratorError], kind: str
) -> None:
    """L7: a pipe does not hang, a device is not read, nothing of any size is held."""
    path = tmp_path / "secret"
    match kind:
        case "fifo":
            os.mkfifo(path, 0o600)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir(mode=0o700)
        case "huge":
            with path.open("wb") as sparse:
                sparse.truncate(1 << 40)
            path.chmod(0o600)
        case _:
            pass
    assert "cannot be read" in refusal(read, error, path)


@READERS
@pytest.mark.parametrize("text", ["", "\n", "two words of a secret", "é" * 40, "x\ny"])
def test_a_file_that_holds_no_secret_is_named_as_a_file(
    tmp_path: Path, read: Read, error: type[OrchestratorError], text: str
) -> None:
    """D4: whoever looks for an environment variable then looks in the wrong place."""
    path = tmp_path / "secret"
    path.write_text(text)
    path.chmod(0o600)
    said = refusal(read, error, path)
    assert "variable" not in said
    assert text.strip() == "" or text.strip() not in said
