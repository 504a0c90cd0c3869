"""Promise 9 for settings: no place for secrets, and no message that quotes one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.config import load_settings
from orchestrator.domain.errors import UsageError

SECRET = "sk-ant-api03-do-not-print-me"  # noqa: S105 - the point of the test


def refusal(
    cwd: Path, *, file: str = "", env: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> UsageError:
    (cwd / "orchestrator.toml").write_text(file, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_settings(flags={} if flags is None else flags, env={} if env is None else env, cwd=cwd)
    return caught.value


def everything(error: UsageError) -> str:
    return f"{error.message} {error.cause} {error.hint} {error!r} {error.__cause__!r} {error.__context__!r}"


@pytest.mark.parametrize(
    "text",
    [
        f'[api]\napi_key = "{SECRET}"',
        f'[api]\nbase_url = "{SECRET}"',
        f'[server]\nallowed_hosts = ["{SECRET}"]',
        f'ANTHROPIC_API_KEY = "{SECRET}"',
        f'[anthropic.production]\nkey = "{SECRET}"',
        '[api]\nsecret = "hunter2-do-not-print-me"',
    ],
)
def test_a_key_in_a_file_is_refused_and_never_shown(tmp_path: Path, text: str) -> None:
    """Promise 9: configuration files get copied and committed."""
    error = refusal(tmp_path, file=text)
    assert "looks like an API key" in error.message
    assert "key_file" in str(error.hint)
    assert "do-not-print-me" not in everything(error)


def test_a_key_in_a_variable_or_a_flag_is_refused_and_never_shown(tmp_path: Path) -> None:
    """Promise 9, for the places that are not files."""
    errors = [
        refusal(tmp_path, env={"ORCHESTRATOR_API__KEY_FILE": SECRET}),
        refusal(tmp_path, env={"ORCHESTRATOR_API__API_KEY": SECRET}),
        refusal(tmp_path, flags={"api.key_file": SECRET}),
    ]
    assert not [error for error in errors if "do-not-print-me" in everything(error)]


def test_a_password_in_an_address_is_refused_and_never_shown(tmp_path: Path) -> None:
    """`config show` prints addresses, so they hold no password; the refusal does not print it either."""
    error = refusal(tmp_path, env={"ORCHESTRATOR_API__BASE_URL": "https://me:do-not-print-me@gateway.example.com"})
    assert "without a user name" in error.message
    assert "do-not-print-me" not in everything(error)
