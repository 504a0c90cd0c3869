"""One run through every command, to be given on any kind of store: what each says must not depend on it."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from faces.cli_world import Program, request, write_lines

#: What no two runs have alike: ids, nonces, times, ports, durations, sizes and where the store is.
_DIFFERS: Final = (
    (r"postgres(?:ql)?://[^\s\"',;:]+(?::\d+)?[^\s\"',;]*|[^\s\"'`,]*store\.db", "STORE"),
    (r"\b(in|other|first|second|third|fourth)-[a-z0-9]{6}\b", r"\1-ID"),
    (r"msg_\w+", "MESSAGE"),
    (r"schema \d+", "schema N"),
    (r"(?m)^\S+: batches .*; requests \d+/\d+ settled\n", ""),
    (r"msgbatch_\w+", "BATCH"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( UTC|Z|\+00:00)?", "TIME"),
    (r"\b\d{4}-\d\d-\d\d\b", "DAY"),
    (r"\b\d\d:\d\d(:\d\d)?\b", "CLOCK"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"code=\S+", "code=CODE"),
    (r"\b\d+(\.\d+)? ?(ms|s|min|h)\b", "SPAN"),
    (r"\b[0-9a-f]{8,64}\b", "HEX"),
    (r"/\w+/orc-\S+?(?=[\"'`,;)\s]|$)", "PLACE"),
    (r'"(progress_at|expires_at|eta|\w+_ms|\w*took\w*|lineage|token_file)": [^,\n]+', r'"\1": VARIES'),
    (r" +", " "),
)


@dataclass(frozen=True, slots=True)
class Said:
    """A command, and how it ended: with the code, and with what it said once all that differs by nature is alike."""

    command: str
    code: int
    out: str
    err: str


def alike(text: str, folder: Path) -> str:
    """*text* without what no two runs have alike."""
    text = text.replace(str(folder), "FOLDER")
    for pattern, word in _DIFFERS:
        text = re.sub(pattern, word, text)
    return text


#: In an order in which each has something to do. The words of a command, then its arguments.
SCRIPT: Final = (
    "status",
    "ls",
    "db check",
    "check in.jsonl",
    "init in.jsonl -o job.toml",
    "init in.jsonl -o job.toml",
    "check job.toml --offline",
    "convert in.jsonl",
    "run in.jsonl -o out.jsonl --name first",
    "run in.jsonl -o out.jsonl --name first",
    "run missing.jsonl",
    "submit other.jsonl --name second",
    "submit other.jsonl --name second --json",
    "ls",
    "ls --json",
    "status second",
    "pause second",
    "pause second",
    "status second --json",
    "resume second --detach",
    "wait first",
    "watch first",
    "watch first nobody",
    "status nobody",
    "results first -o -",
    "results second -o -",
    "errors first",
    "requests first --only succeeded -n 2",
    "show first r-1",
    "show first nobody",
    "requests second --state canceled -o -",
    "retry first",
    "cancel second",
    "cancel second",
    "wait second --timeout 0.01s",
    "batches",
    "batches ls",
    "batches show 1",
    "batches show 99",
    "batches adopt msgbatch_nobody",
    "batches disown msgbatch_nobody",
    "webhooks",
    "webhooks ls",
    "webhooks test https://example.com/hook",
    "webhooks replay 1",
    "login",
    "health",
    "config",
    "config init",
    "service",
    "service print --user",
    "service token token",
    "db",
    "db check",
    "db check --json",
    "db migrate",
    "db adopt-store",
    "db prune",
    "db prune --older-than 1d --dry-run",
    "db prune --older-than 1ms",
    "results first -o -",
    "prices claude-x-9",
    "spend",
    "spend --by model --json",
    "spend --by job --since 30d",
    "spend --since soon",
    "budget",
    "budget ls",
    "budget set day 50",
    "budget set total ten",
    "budget --json",
    "budget clear day",
    "completion bash",
    "run in.jsonl -o again.jsonl --new --name third --json",
    "events third",
    "rm third",
    "resume third",
    "rm third --yes",
    "ls",
)


def write_inputs(program: Program) -> None:
    """The files that the script reads."""
    write_lines(program.folder / "in.jsonl", [request(number) for number in range(7)])
    write_lines(program.folder / "other.jsonl", [request(number, max_tokens=8) for number in range(3)])


def played(program: Program, env: dict[str, str]) -> Iterator[Said]:
    """What each command of the script says in *env*; `serve` is asked by three others, and stopped."""
    write_inputs(program)
    for line in SCRIPT:
        done = program(*line.split(), env=env, patience_s=20)
        yield Said(line, done.code, alike(done.out, program.folder), alike(done.err, program.folder))
    with program.started("serve", "--listen", "127.0.0.1:0", env=env) as engine:
        engine.says("the engine runs on")
        for line in ("health", "status first", "submit other.jsonl --name fourth", "wait fourth", "login", "ls"):
            done = program(*line.split(), env=env)
            yield Said(f"{line} (serve)", done.code, alike(done.out, program.folder), alike(done.err, program.folder))
        ended = engine.signal(signal.SIGTERM)
    yield Said("serve", ended.code, alike(ended.out, program.folder), "")
