"""`--server`: every command that makes sense from afar says from there what it says on the spot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from faces.cli_world import SLOW, Done, ids_in, request, write_lines
from faces.remote_world import Cutting, Daemon, daemon_in


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that runs, with one job that is over (two of five requests failed)."""
    with daemon_in(tmp_path_factory.mktemp("remote")) as made, made.running():
        rows = [
            request(1),
            request(2),
            request(3, model="no-such-model"),
            request(4),
            request(5, model="no-such-model"),
        ]
        write_lines(made.guest.folder / "mixed.jsonl", rows)
        assert made("run", "mixed.jsonl", "-o", "mixed.results.jsonl").code == 1
        yield made


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon whose batches take longer than any test."""
    with daemon_in(tmp_path_factory.mktemp("slow")) as made, made.running(env=SLOW):
        write_lines(made.guest.folder / "long.jsonl", [request(number) for number in range(3)])
        yield made


def on_the_spot(daemon: Daemon, *args: str) -> Done:
    """The same command, on the daemon's machine."""
    return daemon.host(*args, "--sandbox")


def test_run_hands_over_waits_and_writes_the_results_here(daemon: Daemon) -> None:
    """The whole road from afar: exit code 1 tells that some failed, and the file lies on this side."""
    folder = daemon.guest.folder
    assert ids_in(folder / "mixed.results.jsonl") == [f"r-{number}" for number in range(1, 6)]
    assert not daemon.guest.db.exists()
    again = daemon("run", "mixed.jsonl", "-o", "again.jsonl", "--json")
    assert again.code == 1
    assert "is there already" in again.err
    assert "the server runs it" in again.err
    assert again.facts["requests"]["failed"] == 2
    assert (folder / "again.jsonl").read_bytes() == (folder / "mixed.results.jsonl").read_bytes()


@pytest.mark.parametrize(
    "args",
    [
        ("status", "mixed", "--json"),
        ("ls", "--json"),
        ("requests", "mixed", "--json"),
        ("requests", "mixed", "--only", "failed"),
        ("requests", "mixed", "--id-prefix", "r", "--from", "3", "--state", "failed"),
        ("show", "mixed", "r-3"),
        ("events", "mixed"),
        ("show", "mixed", "r-1", "--json"),
        ("requests", "mixed", "--only", "failed", "-o", "-", "--rows"),
        ("ls", "--unfinished", "--json"),
        ("errors", "mixed", "--json"),
        ("batches", "show", "1", "--json"),
        ("batches", "ls", "mixed", "--json"),
        ("webhooks", "ls", "--json"),
        ("results", "mixed"),
        ("wait", "mixed", "--json"),
        ("watch", "mixed", "--json"),
    ],
)
def test_from_afar_a_command_says_what_it_says_on_the_spot(daemon: Daemon, args: tuple[str, ...]) -> None:
    """`--json` has the same keys and values, results the same bytes, and the exit code is the same."""
    there, here = daemon(*args), on_the_spot(daemon, *args)
    assert (there.code, there.out) == (here.code, here.out), there.err


def test_the_screens_name_the_way_back_to_the_server(daemon: Daemon) -> None:
    """A command line that is printed works when it is pasted; a sandbox is called one."""
    shown = daemon("status", "mixed")
    assert "SANDBOX" in shown.out
    assert "2 failed" in shown.out
    assert f"--server {daemon.url} --token-file" in daemon("errors", "mixed").err


def test_the_batches_at_the_api_are_listed_by_the_server(daemon: Daemon) -> None:
    """The key is there, not here; and a sandbox's API can be asked while its engine runs."""
    listed = daemon("batches", "ls", "--json")
    assert listed.code == 0
    assert set(listed.facts) == {"batches", "in_doubt", "has_more", "sandbox"}
    assert listed.facts["batches"][0]["owner"] == "ours"
    assert "ours: batch 1" in daemon("batches", "ls").out
    assert daemon("batches", "ls", "--limit", "2000").code == 2
    assert daemon("batches", "show", "999").code == 4
    assert daemon("batches", "adopt", "msgbatch_nobody").code == 4
    assert daemon("batches", "disown", "msgbatch_nobody").code == 4


def test_a_job_is_steered_from_afar(slow: Daemon) -> None:
    """submit, pause, resume, cancel, retry, with the exit codes that they have on the spot."""
    submitted = slow("submit", "long.jsonl")
    ref = submitted.out.strip()
    assert (submitted.code, ref.startswith("long-")) == (0, True)
    assert "the engine that is running works on it" in submitted.err
    assert slow("submit", "long.jsonl").out == submitted.out
    assert slow("pause", ref, "--json").facts["state"] == "paused"
    assert slow("wait", ref).code == 3
    assert "goes on" in slow("resume", ref).out
    assert slow("wait", ref, "--timeout", "1s").code == 7
    assert slow("results", ref, "--complete").code == 5
    assert slow("cancel", ref, "--json").facts["state"] in {"canceling", "canceled"}
    assert slow("pause", ref).code == 5
    assert slow("resume", "nobody").code == 4


def test_failed_requests_are_queued_again_from_afar(daemon: Daemon) -> None:
    """`retry --only` tells how many, and `resume -o` waits for them and writes all results."""
    rows = [request(70), request(71, model="no-such-model")]
    write_lines(daemon.guest.folder / "twice.jsonl", rows)
    assert daemon("run", "twice.jsonl").code == 1
    assert daemon("retry", "twice", "--only", "nothing_error", "--json").code == 2
    assert daemon("retry", "twice", "--only", "overloaded_error", "--json").facts["queued"] == 0
    assert daemon("retry", "twice", "--json").facts["queued"] == 1
    assert daemon("resume", "twice", "-o", "twice.out.jsonl").code == 1
    assert ids_in(daemon.guest.folder / "twice.out.jsonl") == ["r-70", "r-71"]


def test_bad_lines_are_told_and_written_on_this_side(daemon: Daemon) -> None:
    """The input is checked here, with its line numbers; what --skip-bad leaves out comes back byte for byte."""
    folder = daemon.guest.folder
    (folder / "bad.jsonl").write_text(f'{json.dumps(request(1))}\n{{"custom_id": "x"}}\n')
    refused = daemon("submit", "bad.jsonl")
    assert refused.code == 2
    assert "bad.jsonl:2" in refused.err
    left_out = daemon("run", "bad.jsonl", "--skip-bad", "-o", "good.jsonl")
    assert left_out.code == 0
    assert ids_in(folder / "good.jsonl") == ["r-1"]
    told = [json.loads(line) for line in (folder / "good.refused.jsonl").read_text().splitlines()]
    assert [entry["raw"] for entry in told] == ['{"custom_id": "x"}']


def test_a_foreign_file_on_this_side_is_refused_before_the_server_has_a_job(daemon: Daemon) -> None:
    """F9: from afar as well; the same command again replaces its own output."""
    folder = daemon.guest.folder
    write_lines(folder / "far.jsonl", [request(700)])
    (folder / "far.out").write_text("paid for\n")
    before = len(daemon("ls", "--json").facts["jobs"])
    refused = daemon("run", "far.jsonl", "-o", "far.out")
    assert (refused.code, "is not this job's output" in refused.err) == (2, True)
    assert len(daemon("ls", "--json").facts["jobs"]) == before
    assert daemon("run", "far.jsonl", "-o", "far.out", "--overwrite").code == 0
    assert daemon("run", "far.jsonl", "-o", "far.out").code == 0
    assert ids_in(folder / "far.out") == ["r-700"]


def test_standard_input_goes_to_the_server(daemon: Daemon) -> None:
    """A pipe works from afar as well."""
    given = f"{json.dumps(request(900))}\n".encode()
    done = daemon("run", "-", "-o", "piped.jsonl", given=given)
    assert done.code == 0
    assert ids_in(daemon.guest.folder / "piped.jsonl") == ["r-900"]


def test_a_broken_download_goes_on_where_it_was(daemon: Daemon) -> None:
    """A network that cuts connections costs time, never a line."""
    rows = [request(number) for number in range(1000, 1600)]
    write_lines(daemon.guest.folder / "large.jsonl", rows)
    assert daemon("run", "large.jsonl", "-o", "large.results.jsonl").code == 0
    with Cutting(daemon.port, after=20_000, times=3).running() as network:
        flags = ("--server", network.url, "--token-file", str(daemon.token_file))
        done = daemon.guest("results", "large", "-o", "cut.jsonl", *flags)
    assert (done.code, network.cut) == (0, 3)
    assert "does not answer, trying again" in done.err
    folder = daemon.guest.folder
    assert (folder / "cut.jsonl").read_bytes() == (folder / "large.results.jsonl").read_bytes()


def test_doctor_looks_at_the_way_to_the_server(daemon: Daemon, tmp_path: Path) -> None:
    """Version, sandbox, token and how the API treats it; a wrong token is exit code 3, nobody there is 6."""
    found = daemon("doctor", "--json")
    assert (found.code, found.facts["sandbox"]) == (0, True)
    assert [check["check"] for check in found.facts["checks"]] == ["server", "token", "api", "jobs"]
    wrong = tmp_path / "wrong"
    wrong.write_text("x" * 43)
    wrong.chmod(0o600)
    assert daemon.guest("doctor", "--server", daemon.url, "--token-file", str(wrong)).code == 3
    assert daemon.guest("doctor", "--server", "http://127.0.0.1:9").code == 6
    assert daemon("doctor", "--thorough").code == 2


def test_health_asks_the_server(daemon: Daemon) -> None:
    """Exit code 0 while it is ready; 1, with the reason, when nobody is there."""
    assert daemon("health").code == 0
    away = daemon.guest("health", "--server", "http://127.0.0.1:9", "--json")
    assert (away.code, away.facts["ready"]) == (1, False)
    assert "does not answer" in away.facts["why"]


def test_old_jobs_are_pruned_on_the_server(tmp_path: Path) -> None:
    """`db prune` names the same jobs with --dry-run as without; afterwards their results are gone (exit code 4)."""
    with daemon_in(tmp_path) as own, own.running():
        write_lines(own.guest.folder / "old.jsonl", [request(800)])
        assert own("run", "old.jsonl").code == 0
        assert own("db", "prune", "--older-than", "300d", "--json").facts["pruned"] == []
        would = own("db", "prune", "--older-than", "1ms", "--dry-run", "--json").facts["pruned"]
        assert own("results", "old").code == 0
        assert own("db", "prune", "--older-than", "1ms", "--json").facts["pruned"] == would != []
        assert own("results", "old").code == 4
        assert own("db", "prune", "--older-than", "1ms", "--dry-run", "--json").facts["pruned"] == []


def test_check_asks_the_server_what_it_knows_of_such_jobs(daemon: Daemon) -> None:
    """As on the spot, by its history and its API; nothing is stored. What it is not asked is told by bytes."""
    path = daemon.guest.folder / "more.jsonl"
    source = write_lines(path, [request(number) for number in range(20, 30)])
    told = daemon("check", source, "--json").facts["estimate"]
    there = on_the_spot(daemon, "check", str(path), "--json").facts["estimate"]
    assert told == there
    assert (told["requests"], told["calls"], told["rough"]) == (10, 10, None)
    assert "answers of earlier jobs" in told["output"]["basis"]
    for command in ((source, "--offline"), ("-",)):
        blind = daemon("check", *command, "--json", given=path.read_bytes()).facts["estimate"]
        assert (blind["requests"], blind["calls"]) == (10, 0)
        assert "answers of earlier jobs" not in blind["output"]["basis"]
    assert source not in daemon("ls", "--json").out
    assert not daemon.guest.db.exists()


def test_an_input_can_be_checked_while_the_server_is_away(daemon: Daemon) -> None:
    """That is said, and the estimate is rough."""
    done = daemon.guest("check", "mixed.jsonl", "--server", "http://127.0.0.1:9", "--json")
    assert done.code == 0
    assert "tokens are told by bytes alone, without its history" in done.err
    assert done.facts["estimate"]["calls"] == 0


def test_a_job_is_priced_again_by_the_server(daemon: Daemon) -> None:
    """By its prices, as on the spot; the list itself is of this machine's settings, and says so."""
    priced = daemon("prices", "--reprice", "mixed", "--json").facts
    assert priced == on_the_spot(daemon, "prices", "--reprice", "mixed", "--json").facts
    assert (priced["priced"], priced["jobs"][0]["job"]["cost"]["unpriced"]) == (0, 0)
    assert daemon("prices", "--reprice", "--all", "--json").facts["priced"] == 0
    refused = daemon("prices")
    assert refused.code == 2
    assert "does not work with a server: it shows the prices by the settings of this machine" in refused.err


def test_a_job_is_removed_from_afar(daemon: Daemon) -> None:
    """Not while it is unfinished; then its bodies go, and its counts stay."""
    assert daemon("submit", "mixed.jsonl", "--new", "--name", "to go", "--limit", "2").code == 0
    assert daemon("wait", "to go").code == 0
    early = daemon("rm", "to go", "-y")
    assert (early.code, "cancel it first: `orchestrator cancel " in early.err) == (5, True), early.err
    assert daemon("cancel", "to go").code == 0
    assert daemon("wait", "to go").code == 1
    done = daemon("rm", "to go", "-y", "--json").facts
    assert (done["purged"], done["job"]["requests"]["canceled"]) == (True, 3)
    assert daemon("requests", "to go", "-o", "-").code == 4
