"""Settings: which place wins, what is refused and in which words, what is never printed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from anthropic import _constants as sdk_constants

from orchestrator.config import (
    KEYS,
    Settings,
    database_flags,
    effective,
    load_settings,
    render_example,
    setting_rows,
)
from orchestrator.domain.api_versions import NEWEST_API_VERSION
from orchestrator.domain.errors import UsageError


class Place:
    """A home and a working directory with the files that a test writes there."""

    def __init__(self, root: Path) -> None:
        self.cwd = root / "work"
        self.home = root / "home"
        self.cwd.mkdir()
        self.home.mkdir()

    def project_file(self, text: str) -> None:
        (self.cwd / "orchestrator.toml").write_text(text, encoding="utf-8")

    def user_file(self, text: str) -> Path:
        file = self.home / ".config" / "orchestrator" / "config.toml"
        file.parent.mkdir(parents=True)
        file.write_text(text, encoding="utf-8")
        return file

    def load(
        self,
        env: Mapping[str, str] | None = None,
        *,
        flags: Mapping[str, object] | None = None,
        config_file: Path | None = None,
        sandbox: bool = False,
    ) -> Settings:
        return load_settings(
            flags={} if flags is None else flags,
            env={"HOME": str(self.home)} | ({} if env is None else dict(env)),
            cwd=self.cwd,
            config_file=config_file,
            sandbox=sandbox,
        )

    def refusal(
        self,
        env: Mapping[str, str] | None = None,
        *,
        flags: Mapping[str, object] | None = None,
        config_file: Path | None = None,
    ) -> UsageError:
        with pytest.raises(UsageError) as caught:
            self.load(env, flags=flags, config_file=config_file)
        return caught.value


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_any_file_the_defaults_hold(place: Place) -> None:
    """The figures that the documentation names."""
    settings = place.load()
    assert settings.api.timeout == timedelta(minutes=10)
    assert settings.database.path == place.home / ".local/share/orchestrator/orchestrator.db"
    assert settings.batching.max_requests is None
    assert settings.batching.max_bytes == 256_000_000
    assert settings.limits.max_in_flight_requests == 200_000
    assert settings.limits.doubt_wait == timedelta(minutes=20)
    assert settings.retry.max_attempts == 5
    assert {settings.origin(name) for name in KEYS} == {"default"}


def test_the_default_api_version_is_the_one_of_the_sdk() -> None:
    """A new SDK with another version must be noticed, because parameters are checked against it."""
    assert sdk_constants.ANTHROPIC_API_VERSION == NEWEST_API_VERSION


def test_flag_beats_environment_beats_project_file_beats_user_file(place: Place) -> None:
    """The order of precedence, one more place taken away in each step; `config show` names the place."""
    user_file = place.user_file("[retry]\nmax_attempts = 2\n")
    assert place.load().origin("retry.max_attempts") == str(user_file)
    place.project_file("[retry]\nmax_attempts = 3\n")
    assert place.load().origin("retry.max_attempts") == "orchestrator.toml"
    variable = {"ORCHESTRATOR_RETRY__MAX_ATTEMPTS": "4"}
    assert place.load(variable).retry.max_attempts == 4
    assert place.load(variable).origin("retry.max_attempts") == "ORCHESTRATOR_RETRY__MAX_ATTEMPTS"
    settings = place.load(flags={"retry.max_attempts": 6, "api.version": None}, env=variable)
    assert (settings.retry.max_attempts, settings.origin("retry.max_attempts")) == (6, "flag")
    assert settings.origin("api.version") == "default"


def test_a_named_file_replaces_both_files(place: Place) -> None:
    """`--config FILE`: what the other files say does not hold, not even in part."""
    place.user_file("[log]\nlevel = 'debug'\n")
    place.project_file("[retry]\nmax_attempts = 3\n")
    (place.cwd / "other.toml").write_text("[limits]\nmax_uploads = 2\n")
    settings = place.load(config_file=Path("other.toml"))
    assert (settings.log.level, settings.retry.max_attempts, settings.limits.max_uploads) == ("info", 5, 2)
    assert settings.origin("limits.max_uploads") == "other.toml"


def test_a_named_file_must_exist(place: Place) -> None:
    """A slip in `--config` must not run with the defaults."""
    with pytest.raises(UsageError, match=r"no such configuration file: gone\.toml"):
        place.load(config_file=Path("gone.toml"))


def test_xdg_folders_are_obeyed_and_relative_ones_ignored(place: Place, tmp_path: Path) -> None:
    """XDG Base Directory Specification: a relative path there counts as unset."""
    folder = tmp_path / "conf" / "orchestrator"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("[retry]\nmax_attempts = 9\n")
    assert place.load({"XDG_CONFIG_HOME": str(tmp_path / "conf")}).retry.max_attempts == 9
    assert place.load({"XDG_CONFIG_HOME": "conf"}).retry.max_attempts == 5
    assert place.load({"XDG_DATA_HOME": "/d"}).database.path == Path("/d/orchestrator/orchestrator.db")
    assert place.load({"XDG_CONFIG_HOME": "/dev/null"}).retry.max_attempts == 5


def test_without_a_home_the_database_must_be_named(place: Place) -> None:
    """Never guess a place for what must not be lost."""
    with pytest.raises(UsageError, match="no place for the database"):
        load_settings(flags={}, env={}, cwd=place.cwd)
    settings = load_settings(flags={"database.path": "x.db"}, env={}, cwd=place.cwd)
    assert settings.database.path == place.cwd / "x.db"


def test_a_relative_path_starts_where_it_is_written(place: Place) -> None:
    """In a file: at that file. On the command line and in the environment: at the working directory."""
    user_file = place.user_file('[database]\npath = "a.db"\n[api]\nkey_file = "~/key"\n')
    settings = place.load({"ORCHESTRATOR_SERVER__TOKEN_FILE": "t"})
    assert settings.database.path == user_file.parent / "a.db"
    assert settings.api.key_file == place.home / "key"
    assert settings.server.token_file == place.cwd / "t"


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("ORCHESTRATOR_LIMITS__POL_INTERVAL", 'did you mean "poll_interval"?'),
        ("ORCHESTRATOR_LIMIT__POLL_INTERVAL", 'did you mean "limits"?'),
        ("ORCHESTRATOR_BATCHING__POLL_INTERVAL", "it belongs to [limits]"),
        ("ORCHESTRATOR_RETRY__ZZZ", "the settings of [retry] are: max_attempts"),
        (
            "ORCHESTRATOR_LIMITS_POLL_INTERVAL",
            'did you mean "ORCHESTRATOR_LIMITS__POLL_INTERVAL"? (two underscores)',
        ),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_name(place: Place, variable: str, hint: str) -> None:
    """A setting that is misspelt must not be passed over in silence."""
    error = place.refusal({variable: "30s"})
    assert error.message.startswith(variable)
    assert error.hint == hint
    assert error.exit_code == 2


def test_other_variables_with_our_prefix_are_left_alone(place: Place) -> None:
    """The command line has variables of its own."""
    assert place.load({"ORCHESTRATOR_SANDBOX": "1", "_ORCHESTRATOR_COMPLETE": "x"}).origin("log.level") == "default"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[limits]\npol_interval = '3s'", "unknown setting [limits] pol_interval", 'did you mean "poll_interval"?'),
        ("[limit]\nmax_uploads = 3", "unknown section [limit]", 'did you mean "limits"?'),
        ("poll_interval = '3s'", "poll_interval stands outside of a section", "put it below a line [limits]"),
        ("limits = 3", "limits is a section, not a setting", "write [limits] on a line of its own"),
        ("[log", "it is not valid TOML", None),
        ("[retry]\nmax_attempts = true", "[retry] max_attempts: expected a whole number, at least 1", None),
        ("[retry]\nmax_attempts = '5'", "[retry] max_attempts: expected a whole number, at least 1", None),
        ("[limits]\npoll_interval = 30", "[limits] poll_interval: expected a duration", 'poll_interval = "30s"'),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(place: Place, text: str, message: str, hint: str | None) -> None:
    """Place, setting, what is expected, and what to write instead."""
    place.project_file(text)
    error = place.refusal()
    assert error.message.startswith("orchestrator.toml: ")
    assert message in error.message
    assert error.hint is not None
    assert hint is None or hint in error.hint


def test_a_list_with_something_else_in_it_is_refused(place: Place) -> None:
    """The one kind of value that only the user's own file may hold."""
    file = place.user_file("[server]\nallowed_hosts = ['a', 1]\n")
    assert place.refusal().message.startswith(f"{file}: [server] allowed_hosts: expected a list of host names")


def test_a_file_that_is_not_text_is_refused(place: Place) -> None:
    """No traceback for what is no text; a byte order mark, however, is harmless."""
    file = place.cwd / "orchestrator.toml"
    file.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in place.refusal().message
    file.write_bytes(b"\xef\xbb\xbf[retry]\nmax_attempts = 7\n")
    assert place.load().retry.max_attempts == 7


def test_a_folder_in_the_place_of_a_file_is_refused(place: Place) -> None:
    """What is there but cannot be read is an error, unlike what is not there."""
    (place.cwd / "orchestrator.toml").mkdir()
    assert "cannot be read" in place.refusal().message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batching.max_requests", "0"),
        ("batching.max_requests", "100001"),
        ("batching.max_bytes", "256000001"),
        ("batching.max_bytes", "0"),
        ("batching.max_bytes", "1.5MB"),
        ("batching.linger", "-1s"),
        ("limits.poll_interval", "0s"),
        ("limits.poll_interval", "30"),
        ("limits.doubt_wait", "9999999999999999d"),
        ("limits.max_uploads", "0"),
        ("retry.max_attempts", "٥"),
        ("api.version", "latest"),
        ("api.base_url", "ftp://x"),
        ("api.delete_after_collect", "perhaps"),
        ("database.path", ""),
        ("sandbox.speed", "nan"),
        ("log.level", "loud"),
        ("server.allowed_hosts", "a,,b"),
        ("budget.max_job", "0"),
        ("budget.max_day", "$0.00"),
        ("budget.max_month", "0usd"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_variable(place: Place, name: str, value: str) -> None:
    """From the environment the error names the variable and shows how to write it there."""
    variable = f"ORCHESTRATOR_{name.replace('.', '__').upper()}"
    error = place.refusal({variable: value})
    assert error.message.startswith(f"{variable}: [{name.partition('.')[0]}] ")
    assert "expected" in error.message
    assert error.hint is not None
    assert error.hint.startswith(f"write for instance: {variable}=")


def test_a_budget_of_nothing_is_refused_as_by_the_command(place: Place) -> None:
    """It would stop every job: a slip of a shell, that makes 0 of $0.50. To be asked from nothing on is no slip."""
    place.project_file("[budget]\nmax_day = 0\n")
    error = place.refusal(config_file=place.cwd / "orchestrator.toml")
    assert "[budget] max_day: expected more than 0 dollars" in error.message
    assert (error.cause, error.hint) == ("it is 0", 'write for instance: max_day = "$50"')
    place.project_file('[budget]\nmax_day = "none"\nmax_job = "$0.000000001"\nconfirm_above = 0\n')
    budget = place.load(config_file=place.cwd / "orchestrator.toml").budget
    assert (budget.max_day, budget.max_job, budget.confirm_above) == (None, 1, 0)


def test_values_from_the_environment_are_read_as_what_they_are(place: Place) -> None:
    """Numbers, sizes, durations, choices and lists, from text."""
    settings = place.load(
        {
            "ORCHESTRATOR_BATCHING__MAX_REQUESTS": " 1000 ",
            "ORCHESTRATOR_BATCHING__MAX_BYTES": "64MiB",
            "ORCHESTRATOR_BATCHING__LINGER": "0s",
            "ORCHESTRATOR_API__DELETE_AFTER_COLLECT": "true",
            "ORCHESTRATOR_LOG__LEVEL": "DEBUG",
            "ORCHESTRATOR_SERVER__ALLOWED_HOSTS": "a.example, b.example",
        }
    )
    assert (settings.batching.max_requests, settings.batching.max_bytes) == (1000, 64 * 2**20)
    assert settings.batching.linger == timedelta(0)
    assert settings.api.delete_after_collect is True
    assert settings.log.level == "debug"
    assert settings.server.allowed_hosts == ("a.example", "b.example")


def test_a_wrong_value_is_refused_even_where_a_stronger_one_hides_it(place: Place) -> None:
    """Otherwise it waits in the file for the day the flag is left out."""
    place.project_file("[retry]\nmax_attempts = 0\n")
    assert "orchestrator.toml" in place.refusal(flags={"retry.max_attempts": 3}).message


def test_an_interval_above_its_maximum_is_refused_not_bent(place: Place) -> None:
    """Both values and their origins are named: one of them was not written by the user."""
    error = place.refusal({"ORCHESTRATOR_LIMITS__POLL_INTERVAL": "10m"})
    assert "poll_interval = 10m (ORCHESTRATOR_LIMITS__POLL_INTERVAL)" in error.message
    assert "poll_interval_max = 5m (default)" in error.message


def test_sandbox_mode_fills_in_what_is_not_set(place: Place) -> None:
    """Its time is compressed and its jobs have a database of their own."""
    settings = place.load(sandbox=True)
    assert settings.limits.poll_interval == timedelta(milliseconds=200)
    assert settings.limits.poll_interval_max == timedelta(seconds=1)
    assert settings.database.path.name == "sandbox.db"
    assert settings.origin("database.path") == "sandbox default"
    assert effective(settings, sandbox=True) == settings
    assert effective(place.load(), sandbox=True) == settings


def test_sandbox_mode_keeps_what_is_set(place: Place) -> None:
    """A path that somebody named is used as it is; the pauses that are not set fit the ones that are."""
    settings = place.load(flags={"database.path": "mine.db", "limits.poll_interval": "2s"}, sandbox=True)
    assert settings.database.path == place.cwd / "mine.db"
    assert settings.limits.poll_interval == settings.limits.poll_interval_max == timedelta(seconds=2)
    quick = place.load({"ORCHESTRATOR_LIMITS__POLL_INTERVAL_MAX": "50ms"}, sandbox=True)
    assert quick.limits.poll_interval == quick.limits.poll_interval_max == timedelta(milliseconds=50)


def test_the_uncommented_example_gives_the_defaults(place: Place) -> None:
    """The example tells the truth: it is made from the settings, and read back it changes nothing."""
    example = render_example()
    uncommented = "".join(line.removeprefix("#") if line[1:2] != " " else line for line in example.splitlines(True))
    assert not any(tomllib.loads(example).values())
    given = sum(len(section) for section in tomllib.loads(uncommented).values())
    assert given == sum(key.default is not None for key in KEYS.values())
    plain = place.load()
    file = place.user_file(uncommented)
    settings = place.load()
    assert [row.text for row in setting_rows(settings)] == [row.text for row in setting_rows(plain)]
    assert settings.origin("log.format") == str(file)


def test_the_values_shown_where_there_is_no_default_are_valid(place: Place) -> None:
    """Whoever uncomments an instance gets a setting that works."""
    file = place.user_file("")
    for key in KEYS.values():
        if key.meaning.example:
            file.write_text(f"[{key.section}]\n{key.key} = {key.meaning.example}\n")
            assert place.load().origin(key.name) == str(file)


@pytest.mark.process
def test_importing_the_settings_loads_nothing_heavy() -> None:
    """`status` has 150 ms in all."""
    code = "import sys, orchestrator.config; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"anthropic", "sqlite3", "aiosqlite", "rich", "click", "asyncio", "structlog", "tenacity", "difflib"}
    assert not heavy & set(done.stdout.split())


URL = "postgresql://orch:hush@db.example.com/orch?sslmode=require"


def shown(settings: Settings) -> dict[str, str | None]:
    return {row.name: row.text for row in setting_rows(settings)}


def test_a_database_on_a_server_is_named_by_its_address(place: Place) -> None:
    """Promise 9: from a variable, a file or a flag; nobody shows its password."""
    settings = place.load({"ORCHESTRATOR_DATABASE__URL": URL})
    assert settings.database.url == URL
    assert shown(settings)["database.url"] == '"postgresql://orch:***@db.example.com/orch?sslmode=require"'
    assert settings.origin("database.url") == "ORCHESTRATOR_DATABASE__URL"
    assert place.load().database.url is None
    place.user_file(f"[database]\nurl = '{URL}'\npassword_file = 'pw'\n[fleet]\nname = 'w-1'\nheartbeat = '4s'\n")
    settings = place.load()
    assert settings.database.url == URL
    assert settings.database.password_file == place.home / ".config/orchestrator/pw"
    assert (settings.fleet.name, settings.fleet.heartbeat) == ("w-1", timedelta(seconds=4))


@pytest.mark.parametrize(
    ("db", "url", "path"),
    [(URL, URL, "a.db"), ("postgres://db/orch", "postgres://db/orch", "a.db"), ("mine.db", None, "mine.db")],
)
def test_db_is_an_address_or_a_file_and_beats_both(place: Place, db: str, url: str | None, path: str) -> None:
    """`--db FILE` means that file, also where a variable names a server."""
    env = {"ORCHESTRATOR_DATABASE__URL": "postgresql://other/x", "ORCHESTRATOR_DATABASE__PATH": "a.db"}
    settings = place.load(env, flags=database_flags(db))
    assert (settings.database.url, settings.database.path) == (url, place.cwd / path)
    assert database_flags(None) == {"database.url": None}
    assert settings.is_set("database.url") is (url is not None)


@pytest.mark.parametrize(
    "slip",
    [
        "postgress://o:hush@db/orch",
        "postgresql+psycopg://o:hush@db/x",
        "postgresql:/o:hush@db/x",
        "postgresql:o:hush@db",
    ],
)
def test_a_misspelt_address_is_no_file(place: Place, slip: str) -> None:
    """Each machine of a fleet would make a file of its own, in a folder that is called as the password."""
    for flags, env in ((database_flags(slip), {}), ({}, {"ORCHESTRATOR_DATABASE__PATH": slip})):
        with pytest.raises(UsageError, match="postgresql://orch@db") as refused:
            place.load(env, flags=flags)
        assert "hush" not in f"{refused.value}{refused.value.cause}{refused.value.hint}"


@pytest.mark.parametrize("name", ["a:b.db", "postgres.db", "c/postgres:x/y.db"])
def test_a_colon_in_the_name_of_a_file_makes_no_address(place: Place, name: str) -> None:
    assert place.load(flags=database_flags(name)).database.path == place.cwd / name


@pytest.mark.parametrize(
    "bad",
    [
        "mysql://orch:hush@db/orch",
        "POSTGRESQL://orch:hush@db/orch",
        "orch:hush@db/orch",
        "postgresql://orch:hu@sh@db/orch",
        "postgresql://orch:hu/sh@db/orch",
        "postgresql://orch:hush @db/orch",
        "postgresql://orch:hush@db/orch#x",
        "postgresql://db/orch?password=hush&x",
        "postgresql://db/orch?pass%77ord=hush",
        "postgresql://db/orch?sslpassword=hush&=",
        "host=db password=hush",
    ],
)
def test_a_wrong_address_is_refused_without_its_password(place: Place, bad: str) -> None:
    """The setting is named, and the password is not."""
    for env, flags in (({"ORCHESTRATOR_DATABASE__URL": bad}, {}), ({}, {"database.url": bad})):
        refused = place.refusal(env, flags=flags)
        assert "[database] url: expected an address such as" in refused.message
        assert "sh" not in str(refused.cause)


def test_a_password_is_no_setting(place: Place) -> None:
    """Promise 9: the remedy is a file that holds it alone."""
    place.project_file("[database]\npassword = 'hush'\n")
    refused = place.refusal()
    assert "looks like a password" in refused.message
    assert "password_file" in str(refused.hint)
    assert "hush" not in str(refused)


def test_a_fleet_waits_long_enough_in_doubt(place: Place) -> None:
    """Promise 2: what a daemon that was taken over had half sent must not arrive after the wait."""
    env = {"ORCHESTRATOR_DATABASE__URL": URL, "ORCHESTRATOR_LIMITS__DOUBT_WAIT": "9m59s"}
    refused = place.refusal(env)
    assert "doubt_wait = 9m59s" in refused.message
    assert "at least 10m" in str(refused.hint)
    assert place.load({**env, "ORCHESTRATOR_LIMITS__DOUBT_WAIT": "10m"}).database.url == URL
    assert place.load(env, sandbox=True).limits.doubt_wait == timedelta(minutes=9, seconds=59)
    del env["ORCHESTRATOR_DATABASE__URL"]
    assert place.load(env).limits.doubt_wait == timedelta(minutes=9, seconds=59)


def test_sandbox_mode_keeps_what_was_set_of_the_database(place: Place) -> None:
    """Its own file is a default, and changes nothing else."""
    settings = place.load({"ORCHESTRATOR_DATABASE__URL": URL, "ORCHESTRATOR_DATABASE__KEEP_BODIES": "3d"}, sandbox=True)
    assert settings.database.url == URL
    assert settings.database.keep_bodies == timedelta(days=3)
