"""`[[webhooks]]`: the setting that is a list of tables, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config import Settings, WebhookSection, load_settings, setting_rows
from orchestrator.domain.errors import UsageError

GOOD = """
[[webhooks]]
url = "https://example.com/hook"
secret_env = "HOOK"
[[webhooks]]
url = "http://10.0.0.7/hook"
secret_file = "secret"
events = ["job.finished", "batch.in_doubt"]
allow_private = true
"""


def loaded(folder: Path, text: str) -> Settings:
    (folder / "hooks.toml").write_text(text)
    return load_settings(flags={}, env={"HOME": str(folder)}, cwd=folder, config_file=Path("hooks.toml"))


def test_endpoints_are_read_in_order_with_their_defaults(tmp_path: Path) -> None:
    """A relative path starts at the file's folder, as everywhere."""
    settings = loaded(tmp_path, GOOD)
    assert settings.webhooks == (
        WebhookSection(url="https://example.com/hook", secret_env="HOOK"),  # noqa: S106 - a variable's name
        WebhookSection(
            url="http://10.0.0.7/hook",
            secret_file=tmp_path / "secret",
            events=("job.finished", "batch.in_doubt"),
            allow_private=True,
        ),
    )
    assert settings.origin("webhooks") == "hooks.toml"
    rows = {row.name: row.text for row in setting_rows(settings)}
    assert rows["webhooks.1"] == '{url = "https://example.com/hook", secret_env = "HOOK"}'


def test_without_any_there_are_none(tmp_path: Path) -> None:
    """The default."""
    assert loaded(tmp_path, "").webhooks == ()


def test_the_endpoints_of_the_stronger_file_stand_alone(tmp_path: Path) -> None:
    """As with every setting: they are not mixed."""
    user = tmp_path / ".config/orchestrator"
    user.mkdir(parents=True)
    (user / "config.toml").write_text(GOOD)
    one = loaded(tmp_path, '[[webhooks]]\nurl = "https://one.example"\nsecret_env = "S"\n')
    assert [webhook.url for webhook in one.webhooks] == ["https://one.example"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[webhooks]\nurl = "https://x.example"\n', "webhooks is a list of tables"),
        ("webhooks = 3\n", "webhooks is a list of tables"),
        ('[[webhooks]]\nsecret_env = "S"\n', "number 1 has no url"),
        ('[[webhooks]]\nurl = "https://x.example"\n', "number 1 needs a secret from one place"),
        ('[[webhooks]]\nurl="https://x.example"\nsecret_env="S"\nsecret_file="f"\n', "needs a secret from one place"),
        ('[[webhooks]]\nurl = "http://x.example"\nsecret_env = "S"\n', "without https"),
        ('[[webhooks]]\nurl = "https://u:p@x.example"\nsecret_env = "S"\n', "url: expected an address"),
        ('[[webhooks]]\nurl="https://x.example"\nsecret_env="S"\nevents=["job.done"]\n', "events: expected a list of"),
        ('[[webhooks]]\nurl="https://x.example"\nsecret_env="S"\nevent=["job.done"]\n', "unknown setting event"),
        (GOOD + '[[webhooks]]\nurl="https://example.com/hook"\nsecret_env="S"\n', "number 3 has the url of an earlier"),
    ],
    ids=str,
)
def test_a_wrong_one_is_refused_with_its_number(tmp_path: Path, text: str, told: str) -> None:
    """The file, which block, what is wrong, and how it is right."""
    with pytest.raises(UsageError) as refused:
        loaded(tmp_path, text)
    assert told in refused.value.message
    assert refused.value.message.startswith("hooks.toml: ")
    assert refused.value.hint is not None
    assert "u:p" not in f"{refused.value.message} {refused.value.cause} {refused.value.hint}"


@pytest.mark.parametrize("line", ['secret = "abc"', 'secret_env = "whsec_abc"', 'token = "whsec_abc"'])
def test_a_secret_in_a_file_is_refused_and_not_repeated(tmp_path: Path, line: str) -> None:
    """It would be copied and committed with the file."""
    with pytest.raises(UsageError) as refused:
        loaded(tmp_path, f'[[webhooks]]\nurl = "https://x.example"\n{line}\n')
    assert "do not hold secrets" in refused.value.message
    assert "abc" not in f"{refused.value.message} {refused.value.cause} {refused.value.hint}"


def test_the_example_shows_a_block_that_is_valid(tmp_path: Path) -> None:
    """Of the two places for the secret it shows both; one has to go."""
    text = (Path(__file__).parents[2] / "config.example.toml").read_text(encoding="utf-8")
    block = text[text.index("# [[webhooks]]") :]
    lines = [line.removeprefix("# ") for line in block.splitlines() if "secret_file" not in line]
    assert len(loaded(tmp_path, "\n".join(lines)).webhooks) == 1
