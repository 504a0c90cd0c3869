"""`check`, `config`, `doctor`: what can be known before anything is sent."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from faces.cli_world import Program, ids_in, request, write_lines
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.commands.doctor import exit_code_of
from orchestrator.config import load_settings
from orchestrator.domain.packing import Caps, pack
from orchestrator.domain.prime_plan import Packer
from orchestrator.store.location import SqliteLocation
from orchestrator.views.check_report import IdRegister
from orchestrator.views.health_checks import FAIL, OK, WARN, Finding, long_log


def test_the_plan_is_what_will_be_sent(program: Program) -> None:
    """Number, requests and bytes of the batches are those of the engine, to the byte; nothing is stored."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(25)])
    env = {"ORCHESTRATOR_BATCHING__MAX_REQUESTS": "10"}
    plan = program("check", source, "--json", env=env).facts
    assert not program.db.exists()
    assert (plan["valid"], plan["requests"]) == (True, 25)
    assert program("run", source, "--sandbox", env=env).code == 0
    sent = [program("batches", "show", str(n), "--json").facts for n in (1, 2, 3)]
    made = [{"requests": batch["requests"], "bytes": batch["bytes"], "turn": "at_once"} for batch in sent]
    assert made == plan["batches"]


def test_every_problem_has_its_line_and_a_remedy(program: Program) -> None:
    """Exit code 2; the same words as `run`, in the order of the file."""
    rows = [request(0), request(1, stream=True), request(0), request(2, temperature=0.5)]
    source = write_lines(program.folder / "in.jsonl", rows)
    found = program("check", source, "--json", "--api-version", "2026-10-21")
    assert found.code == 2
    problems = found.facts["problems"]
    assert [problem["line"] for problem in problems] == sorted(problem["line"] for problem in problems)
    assert {(problem["line"], problem["field"]) for problem in problems} >= {
        (2, "params.stream"),
        (3, "custom_id"),
        (4, "params.temperature"),
    }
    assert all(problem["remedy"] for problem in problems)
    shown = program("check", source)
    assert "in.jsonl:3: custom_id" in shown.out
    chosen = program("check", source, "--json").facts
    assert chosen["problem_count"] == found.facts["problem_count"] - 1
    assert (chosen["api_version"], chosen["version_reason"]) == ("2023-06-01", "1 request sets temperature")
    assert "version  API version 2023-06-01, because 1 request sets temperature" in _checked(
        program, request(2, temperature=0)
    )


def test_problems_are_listed_up_to_a_cap_and_all_counted(program: Program) -> None:
    """A file with a million bad lines does not fill the screen."""
    rows = [{**request(n), "abcdefghi"[n]: 1} for n in range(9)]  # each has a cause of its own
    source = write_lines(program.folder / "in.jsonl", rows)
    found = program("check", source, "--max-problems", "5", "--json").facts
    assert (len(found["problems"]), found["problem_count"]) == (5, 9)
    assert "… and 4 more" in program("check", source, "--max-problems", "5").out


def test_a_cause_is_told_once_with_its_lines_and_the_way_on_is_one_that_leads_on(program: Program) -> None:
    """Fifty lines of one kind are one problem; --skip-bad is not named where it would leave nothing."""
    bad = [request(n, temperature=3 + n) for n in range(50)]
    told = program("check", source := write_lines(program.folder / "in.jsonl", bad))
    assert "in.jsonl:1: params.temperature: must be a number from 0 to 1, not 3: 50 lines are like it" in told.out
    assert "1 problem\n" in told.out
    assert "--skip-bad" not in told.out
    run = program("run", "--sandbox", source)
    assert "hint: every line has it: mend it" in run.err
    write_lines(program.folder / "in.jsonl", [*bad, request(50)])
    assert "leave the bad lines out with --skip-bad" in program("run", "--sandbox", source).err


def test_the_models_are_in_the_plan_and_one_that_nobody_knows_is_told(program: Program) -> None:
    """All of a typo's requests would fail a day later."""
    rows = [request(1), request(2), request(3, model="claude-haku-4-5")]
    told = program("check", write_lines(program.folder / "in.jsonl", rows), "--sandbox", "--offline").out
    assert "models   claude-haiku-4-5 2, claude-haku-4-5 1\n" in told
    assert "claude-haku-4-5 is no model that is known here" in told
    assert 'did you mean "claude-haiku-4-5"?' in told


def test_numbers_as_ids_are_taken_as_their_text_with_one_notice(program: Program) -> None:
    """Many people's ids are numbers; results come back with the same digits."""
    rows = [{**request(n), "custom_id": n} for n in range(3)]
    source = write_lines(program.folder / "in.jsonl", rows)
    done = program("run", "--sandbox", source, "-o", "out.jsonl")
    assert done.code == 0
    assert done.err.count("is a number, and was taken as text") == 1
    assert ids_in(program.folder / "out.jsonl") == ["0", "1", "2"]


def test_a_copy_of_a_file_is_told_whose_job_it_is_and_a_table_where_it_is_wrong(program: Program) -> None:
    """The same content is the same job, whatever the file is called; a header that cannot be read has its line."""
    write_lines(program.folder / "in.jsonl", [request(1)])
    write_lines(program.folder / "copy.jsonl", [request(1)])
    program("submit", "--sandbox", "in.jsonl")
    told = program("submit", "--sandbox", "copy.jsonl").err
    assert ", made of in.jsonl, is there already" in told
    assert "made of" not in program("submit", "--sandbox", "in.jsonl").err
    (program.folder / "mac.csv").write_text("id,text\r1,a\r", newline="")
    told = program("check", "mac.csv", "-p", "{{ text }}", "-m", "claude-haiku-4-5").out
    assert "mac.csv:1: has a header that cannot be read, in line 1: it has a carriage return inside" in told


def test_an_address_is_no_input_and_the_way_to_fetch_it_is_told(program: Program) -> None:
    """It was taken for a path: no such file."""
    done = program("check", "https://example.com/a b.jsonl")
    assert done.code == 2
    assert "hint: fetch it first: curl -fLO 'https://example.com/a b.jsonl'" in done.err


def test_check_reads_standard_input(program: Program) -> None:
    """For programs that make requests."""
    found = program("check", "-", "--json", given=json.dumps(request(1)).encode())
    assert (found.code, found.facts["requests"], found.facts["source"]) == (0, 1, "<stdin>")


@given(st.lists(st.integers(1, 60), max_size=60), st.integers(1, 9), st.integers(120, 400))
def test_packing_piece_by_piece_is_packing_at_once(sizes: list[int], requests: int, size_bytes: int) -> None:
    """`check` streams; the engine offers rows in slices; both cut at the same places."""
    caps = Caps(requests=requests, size_bytes=size_bytes)
    packer = Packer(caps)
    for size in sizes:
        packer.add(size)
    packer.finish()
    rows, expected = list(enumerate(sizes, start=1)), []
    while rows:
        cut = pack(rows, caps)
        expected += [(len(cut.numbers), cut.size_bytes)] if cut.numbers else []
        rows = rows[max(1, len(cut.numbers)) :]
    assert packer.batches == expected


@given(st.lists(st.text(min_size=1, max_size=3), max_size=40))
def test_repeated_ids_are_found_with_their_first_line(ids: list[str]) -> None:
    """Whatever is in them."""
    register = IdRegister()
    first: dict[str, int] = {}
    expected = set()
    for line, custom_id in enumerate(ids, start=1):
        register.add(custom_id, line)
        if first.setdefault(custom_id, line) != line:
            expected.add((line, first[custom_id]))
    assert set(register.repeats()) == expected


def test_config_show_tells_where_a_value_comes_from(program: Program) -> None:
    """Flag, environment, file, default."""
    (program.folder / "orchestrator.toml").write_text("[retry]\nmax_attempts = 3\n")
    rows = program("config", "show", "--json", "--db", "x.db").facts["settings"]
    found = {row["name"]: (row["value"], row["origin"]) for row in rows}
    assert found["retry.max_attempts"] == ("3", "orchestrator.toml")
    assert found["limits.poll_interval"] == ('"0.02s"', "ORCHESTRATOR_LIMITS__POLL_INTERVAL")
    assert found["database.path"][1] == "flag"
    assert found["limits.max_uploads"] == ("4", "default")
    assert "retry.max_attempts" in program("config", "show").out


def test_config_init_writes_a_file_that_changes_nothing(program: Program) -> None:
    """All of it is commented out; a file that is there is left alone (exit code 5)."""
    before = program("config", "show", "--json").facts
    assert program("config", "init").code == 0
    assert program("config", "show", "--json").facts == before
    text = (program.folder / "orchestrator.toml").read_text()
    assert program("config", "init").code == 5
    assert (program.folder / "orchestrator.toml").read_text() == text
    assert load_settings(flags={}, env={"HOME": "/"}, cwd=program.folder).limits.max_uploads == 4


def test_doctor_never_shows_the_key(program: Program) -> None:
    """It says where the key was found."""
    env = {"ANTHROPIC_API_KEY": "sk-ant-canary", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    seen = program("doctor", env=env)
    assert seen.code == 6
    assert "ANTHROPIC_API_KEY" in seen.out
    assert "canary" not in seen.out + seen.err


def test_doctor_looks_at_the_store(program: Program) -> None:
    """Schema, soundness, SQLite's version, disk, limits; a job that nobody works on is a warning."""
    source = write_lines(program.folder / "in.jsonl", [request(0)])
    assert program("submit", source, "--sandbox").code == 0
    seen = program("doctor", "--sandbox", "--thorough", "--json")
    assert seen.code == 0
    checks = {check["check"]: check for check in seen.facts["checks"]}
    assert "sound" in checks["store"]["fact"]
    assert checks["engine"]["verdict"] == "warn"
    assert checks["sqlite"]["verdict"] == "ok"  # N (b) 1.11: "Safe here" is no warning
    assert {"credentials", "store", "engine", "sqlite", "disk", "limits"} <= set(checks)
    assert all(check["remedy"] for check in checks.values() if check["verdict"] != "ok")


def test_a_log_that_only_grows_is_a_warning(tmp_path: Path) -> None:
    """L10. With its size and what to do; a log of a busy engine is none."""
    log = tmp_path / "x.db-wal"
    for size_bytes, warnings in ((0, 0), (38_000_000, 0), (200_000_000, 1)):
        log.touch()
        os.truncate(log, size_bytes)
        assert len(list(long_log(SqliteLocation(tmp_path / "x.db").log_bytes))) == warnings
    (found,) = long_log(SqliteLocation(tmp_path / "x.db").log_bytes)
    assert (found.verdict, "200 MB" in found.fact, "sqlite3" in str(found.remedy)) == (WARN, True, True)


def test_the_worst_finding_decides_the_exit_code() -> None:
    """The store before the key, the key before the network; warnings decide nothing."""
    store = Finding(check="store", verdict=FAIL, fact="", exit_code=8)
    key = Finding(check="credentials", verdict=FAIL, fact="", exit_code=3)
    network = Finding(check="api", verdict=FAIL, fact="", exit_code=6)
    hint = Finding(check="sqlite", verdict=WARN, fact="")
    assert exit_code_of([Finding(check="disk", verdict=OK, fact=""), hint]) == 0
    assert exit_code_of([network, key, hint]) == 3
    assert exit_code_of([network, key, store]) == 8
    assert exit_code_of([network]) == 6


def _checked(program: Program, row: dict[str, object]) -> str:
    return program("check", write_lines(program.folder / "one.jsonl", [row])).out


def test_other_files_between_the_same_first_and_last_are_another_input(program: Program) -> None:
    """And not files that changed since."""
    for name, first in (("a.jsonl", 0), ("b.jsonl", 3), ("c.jsonl", 6), ("d.jsonl", 9)):
        write_lines(program.folder / name, [request(first)])
    made = [program("submit", "--sandbox", "a.jsonl", middle, "d.jsonl") for middle in ("b.jsonl", "c.jsonl")]
    assert [done.code for done in made] == [0, 0]
    write_lines(program.folder / "c.jsonl", [request(7)])
    changed = program("submit", "--sandbox", "a.jsonl", "c.jsonl", "d.jsonl")
    assert (changed.code, "are not those any more of which job" in changed.err) == (2, True)


def test_several_files_are_one_input_and_problems_are_told_where_they_are(program: Program) -> None:
    """Shards are the rule; the ids of a job are unique over all of them, and the same files again are the same job."""
    for name, first in (("a.jsonl", 0), ("b.jsonl", 3)):
        write_lines(program.folder / name, [request(n) for n in range(first, first + 3)])
    assert program("run", "--sandbox", "a.jsonl", "b.jsonl", "-o", "out.jsonl").code == 0
    assert ids_in(program.folder / "out.jsonl") == [f"r-{n}" for n in range(6)]
    assert "is there already" in program("submit", "--sandbox", "a.jsonl", "b.jsonl").err
    write_lines(program.folder / "c.jsonl", [request(7, max_tokens=0), request(4), request(8, max_tokens=0)])
    told = program("check", "a.jsonl", "b.jsonl", "c.jsonl").out
    assert "c.jsonl:1: params.max_tokens: must be" in told
    assert "2 lines have it (c.jsonl:1, c.jsonl:3)" in told
    write_lines(program.folder / "c.jsonl", [request(7), request(4)])
    for command in (("check",), ("submit", "--sandbox")):
        done = program(*command, "a.jsonl", "b.jsonl", "c.jsonl")
        assert re.search(r"c\.jsonl:2: custom_id: .*is taken by b\.jsonl:2 ", done.out + done.err)
    kept = program("submit", "--sandbox", "--skip-bad", "a.jsonl", "b.jsonl", "c.jsonl")
    assert "3 files: 7 requests, " in kept.err
    (program.folder / "link.jsonl").symlink_to("a.jsonl")
    for verb, again in (("check", "a.jsonl"), ("run", "./a.jsonl"), ("submit", "link.jsonl")):
        done = program(verb, "a.jsonl", "b.jsonl", again)
        assert done.code == 2
        assert f"{again} is given twice{'' if again == 'a.jsonl' else ' (as a.jsonl, too)'}" in done.err
        assert "taken" not in done.err
    (program.folder / "empty.jsonl").write_text("")
    assert "empty.jsonl: has no requests" in program("check", "a.jsonl", "empty.jsonl").out
