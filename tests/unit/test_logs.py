"""Logs: their form, who is heard, and what they never say."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from orchestrator.observability.logs import FLOODABLE, NOISY, OWN, configure_logging, get_logger

SECRET = "sk-ant-api03-do_not-print-me"  # noqa: S105 - the point of the test


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Give the process back the logging that it had."""
    root = logging.getLogger()
    handlers = list(root.handlers)
    levels = {name: logging.getLogger(name).level for name in (OWN, *NOISY)}
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_what_may_repeat_for_long_is_written_once_a_minute() -> None:
    """A client's doing, or a database that is away: tried every second, it would fill the log."""
    out = io.StringIO()
    configure_logging(level="info", fmt="json", stream=out)
    assert "fleet.database_away" in FLOODABLE
    for event in sorted(FLOODABLE):
        for number in range(3):
            get_logger("orchestrator.x").warning(event, why=f"try {number}")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == sorted(FLOODABLE)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def fail_with_a_secret_at_hand() -> None:
    local_value = "local-do_not-print-me"
    raise ValueError(f"Illegal header value b'{SECRET}' {len(local_value)}")


def test_json_is_one_object_a_line_with_the_fixed_fields() -> None:
    """Machines read `timestamp` (ISO, UTC), `level`, `logger`, `event`, and the fields."""
    out = io.StringIO()
    configure_logging(level="info", fmt="auto", stream=out)
    log = get_logger("orchestrator.engine.submit").bind(job_id=1)
    log.info("batch.submitted", batch_id=7, name="a\nb", message="m")
    log.debug("batch.looked_at")
    (line,) = out.getvalue().splitlines()
    event = json.loads(line)
    assert datetime.fromisoformat(event.pop("timestamp")).utcoffset() == timedelta(0)
    assert event == {
        "job_id": 1,
        "batch_id": 7,
        "name": "a\nb",
        "message": "m",
        "event": "batch.submitted",
        "level": "info",
        "logger": "orchestrator.engine.submit",
    }


def test_a_terminal_gets_lines_for_people() -> None:
    """With "auto" the stream is asked, with "json" and "console" nobody is."""
    out, forced = Terminal(), Terminal()
    configure_logging(level="debug", fmt="auto", stream=out)
    get_logger("orchestrator.x").debug("job.created", job_id=3)
    assert "job.created" in out.getvalue()
    assert not out.getvalue().startswith("{")
    configure_logging(level="debug", fmt="json", stream=forced)
    get_logger("orchestrator.x").debug("job.created", job_id=3)
    assert json.loads(forced.getvalue())["job_id"] == 3


def test_the_last_configuration_holds() -> None:
    """Configured twice, an event is not written twice."""
    first, second = io.StringIO(), io.StringIO()
    log = get_logger("orchestrator.x")
    configure_logging(level="info", fmt="json", stream=first)
    log.info("one.done")
    configure_logging(level="error", fmt="json", stream=second)
    log.warning("two.done")
    log.error("three.done")
    assert [json.loads(line)["event"] for line in first.getvalue().splitlines()] == ["one.done"]
    assert [json.loads(line)["event"] for line in second.getvalue().splitlines()] == ["three.done"]


@pytest.mark.parametrize("name", ["anthropic", "aiosqlite", "httpx2", "uvicorn.error", "some.library"])
def test_libraries_are_heard_from_warning_up_whatever_they_set(name: str) -> None:
    """ANTHROPIC_LOG=debug makes the SDK log bodies: no prompt may get into our logs by it."""
    out = io.StringIO()
    configure_logging(level="debug", fmt="json", stream=out)
    library = logging.getLogger(name)
    before = library.level
    library.setLevel(logging.DEBUG)
    library.debug("Request options: %s", {"prompt": "private"})
    library.info("private")
    library.warning("pool is %s", "full")
    library.setLevel(before)
    (line,) = out.getvalue().splitlines()
    assert json.loads(line)["event"] == "pool is full"
    assert json.loads(line)["logger"] == name


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_secrets_are_masked_wherever_they_stand(fmt: str) -> None:
    """Promise 9, the second net: names that tell, texts that look like a key or have a password, in anybody's logs."""

    class Opaque:
        def __repr__(self) -> str:
            return f"<client {SECRET}>"

    out = io.StringIO()
    configure_logging(level="debug", fmt="json" if fmt == "json" else "console", stream=out)
    log = get_logger("orchestrator.x")
    log.info(
        "call.made",
        api_key="do_not-print-me",
        headers=[{"X-Api-Key": b"do_not-print-me", "Authorization": "Bearer do_not-print-me"}],
        note=(f"key {SECRET}", SECRET.encode()),
        database="postgresql://orch:do_not-print-me@db/orch",
        client=Opaque(),
    )
    logging.getLogger("httpx2").warning("sent %s and Bearer do_not-print-me", SECRET)
    assert "print-me" not in out.getvalue()
    assert out.getvalue().count("***") >= 6


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_a_traceback_shows_neither_local_variables_nor_secrets(fmt: str) -> None:
    """Rich's tracebacks, a common default, would print every local variable."""
    out = io.StringIO()
    configure_logging(level="info", fmt="json" if fmt == "json" else "console", stream=out)
    try:
        fail_with_a_secret_at_hand()
    except ValueError as exc:
        get_logger("orchestrator.x").exception("core.failed")
        logging.getLogger("library").error("failed", exc_info=exc)
    assert out.getvalue().count("ValueError: Illegal header value") == 2
    assert "local-do_not-print-me" not in out.getvalue().replace('local_value = "local-do_not-print-me"', "")
    assert SECRET not in out.getvalue()


def test_what_json_cannot_hold_is_logged_all_the_same() -> None:
    """A log line must never be the reason for a failure."""
    out = io.StringIO()
    configure_logging(level="info", fmt="json", stream=out)
    get_logger("orchestrator.x").info("odd.seen", pause=timedelta(seconds=5), text="\ud83d", inner={1: object})
    assert json.loads(out.getvalue())["pause"] == "0:00:05"


@pytest.mark.process
def test_having_a_logger_does_not_import_structlog() -> None:
    """`--help` and `status` have no 100 ms to spare; unconfigured, nothing goes to stdout either."""
    code = (
        "import sys; from orchestrator.observability.logs import get_logger; log = get_logger('orchestrator.x');"
        "print('structlog' in sys.modules); log.info('quiet.event'); log.warning('loud.event')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert "loud.event" in done.stderr
    assert "quiet.event" not in done.stderr
