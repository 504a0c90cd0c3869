"""Structured logs to stderr: one event per state change, as text on a terminal and as JSON elsewhere.

structlog makes the events, the standard library carries them: so the logs of libraries go the same way, and a program
that embeds this package gets them by its own `logging` configuration. structlog takes 100 ms to import (26.1,
measured); the first event or `configure_logging` loads it, not the import of this module.

Callers must not log secrets. This is the second line of defence: values under telling names and anything that looks
like a key are masked, and tracebacks show no local variables. Lines that others can provoke are written once a minute
of each kind, so that a flood does not fill the log.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TextIO, cast

from typing_extensions import override

from orchestrator.domain.urls import without_password

if TYPE_CHECKING:
    from structlog.typing import Processor

#: Loggers whose lower levels print prompts (the SDK logs bodies), SQL parameters (aiosqlite) or one line per call.
NOISY: Final = ("anthropic", "aiosqlite", "asyncio", "httpx2", "httpcore2", "httpx", "httpcore", "uvicorn")
OWN: Final = "orchestrator"
MASK: Final = "***"

_SECRET_NAMES: Final = frozenset(
    {"api_key", "apikey", "x_api_key", "authorization", "proxy_authorization", "auth_token", "token", "password"}
    | {"secret", "cookie", "set_cookie", "anthropic_api_key", "anthropic_auth_token"}
)
_SECRET_TEXT: Final = re.compile(r"(?:sk-ant-|(?<=Bearer )|(?<=bearer ))[A-Za-z0-9._~+/=-]+")

_DATABASE: Final = re.compile(r"postgres(?:ql)?://[^\s\"'<>]+", re.IGNORECASE)


class Logger(Protocol):
    """The logger of a module: takes an event name, `noun.verb_in_past`, and fields."""

    def bind(self, **fields: object) -> Logger:
        """A logger that adds *fields* to every event."""
        ...

    def debug(self, event: str, **fields: object) -> object:
        """Log what helps to follow the program step by step."""
        ...

    def info(self, event: str, **fields: object) -> object:
        """Log that a state changed."""
        ...

    def warning(self, event: str, **fields: object) -> object:
        """Log that something is wrong, and that the program copes."""
        ...

    def error(self, event: str, **fields: object) -> object:
        """Log that a person must look."""
        ...

    def exception(self, event: str, **fields: object) -> object:
        """Log an error with the traceback of the current exception."""
        ...


class _LazyLogger:
    """Becomes a structlog logger with its first event, so that modules can have one without importing structlog."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:  # noqa: ANN401 - stands for every method of Logger
        logger = _bound_logger(self._name)
        self.__dict__.update({method: getattr(logger, method) for method in _METHODS})
        return getattr(logger, attribute)


_METHODS: Final = ("bind", "debug", "info", "warning", "error", "exception")


def get_logger(name: str) -> Logger:
    """The logger of the module *name* (`__name__`). Cheap, also before `configure_logging`."""
    return cast("Logger", _LazyLogger(name))


def configure_logging(*, level: str, fmt: Literal["auto", "console", "json"], stream: TextIO | None = None) -> None:
    """Send every log of this process to *stream* (default: stderr), from *level* ("debug" … "error") up.

    fmt: "auto" is "console" where *stream* is a terminal, else "json", one object a line with `timestamp` (ISO, UTC),
    `level`, `logger`, `event` and the fields. Libraries are heard from "warning" up, whatever their own level says: the
    SDK's ANTHROPIC_LOG=debug would print prompts. May be called again: the last call holds.
    """
    out = sys.stderr if stream is None else stream
    lowest = logging.getLevelNamesMapping()[level.upper()]
    handler = _Handler(out)
    handler.setLevel(lowest)
    handler.setFormatter(_formatter(as_json=fmt == "json" or (fmt == "auto" and not out.isatty()), out=out))
    handler.addFilter(_is_fit_to_print)
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    logging.getLogger(OWN).setLevel(lowest)
    for name in NOISY:
        logging.getLogger(name).setLevel(max(lowest, logging.WARNING))


class _Handler(logging.StreamHandler[TextIO]):
    """Our own class, so that a second `configure_logging` finds it and leaves the handlers of others alone."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._floods = Floods(time.monotonic, is_flood=_is_flood)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        for each in self._floods.written(record):
            super().emit(each)


def _is_flood(record: logging.LogRecord) -> bool:
    if record.name == OWN or record.name.startswith(f"{OWN}."):
        return isinstance(record.msg, dict) and record.msg.get("event") in FLOODABLE
    return True


def _is_fit_to_print(record: logging.LogRecord) -> bool:
    """Filters by our level even where a library resets its logger's level after us, as the SDK does when imported."""
    return record.levelno >= logging.WARNING or record.name == OWN or record.name.startswith(f"{OWN}.")


def _bound_logger(name: str) -> Logger:
    import structlog

    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            *_chain(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return cast("Logger", logger.bind())


def _chain() -> list[Processor]:
    """The processors of every event, ours or a library's."""
    import structlog

    return [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,  # the plain one of the standard library: no local variables
        mask_secrets,
    ]


def mask_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor that masks secrets in *event*, at any depth of mappings, lists and tuples."""
    return {name: _masked(name, value) for name, value in event.items()}


def mask_text(text: str) -> str:
    """*text* without API keys, bearer tokens and passwords of databases."""
    return _DATABASE.sub(lambda found: without_password(found[0]), _SECRET_TEXT.sub(MASK, text))


def _masked(name: object, value: object) -> object:
    if isinstance(name, str) and name.lower().replace("-", "_") in _SECRET_NAMES:
        return MASK
    match value:
        case str():
            return mask_text(value)
        case bytes():
            return mask_text(value.decode("utf-8", "backslashreplace"))
        case Mapping():
            return {key: _masked(key, inner) for key, inner in value.items()}
        case list() | tuple():
            return [_masked(None, inner) for inner in value]
        case _:
            return value


def _formatter(*, as_json: bool, out: TextIO) -> logging.Formatter:
    import structlog

    class MaskingFormatter(structlog.stdlib.ProcessorFormatter):
        """Masks the formatted line once more: only there an object's repr is text."""

        def format(self, record: logging.LogRecord) -> str:
            return mask_text(super().format(record))

    renderer: Processor
    if as_json:
        renderer = structlog.processors.JSONRenderer(default=str)
    else:
        # Rich tracebacks, the renderer's default, print local variables.
        renderer = structlog.dev.ConsoleRenderer(
            colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback, sort_keys=False
        )
    return MaskingFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer], foreign_pre_chain=_chain()
    )


#: Events of ours that a client can cause as often as it likes, or that repeat for as long as something is away.
FLOODABLE: Final = frozenset({"download.cut", "login.refused", "fleet.database_away"})
_WINDOW_S: Final = 60.0
#: Kinds that are told apart; beyond them all are one kind.
_MOST: Final = 256
#: What differs between two lines of a kind: numbers, addresses, what somebody sent.
_DIFFERS: Final = re.compile(r"'[^']*'|\"[^\"]*\"|0x[0-9a-f]+|[0-9a-f]*\d[0-9a-f]*", re.IGNORECASE)
_OTHERS: Final = ("", 0, "", "")

_Kind = tuple[str, int, str, str]


@dataclass(slots=True)
class _FloodCount:
    """One kind of line. until: the end of its minute. more: lines suppressed since."""

    text: str
    until: float
    more: int = 0


class Floods:
    """Decides which records are written. *now*: a monotonic clock, in seconds."""

    def __init__(self, now: Callable[[], float], *, is_flood: Callable[[logging.LogRecord], bool]) -> None:
        self._now = now
        self._is_flood = is_flood
        self._kinds: dict[_Kind, _FloodCount] = {}

    def written(self, record: logging.LogRecord) -> Iterator[logging.LogRecord]:
        """The lines to write for *record*: the count of suppressed ones and itself, or none."""
        now = self._now()
        yield from self._over(now)
        if not self._is_flood(record):
            yield record
            return
        kind, text = _kind_of(record)
        if kind not in self._kinds and len(self._kinds) >= _MOST:
            kind = _OTHERS
        seen = self._kinds.get(kind)
        if seen is None:
            self._kinds[kind] = _FloodCount(text, now + _WINDOW_S)
            yield record
        else:
            seen.more += 1

    def _over(self, now: float) -> Iterator[logging.LogRecord]:
        for kind, seen in list(self._kinds.items()):
            if seen.until > now:
                continue
            del self._kinds[kind]
            if seen.more:
                told = f"{seen.text}: {seen.more:,} more lines of this kind were left out"
                yield logging.LogRecord(kind[0] or "orchestrator", kind[1] or logging.WARNING, "", 0, told, None, None)


def _kind_of(record: logging.LogRecord) -> tuple[_Kind, str]:
    """The kind of *record*, and the text that stands for all of its kind."""
    said = record.msg.get("event", "") if isinstance(record.msg, dict) else str(record.msg)
    text = said.partition("\n")[0][:200]
    where = ""
    if record.exc_info and record.exc_info[0] is not None:
        trace = record.exc_info[2]
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        where = f"{record.exc_info[0].__name__} {place}"
    return (record.name, record.levelno, _DIFFERS.sub("…", text), where), text
