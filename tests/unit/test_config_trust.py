"""H1, L7: the project file comes with a folder, which may be somebody else's: what it may set, when it is refused."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from orchestrator.config import KEYS, Settings, load_settings
from orchestrator.config.setting import INSIDE, REFUSED
from orchestrator.config.token_section import tokens_key
from orchestrator.config.webhook_section import webhooks_key
from orchestrator.domain.errors import UsageError

#: A value of each kind, where the default and the example show none.
SAMPLES = {"server.allowed_hosts": '["evil.example"]'}
HOOK = '[[webhooks]]\nurl = "https://evil.example"\nsecret_env = "S"\n'

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


def loaded(folder: Path, text: str, *, env: dict[str, str] | None = None, config: str | None = None) -> Settings:
    (folder / "orchestrator.toml").write_text(text, encoding="utf-8")
    return read(folder, env=env, config=config)


def read(folder: Path, *, env: dict[str, str] | None = None, config: str | None = None) -> Settings:
    env = {"HOME": str(folder / "home"), **({} if env is None else env)}
    return load_settings(flags={}, env=env, cwd=folder, config_file=None if config is None else Path(config))


def line_of(name: str) -> str:
    meaning = KEYS[name].meaning
    value = SAMPLES.get(name) or meaning.example or meaning.kind.show(KEYS[name].default)
    return f"[{KEYS[name].section}]\n{KEYS[name].key} = {value}\n"


def test_the_list_of_what_a_folder_may_not_say() -> None:
    """H1: written out, so that a setting which joins or leaves it is seen."""
    assert [key.name for key in KEYS.values() if key.meaning.project is REFUSED] == [
        "api.base_url",
        "api.plain_http_hosts",
        "api.delete_after_collect",
        "api.key_file",
        "database.url",
        "database.password_file",
        "database.keep_bodies",
        "limits.doubt_wait",
        "prices.file",
        "prices.factor",
        "budget.max_job",
        "budget.max_day",
        "budget.max_month",
        "budget.confirm_above",
        "cache.mode",
        "defaults.model",
        "defaults.max_tokens",
        "defaults.system",
        "server.listen",
        "server.token_file",
        "server.allowed_hosts",
        "server.public_url",
        "server.max_connections",
        "server.max_body",
        "telemetry.otel",
    ]
    assert [key.name for key in KEYS.values() if key.meaning.project is INSIDE] == ["database.path"]
    assert webhooks_key().meaning.project is REFUSED
    assert tokens_key().meaning.project is REFUSED


@pytest.mark.parametrize("name", [key.name for key in KEYS.values() if key.meaning.project is REFUSED])
def test_a_folder_does_not_say_where_keys_go(tmp_path: Path, name: str) -> None:
    """H1: exit 2 with the reason and the remedy, also where a stronger place says otherwise; elsewhere it is taken."""
    section, _, key = name.partition(".")
    variable = f"ORCHESTRATOR_{section.upper()}__{key.upper()}"
    with pytest.raises(UsageError) as caught:
        loaded(tmp_path, line_of(name))
    assert caught.value.exit_code == 2
    assert caught.value.message == f"orchestrator.toml: [{section}] {key} cannot be set here"
    assert "comes with a folder" in str(caught.value.cause)
    assert variable in str(caught.value.hint)
    assert "--config orchestrator.toml" in str(caught.value.hint)
    value = tomllib.loads(line_of(name))[section][key]
    text = ",".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)
    with pytest.raises(UsageError):
        loaded(tmp_path, line_of(name), env={variable: text})
    assert loaded(tmp_path, line_of(name), config="orchestrator.toml").origin(name) == "orchestrator.toml"
    assert loaded(tmp_path, "", env={variable: text}).origin(name) == variable
    user = tmp_path / "home/.config/orchestrator/config.toml"
    user.parent.mkdir(parents=True)
    user.write_text(line_of(name))
    assert read(tmp_path).origin(name) == str(user)


@pytest.mark.parametrize("text", [HOOK, "webhooks = []\n", "webhooks = 3\n"])
def test_a_folder_does_not_say_who_is_told(tmp_path: Path, text: str) -> None:
    """H1: a notice carries what a job is, and its address may lie on this machine."""
    with pytest.raises(UsageError, match=r"\[\[webhooks\]\] cannot be set here"):
        loaded(tmp_path, text)


def test_what_is_left_is_how_the_work_is_done(tmp_path: Path) -> None:
    """H1: limits, retries, batching, log, sandbox: a project may have its own."""
    free = [key for key in KEYS.values() if key.meaning.project not in {REFUSED, INSIDE}]
    for key in free:
        assert loaded(tmp_path, line_of(key.name)).origin(key.name) == "orchestrator.toml"


@pytest.mark.parametrize("path", ["jobs.db", "./a/b/jobs.db", "a/../jobs.db"])
def test_a_folder_may_have_a_store_of_its_own(tmp_path: Path, path: str) -> None:
    """H1: inside of the folder, wherever it is."""
    settings = loaded(tmp_path, f'[database]\npath = "{path}"\n')
    assert settings.database.path.resolve().is_relative_to(tmp_path.resolve())


@pytest.mark.parametrize("path", ["/srv/x.db", "../x.db", "~/x.db", "out/x.db", "link.db", "a/../../x.db"])
def test_a_folder_does_not_name_a_store_outside_of_it(tmp_path: Path, path: str) -> None:
    """H1: not by a link either; that store may have jobs in it that somebody wants to be paid for."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "out").symlink_to(tmp_path)
    (folder / "link.db").symlink_to(tmp_path / "other.db")
    with pytest.raises(UsageError, match=r"\[database\] path cannot be set here") as caught:
        loaded(folder, f'[database]\npath = "{path}"\n', env={"HOME": str(tmp_path)})
    assert "ORCHESTRATOR_DATABASE__PATH" in str(caught.value.hint)


@pytest.mark.parametrize("mode", [0o666, 0o602, 0o646, 0o777])
def test_a_project_file_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    """H1: whoever may write it may have written it; who names it with --config has looked."""
    file = tmp_path / "orchestrator.toml"
    file.write_text("[retry]\nmax_attempts = 3\n")
    file.chmod(mode)
    with pytest.raises(UsageError) as caught:
        read(tmp_path)
    assert f"{mode:04o}" in str(caught.value.cause)
    assert "--config orchestrator.toml" in str(caught.value.hint)
    assert read(tmp_path, config="orchestrator.toml").retry.max_attempts == 3
    file.chmod(0o644)
    assert read(tmp_path).retry.max_attempts == 3


@AS_ROOT
@pytest.mark.parametrize("group", [12345, None])
def test_a_project_file_of_somebody_else_is_refused(tmp_path: Path, group: int | None) -> None:
    """H1: anybody can plant one in /tmp; a group that others may be in counts as others; so does a link of theirs."""
    file = tmp_path / "orchestrator.toml"
    file.write_text("[retry]\nmax_attempts = 3\n")
    if group is None:
        os.chown(file, 65534, 0)
    else:
        os.chown(file, 0, group)
        file.chmod(0o664)
    with pytest.raises(UsageError, match="are not taken"):
        read(tmp_path)
    mine = tmp_path / "mine.toml"
    mine.write_text("[retry]\nmax_attempts = 3\n")
    file.unlink()
    file.symlink_to(mine)
    assert read(tmp_path).retry.max_attempts == 3
    os.chown(file, 65534, 0, follow_symlinks=False)
    with pytest.raises(UsageError, match="are not taken"):
        read(tmp_path)


@AS_ROOT
@pytest.mark.parametrize("which", ["file", "folder"])
def test_a_link_of_somebody_else_anywhere_on_the_way_is_refused(tmp_path: Path, which: str) -> None:
    """H1: own link, foreign link, own file: whoever owns the middle one decides which file of ours is read."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "mine.toml").write_text("[retry]\nmax_attempts = 3\n")
    foreign = tmp_path / "foreign"
    if which == "file":
        foreign.symlink_to("real/../real/mine.toml")
        (tmp_path / "orchestrator.toml").symlink_to(foreign)
    else:
        foreign.symlink_to(tmp_path / "real")
        (tmp_path / "orchestrator.toml").symlink_to("foreign/mine.toml")
    assert read(tmp_path).retry.max_attempts == 3
    os.chown(foreign, 65534, 0, follow_symlinks=False)
    with pytest.raises(UsageError, match="are not taken") as caught:
        read(tmp_path)
    assert caught.value.cause == "a link on the way to it belongs to another user"
    assert read(tmp_path, config="orchestrator.toml").retry.max_attempts == 3


@pytest.mark.parametrize("how", ["mode", pytest.param("owner", marks=AS_ROOT), pytest.param("link", marks=AS_ROOT)])
def test_the_users_own_file_must_be_the_users_own(tmp_path: Path, how: str) -> None:
    """H1: it may say where keys go, so whoever can write it could take them; who names it has looked."""
    user = tmp_path / "home/.config/orchestrator/config.toml"
    user.parent.mkdir(parents=True)
    user.write_text('[api]\nbase_url = "https://one.test"\n')
    assert read(tmp_path).api.base_url == "https://one.test"
    match how:
        case "mode":
            user.chmod(0o666)
        case "owner":
            os.chown(user, 65534, 0)
        case _:
            user.rename(tmp_path / "elsewhere.toml")
            user.symlink_to(tmp_path / "elsewhere.toml")
            os.chown(user, 65534, 0, follow_symlinks=False)
    with pytest.raises(UsageError, match="are not taken") as caught:
        read(tmp_path)
    assert caught.value.exit_code == 2
    assert f"--config {user}" in str(caught.value.hint)
    assert read(tmp_path, config=str(user)).api.base_url == "https://one.test"


#: More than a settings file has, in each way of TOML to nest.
DEEP = {
    "lists": "x = " + "[" * 100_000,
    "closed lists": "x = " + "[" * 200 + "]" * 200,
    "tables": "x = " + "{a=" * 100_000,
    "keys": "a." * 100_000 + "a = 1",
    "spaced keys": "a . " * 100_000 + "a = 1",
    "quoted keys": "\"a\".'b'." * 50_000 + "a = 1",
    "escaped keys": r'"\".".' * 100_000 + "a = 1",
    "a header": "[" + "a." * 100_000 + "a]",
    "keys in tables": "x = " + ("{" + "a." * 100 + "a=") * 200 + "1" + "}" * 200,
}


@pytest.mark.parametrize("which", ["project", "named"])
@pytest.mark.parametrize("kind", DEEP)
def test_what_is_nested_beyond_reason_is_refused(tmp_path: Path, kind: str, which: str) -> None:
    """L7: it was called a bug of ours, or took hours and all memory: dotted keys cost the square of their length."""
    with pytest.raises(UsageError, match="nested too deeply") as caught:
        loaded(tmp_path, DEEP[kind], config="orchestrator.toml" if which == "named" else None)
    assert caught.value.exit_code == 2


def test_a_text_with_many_dots_is_not_nested(tmp_path: Path) -> None:
    """L7: a list of hosts may be long, and stands on one line."""
    hosts = ", ".join(f'"a.b.c{number}.example"' for number in range(2000))
    text = f"[api]\nplain_http_hosts = [{hosts}]\n"
    assert len(loaded(tmp_path, text, config="orchestrator.toml").api.plain_http_hosts) == 2000


@pytest.mark.parametrize("which", ["project", "user", "named"])
@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "huge"])
def test_what_is_no_file_of_a_sane_size_is_refused_at_once(tmp_path: Path, which: str, kind: str) -> None:
    """L7: a pipe does not hang, a device is not read, and nothing of any size is held."""
    user = tmp_path / "home/.config/orchestrator/config.toml"
    user.parent.mkdir(parents=True)
    file = {"project": tmp_path / "orchestrator.toml", "user": user, "named": tmp_path / "named.toml"}[which]
    match kind:
        case "fifo":
            os.mkfifo(file)
        case "device":
            file.symlink_to("/dev/zero")
        case "folder":
            file.mkdir()
        case _:
            with file.open("wb") as sparse:
                sparse.truncate(1 << 40)
    with pytest.raises(UsageError, match="cannot be read") as caught:
        read(tmp_path, config="named.toml" if which == "named" else None)
    assert caught.value.cause in {"it is not a regular file", "it is a folder", "it is larger than 1 MiB"}
