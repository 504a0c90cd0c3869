"""Results as tables, texts and Parquet: by every face the same, and only the job's own earlier file is replaced."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from faces.cli_world import Program, program_in, request, write_lines
from faces.client_world import QUICK, SLOW, requests, short_runtime_folder
from faces.remote_world import Daemon, daemon_in

from orchestrator import Orchestrator, OutputError, Purged, SyncJob, SyncOrchestrator, UsageError

KINDS = ["csv", "tsv", "txt", "parquet", "csv.gz", "tsv.zst"]
COUNT = 1200


def with_rows(count: int, said: str = "hello") -> list[dict[str, Any]]:
    """Requests that were made of rows, with every kind of value."""
    return [
        {**made, "row": {"id": f"{number:03}", "text": f'{said}, "{number}"\nagain', "n": number, "tags": ["a"]}}
        for number, made in enumerate(requests(count, said=said))
    ]


@pytest.fixture(scope="module")
def orc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncOrchestrator]:
    folder = tmp_path_factory.mktemp("tables")
    with short_runtime_folder(), SyncOrchestrator(folder / "store.db", sandbox=True, **QUICK) as found:
        yield found


@pytest.fixture(scope="module")
def january(orc: SyncOrchestrator) -> SyncJob:
    job = orc.submit(with_rows(COUNT, "january"), name="table")
    job.wait()
    return job


@pytest.fixture(scope="module")
def february(orc: SyncOrchestrator) -> SyncJob:
    job = orc.submit(with_rows(COUNT, "february"), name="table")
    job.wait()
    return job


def table_in(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_row_has_its_answer_in_the_order_of_the_input(january: SyncJob, tmp_path: Path) -> None:
    """1:1, nothing lost, nothing twice; as the API's lines say it."""
    assert january.export(tmp_path / "out.csv") == january.export(tmp_path / "out.jsonl") == COUNT
    table = table_in(tmp_path / "out.csv")
    given = with_rows(COUNT, "january")
    assert [(row["custom_id"], row["id"], row["text"]) for row in table] == [
        (made["custom_id"], made["row"]["id"], made["row"]["text"]) for made in given
    ]
    lines = [json.loads(line)["result"]["message"] for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    assert [row["answer"] for row in table] == [line["content"][-1]["text"] for line in lines]
    assert [int(row["output_tokens"]) for row in table] == [line["usage"]["output_tokens"] for line in lines]
    cost = sum(Decimal(row["cost_usd"]) for row in table)
    assert cost == january.cost().spent


@pytest.mark.parametrize("kind", KINDS)
def test_the_jobs_own_file_is_replaced_and_anothers_is_not(
    january: SyncJob, february: SyncJob, tmp_path: Path, kind: str
) -> None:
    """Two jobs of the same ids and columns; the same bytes again."""
    if kind == "parquet":
        pytest.importorskip("arro3.io", reason="the extra [parquet] is not installed")
    path = tmp_path / f"out.{kind}"
    assert january.export(path) == COUNT
    before = path.read_bytes()
    assert january.export(path) == COUNT
    assert path.read_bytes() == before
    with pytest.raises(OutputError, match="is not this job's output"):
        february.export(path)
    assert path.read_bytes() == before
    assert february.export(path, overwrite=True) == COUNT


FOREIGN: dict[str, Callable[[str], str]] = {
    "what the job was made of": lambda text: "".join(
        f"{row['id']},{row['n']}\n" for row in [{"id": "id", "n": "n"}, *csv.DictReader(io.StringIO(text))][:5]
    ),
    "another answer": lambda text: text.replace("january 7", "january x", 1),
    "another order": lambda text: "\n".join([*text.split("\n")[:3:-1], ""]),
    "a cell too many": lambda text: text.removesuffix("\n") + ",more\n",
    "another column": lambda text: text.replace("custom_id,", "own_id,", 1),
    "an unknown failure": lambda _: "custom_id,status\nnobody,failed\n",
    "prose": lambda _: "Dear all,\n\nplease keep this.\n",
    "no text": lambda _: "\udcff\udcfe\n",
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_table_with_anything_else_in_it_is_refused_and_stays(january: SyncJob, tmp_path: Path, what: str) -> None:
    """Above all the table that the job was made of."""
    path = tmp_path / "out.csv"
    january.export(path)
    other = FOREIGN[what](path.read_text(encoding="utf-8")).encode("utf-8", "surrogateescape")
    path.write_bytes(other)
    with pytest.raises(OutputError):
        january.export(path)
    assert path.read_bytes() == other


def test_a_table_of_before_is_its_own_whatever_was_chosen_then(january: SyncJob, tmp_path: Path) -> None:
    """Other columns, quoted formulas, JSON Lines under this name, a beginning, or costs that were not known then."""
    path = tmp_path / "out.csv"
    january.export(path, columns=["answer", "id"])
    january.export(path, excel_safe=True)
    january.export(path, output_format="jsonl")
    january.export(path)
    whole = path.read_text()
    table = list(csv.reader(io.StringIO(whole, newline="")))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([table[0], *([*row[:-1], ""] for row in table[5:50:5])])
    assert january.export(path) == COUNT
    assert path.read_text() == whole


@pytest.mark.parametrize("kind", ["csv", "txt"])
def test_failures_that_were_tried_again_are_the_jobs_own(tmp_path: Path, kind: str) -> None:
    """After `retry` the earlier table has records that the store no longer gives; nobody paid for them."""
    out = tmp_path / f"out.{kind}"
    with short_runtime_folder():
        faulty = {**QUICK, "sandbox__faults": "overloaded=0.5", "retry__max_attempts": "1"}
        with SyncOrchestrator(tmp_path / "db", sandbox=True, **faulty) as orc:
            job = orc.submit(with_rows(30), name="odd")
            job.wait()
            job.export(out)
            if kind == "csv":
                assert {row["error"].split(":")[0] for row in table_in(out)} == {"", "overloaded_error"}
        with SyncOrchestrator(tmp_path / "db", sandbox=True, **SLOW) as orc:
            job = orc.job("odd")
            assert job.retry() > 0
            assert 0 < job.export(out, settled_only=True) < 30
            assert {row["status"] for row in job.to_dicts(settled_only=True)} == {"succeeded"}


def test_the_library_gives_dicts_of_the_same_columns(january: SyncJob, tmp_path: Path) -> None:
    """Blocking and not; flat, so that a data frame takes them."""
    january.export(tmp_path / "out.csv")
    table = table_in(tmp_path / "out.csv")
    found = january.to_dicts()
    assert [list(row) for row in found[:1]] == [list(table[0])]
    assert [(row["id"], row["answer"]) for row in found] == [(row["id"], row["answer"]) for row in table]
    assert (found[7]["n"], found[7]["tags"], found[7]["cost_usd"]) == (7, ["a"], Decimal(table[7]["cost_usd"]))
    assert january.to_dicts(columns=["answer"])[0] == {"answer": table[0]["answer"]}
    with pytest.raises(UsageError, match="no column nothing"):
        january.to_dicts(columns=["nothing"])
    with pytest.raises(UsageError, match="no column nothing"):
        january.export(tmp_path / "x.csv", columns=["nothing"])
    assert not (tmp_path / "x.csv").exists()


def test_a_data_frame_is_made_of_them(january: SyncJob) -> None:
    """Without a word to pandas."""
    pandas = pytest.importorskip("pandas", reason="only a user has it")
    frame = pandas.DataFrame(january.to_dicts())
    assert len(frame) == COUNT
    assert frame["cost_usd"].sum() == january.cost().spent


def test_a_parquet_file_has_the_kinds_of_its_columns(january: SyncJob, tmp_path: Path) -> None:
    """Read by another program: numbers are numbers, and money is exact."""
    arrow = pytest.importorskip("arro3.io", reason="the extra [parquet] is not installed")
    january.export(tmp_path / "out.parquet")
    january.export(tmp_path / "out.csv")
    table = arrow.read_parquet(tmp_path / "out.parquet").read_all()
    texts = table_in(tmp_path / "out.csv")
    assert table.column_names == list(texts[0])
    kinds = [str(field.type).strip() for field in table.schema]
    assert [kind.removeprefix("arro3.core.DataType") for kind in kinds[:5]] == [*["<Utf8>"] * 3, "<Int64>", "<Utf8>"]
    assert table["answer"].to_pylist() == [row["answer"] for row in texts]
    assert table["n"].to_pylist() == list(range(COUNT))
    assert table["tags"].to_pylist() == ['["a"]'] * COUNT
    assert table["cost_usd"].to_pylist() == [Decimal(row["cost_usd"]) for row in texts]
    assert table["error"].to_pylist() == [None] * COUNT


@pytest.mark.parametrize("kind", ["csv", "parquet", "txt"])
def test_a_purged_job_replaces_nothing(tmp_path: Path, kind: str) -> None:
    """Its results are gone, so the file is all that there is."""
    if kind == "parquet":
        pytest.importorskip("arro3.io", reason="the extra [parquet] is not installed")
    out = tmp_path / f"out.{kind}"

    async def look() -> None:
        async with Orchestrator(tmp_path / "db", sandbox=True, **QUICK) as orc:
            job = await orc.submit(with_rows(3))
            await job.export(out)
            before = out.read_bytes()
            await orc._handle().commands.purge((await job.status()).job.id)
            for overwrite in (False, True):
                with pytest.raises(Purged):
                    await job.export(out, overwrite=overwrite)
            assert out.read_bytes() == before

    with short_runtime_folder():
        asyncio.run(look())
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program_in(tmp_path) as found:
        rows = [{**request(n), "row": {"id": f"00{n}", "said": f"=A{n}"}} for n in range(3)]
        write_lines(tmp_path / "in.jsonl", rows)
        yield found


def test_run_writes_a_table_and_goes_on_with_it(program: Program) -> None:
    """By the suffix; the same command again writes the same file; without -o the format names it."""
    for _ in range(2):
        assert program("run", "in.jsonl", "--sandbox", "-o", "out.csv").code == 0
    table = table_in(program.folder / "out.csv")
    assert [(row["custom_id"], row["id"], row["status"]) for row in table] == [
        (f"r-{n}", f"00{n}", "succeeded") for n in range(3)
    ]
    done = program("run", "in.jsonl", "--sandbox", "--output-format", "csv", "--columns", "id,answer", "--json")
    assert done.code == 0
    assert done.facts["output"] == f"{done.facts['id']}.results.csv"
    assert list(table_in(program.folder / done.facts["output"])[0]) == ["id", "answer"]
    stdout = program("results", "@last", "--sandbox", "--format", "csv", "--excel-safe", "--columns", "said,id").out
    assert stdout == "\ufeffsaid,id\n'=A0,000\n'=A1,001\n'=A2,002\n"
    assert program("results", "@last", "--sandbox", "-o", "out.csv.gz").code == 0
    assert gzip.decompress((program.folder / "out.csv.gz").read_bytes()) == (program.folder / "out.csv").read_bytes()


def test_only_text_gives_the_answers(program: Program) -> None:
    """To read, or to pipe on."""
    assert program("run", "in.jsonl", "--sandbox", "-o", "out.txt").code == 0
    found = program("results", "@last", "--sandbox", "--only-text")
    assert found.out == (program.folder / "out.txt").read_text()
    assert found.out.count("\n\n") == 2
    assert program("run", "in.jsonl", "--sandbox", "--only-text", "-o", "-").out == found.out


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["-o", "out.csv", "--columns", "id,nope"], "there are custom_id, id, said, answer"),
        (["-o", "out.jsonl", "--columns", "id"], "jsonl has no columns"),
        (["-o", "out.parquet.gz"], "Parquet is compressed by itself"),
        (["-o", "out.parquet", "--excel-safe"], "parquet has no formulas"),
        (["-o", "out.csv", "--only-text", "--output-format", "csv"], "--only-text is a format of its own"),
        (["-o", "out.csv", "--crash-test"], "its audit reads JSON Lines"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(program: Program, args: list[str], why: str) -> None:
    """With code 2 and what to do instead; no file is left."""
    done = program("run", "in.jsonl", "--sandbox", *args)
    assert done.code == 2
    assert why in done.err
    assert list(program.folder.glob("out.*")) == []


def test_parquet_without_its_package_says_what_to_install(program: Program) -> None:
    """Before anything is read."""
    (program.folder / "arro3").mkdir()
    (program.folder / "arro3" / "__init__.py").write_text("raise ImportError('not here')\n")
    env = {"PYTHONPATH": f"{program.folder}:{program.env()['PYTHONPATH']}"}
    done = program("run", "in.jsonl", "--sandbox", "-o", "out.parquet", env=env, is_fresh=True)
    assert done.code == 2
    assert "pip install 'batch-orchestrator[parquet]'" in done.err
    assert not list(program.folder.glob("out.*"))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon_in(tmp_path_factory.mktemp("remote")) as made, made.running():
        yield made


def test_a_daemons_results_are_the_same_tables(daemon: Daemon) -> None:
    """Rows go there and come back; written here, of here chosen columns."""
    folder = daemon.guest.folder
    write_lines(folder / "in.jsonl", [{**request(n), "row": {"id": f"00{n}", "answer": n}} for n in range(450)])
    for _ in range(2):
        assert daemon("run", "in.jsonl", "-o", "out.csv").code == 0
    table = table_in(folder / "out.csv")
    assert list(table[0])[:4] == ["custom_id", "id", "answer", "answer_answer"]
    assert [(row["id"], row["answer"]) for row in table] == [(f"00{n}", str(n)) for n in range(450)]
    found = daemon("results", "@last", "--format", "tsv", "--columns", "id,status").out
    assert found.splitlines()[:2] == ["id\tstatus", "000\tsucceeded"]
