"""`[[tokens]]`: who may ask a daemon; only digests stand there, and what is wrong is told without showing a value."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from orchestrator.config import Settings, load_settings, setting_rows
from orchestrator.config.token_section import token_block
from orchestrator.domain.access import AccessRole
from orchestrator.domain.errors import UsageError

DIGEST = hashlib.sha256(b"a token").hexdigest()
OTHER = hashlib.sha256(b"another").hexdigest()
ANA = token_block("ana@example.com", AccessRole.SUBMIT, DIGEST)


def loaded(folder: Path, text: str) -> Settings:
    (folder / "t.toml").write_text(text)
    return load_settings(flags={}, env={"HOME": str(folder)}, cwd=folder, config_file=Path("t.toml"))


def test_a_team_is_read_and_shown_without_what_opens_anything(tmp_path: Path) -> None:
    """Name, role and digest; `config show` has the beginning of the digest, to tell tokens apart."""
    found = loaded(tmp_path, f"{ANA}\n{token_block('ci', AccessRole.READ, OTHER)}")
    assert [(each.name, each.role, each.digest.hex()) for each in found.tokens] == [
        ("ana@example.com", "submit", DIGEST),
        ("ci", "read", OTHER),
    ]
    rows = {row.name: (row.text, row.origin) for row in setting_rows(found)}
    assert rows["tokens.1"] == (
        f'{{name = "ana@example.com", role = "submit", sha256 = "{DIGEST[:8]}…"}}',
        "t.toml",
    )
    assert loaded(tmp_path, "").tokens == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[tokens]\nname = 'x'", "tokens is a list of tables"),
        (f'[[tokens]]\nname = "x"\nsha256 = "{DIGEST}"', "number 1 has no role"),
        (f'[[tokens]]\nrole = "read"\nsha256 = "{DIGEST}"', "number 1 has no name"),
        ('[[tokens]]\nname = "x"\nrole = "read"', "number 1 has no sha256"),
        (ANA.replace("submit", "owner"), "number 1 role: expected"),
        (ANA.replace(DIGEST, "MY-TOKEN-IN-CLEAR"), "number 1 sha256: expected the SHA-256 of the token"),
        (ANA.replace(DIGEST, DIGEST.upper()), "number 1 sha256: expected"),
        (f'{ANA}\ntoken = "MY-TOKEN-IN-CLEAR"', "number 1 has an unknown setting token"),
        (f"{ANA}\n{ANA.replace(DIGEST, OTHER)}", "number 2 has the name of an earlier one"),
        (f"{ANA}\n{ANA.replace('ana@', 'eve@')}", "number 2 has the sha256 of an earlier one"),
        (ANA.replace("ana@example.com", "default"), "number 1 cannot be called default"),
        *(
            (ANA.replace('"ana@example.com"', odd), "number 1 name: expected")
            for odd in ('""', '"a b"', '"<b>"', '"ä"', '"a\\u0000"', '"a\\nb"', '"../x"', f'"{"x" * 65}"', '"-rf"', "7")
        ),
    ],
)
def test_a_wrong_block_says_which_and_never_shows_a_value(tmp_path: Path, text: str, told: str) -> None:
    """Somebody may have written the token itself there."""
    with pytest.raises(UsageError) as caught:
        loaded(tmp_path, text)
    assert told in caught.value.message
    assert "MY-TOKEN" not in str(caught.value)
