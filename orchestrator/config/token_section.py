"""`[[tokens]]`: who may ask a daemon, and what they may do, one block for each. Read from files alone.

A block holds the SHA-256 of a token, never the token: the file may be read by whoever reads settings. A token that
`orchestrator service token` makes has 256 random bits, so nobody finds it by its digest; nor does the digest open
anything by itself, a login included (`guard.access_tokens`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Final

from orchestrator.config import values
from orchestrator.config.block_settings import blocks_key, example_block, read_blocks
from orchestrator.config.setting import META, NOT_HERE, REFUSED, Key, Meaning, means
from orchestrator.config.values import SettingOrigin, toml_text
from orchestrator.domain.access import DEFAULT_NAME, NAME_RULE, AccessRole, is_token_name

#: The name of the setting, in files and in `config show`.
TOKENS: Final = "tokens"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SHOWN: Final = 8
_MAKE: Final = "`orchestrator service token --name NAME --role ROLE` makes one, and prints its block"


def _checked(expected: str, is_good: re.Pattern[str] | None = None) -> values.ValueKind:
    def read(value: object, _: SettingOrigin) -> object:
        if isinstance(value, str) and (is_token_name(value) if is_good is None else is_good.fullmatch(value)):
            return value
        raise ValueError

    return values.ValueKind(expected=expected, read=read)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSection:
    """`[[tokens]]`: one person or program that may ask the daemon."""

    name: str = field(
        default="",
        metadata=means(
            _checked(NAME_RULE),
            f"Who it is: {NAME_RULE}.\nThe name stands with the jobs that are submitted, and in the events.",
            example='"ana"',
            project=REFUSED,
        ),
    )
    role: str = field(
        default="",
        metadata=means(
            values.choice(*AccessRole),
            "read: see jobs, prompts, answers, costs, events. submit: also hand jobs in, and steer those.\n"
            "admin: everything, other people's jobs, budgets, settings and webhooks included.",
            example='"submit"',
            project=REFUSED,
        ),
    )
    sha256: str = field(
        default="",
        metadata=means(
            _checked("the SHA-256 of the token, 64 digits of 0-9 and a-f", _DIGEST),
            "The SHA-256 of the token, as `orchestrator service token --name NAME --role ROLE` prints it.",
            example=f'"{"0" * 60}beef"',
            project=REFUSED,
        ),
    )

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the token."""
        return bytes.fromhex(self.sha256)


_FIELDS: Final[Mapping[str, Meaning]] = {each.name: each.metadata[META] for each in fields(TokenSection)}


def tokens_key() -> Key:
    """The setting of these blocks."""
    return blocks_key(TOKENS, _read)


def token_example_lines() -> Iterator[str]:
    """A block for the example file, as a comment."""
    yield "# Tokens of a team: who may ask the daemon, beside the one token of [server]. None, unless you add one."
    yield f"# {NOT_HERE}. Taken over with SIGHUP."
    yield from example_block(TOKENS, _FIELDS)


def token_settings() -> Iterator[tuple[str, Meaning]]:
    """The keys of a block and their meanings."""
    yield from _FIELDS.items()


def token_block(name: str, role: AccessRole, sha256: str) -> str:
    """The block of one token, to be put into the settings."""
    told = {"name": name, "role": role.value, "sha256": sha256}
    return "\n".join([f"[[{TOKENS}]]", *(f"{key} = {toml_text(value)}" for key, value in told.items())])


def token_table(token: TokenSection) -> str:
    """One token for `config show`, with the beginning of its digest."""
    start = toml_text(f"{token.sha256[:_SHOWN]}…")
    return f"{{name = {toml_text(token.name)}, role = {toml_text(token.role)}, sha256 = {start}}}"


def _read(raw: object, source: SettingOrigin) -> tuple[TokenSection, ...]:
    found: list[TokenSection] = []
    for place, read in read_blocks(TOKENS, raw, _FIELDS, source):
        missing = [name for name in _FIELDS if name not in read]
        if missing:
            place.refuse(f"has no {missing[0]}", _MAKE)
        token = TokenSection(**read)  # type: ignore[arg-type]  # each was read by the kind of its field
        if token.name == DEFAULT_NAME:
            place.refuse(f"cannot be called {DEFAULT_NAME}", "that is the token of [server] token_file")
        if token.name in [each.name for each in found]:
            place.refuse(f"has the name of an earlier one, {token.name}", "give every token a name of its own")
        if token.sha256 in [each.sha256 for each in found]:
            place.refuse("has the sha256 of an earlier one", f"a token has one name and one role; {_MAKE}")
        found.append(token)
    return tuple(found)
