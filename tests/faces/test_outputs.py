"""Which file of results may be replaced: only the job's own earlier output."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from faces.client_world import QUICK, SLOW, requests, short_runtime_folder

from orchestrator import Orchestrator, OutputError, OutputNotWritten, Purged, SyncJob, SyncOrchestrator
from orchestrator.client.results_file import Output
from orchestrator.domain.result_lines import errored_result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def orc(folder: Path) -> Iterator[SyncOrchestrator]:
    with short_runtime_folder(), SyncOrchestrator(folder / "store.db", sandbox=True, **QUICK) as found:
        yield found


@pytest.fixture(scope="module")
def january(orc: SyncOrchestrator) -> SyncJob:
    job = orc.submit(requests(1500, said="january"), name="requests")
    job.wait()
    return job


@pytest.fixture(scope="module")
def february(orc: SyncOrchestrator) -> SyncJob:
    job = orc.submit(requests(1500, said="february"), name="requests")
    job.wait()
    return job


@pytest.fixture
def own(january: SyncJob, tmp_path: Path) -> bytes:
    january.export(tmp_path / "own")
    return (tmp_path / "own").read_bytes()


def middle(text: bytes) -> bytes:
    return b"".join(text.splitlines(keepends=True)[700:1200:3])


OWN: dict[str, Callable[[bytes], bytes]] = {
    "all of it": bytes,
    "its beginning": lambda text: b"".join(text.splitlines(keepends=True)[:10]),
    "some of it, with gaps": middle,
    "nothing": lambda _: b"",
    "all of it, as gzip": gzip.compress,
    "all of it, as zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("what", OWN)
def test_an_earlier_output_of_the_job_is_replaced(january: SyncJob, own: bytes, tmp_path: Path, what: str) -> None:
    """F9: the same command twice is safe, also after results of a job that was not over yet."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(OWN[what](own))
    assert january.export(path) == 1500
    assert path.read_bytes() == own


def output_with_failure(text: bytes) -> bytes:
    first, rest = text.split(b"\n", 1)
    failed = errored_result("api_error", "oops", request_id="req_1")
    return b'{"custom_id":%b,"result":%b}\n' % (json.dumps(json.loads(first)["custom_id"]).encode(), failed) + rest


FOREIGN: dict[str, Callable[[bytes], bytes]] = {
    "a line more": lambda text: text + b'{"custom_id":"x","result":{"type":"succeeded","message":{}}}\n',
    "a line that is no result": lambda text: text + b"# my notes\n",
    "a line twice": lambda text: text + text.splitlines(keepends=True)[-1],
    "another order": lambda text: b"".join(reversed(text.splitlines(keepends=True))),
    "another answer": lambda text: text.replace(b"succeeded", b"succeeded ", 1),
    "a failure that never was": output_with_failure,
    "no end of its last line": lambda text: text[:-1],
    "a blank line": lambda text: text + b"\n",
    "an archive that is cut short": lambda text: gzip.compress(text)[:-9],
    "something else": lambda _: b"name,answer\n",
    "one long line": lambda _: b"x" * 300_000,
    "a store": lambda _: b"SQLite format 3\0" + b"\0" * 4000,
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_file_with_anything_else_in_it_is_refused_and_stays(
    january: SyncJob, own: bytes, tmp_path: Path, what: str
) -> None:
    """F9: what the store does not hold would be lost."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(FOREIGN[what](own))
    before = path.read_bytes()
    with pytest.raises(OutputError) as caught:
        january.export(path)
    assert caught.value.exit_code == 2
    assert "overwrite=True" in str(caught.value)
    assert path.read_bytes() == before
    assert january.export(path, overwrite=True) == 1500
    assert path.read_bytes() == own


def test_another_jobs_results_of_the_same_ids_are_foreign(january: SyncJob, february: SyncJob, tmp_path: Path) -> None:
    """F9: two months in one folder."""
    january.export(tmp_path / "out")
    before = (tmp_path / "out").read_bytes()
    with pytest.raises(OutputError, match="is not this job's output"):
        february.export(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == before


def test_another_store_knows_the_file_as_little(january: SyncJob, tmp_path: Path) -> None:
    """F9: the same requests in two stores are two purchases; a copied file is the same file."""
    january.export(tmp_path / "out")
    shutil.copy(tmp_path / "out", tmp_path / "copy")
    assert january.export(tmp_path / "copy") == 1500
    with short_runtime_folder(), SyncOrchestrator(tmp_path / "db", sandbox=True, **QUICK) as orc:
        other = orc.submit(requests(3, said="january"))
        other.wait()
        with pytest.raises(OutputError):
            other.export(tmp_path / "out")


def test_a_file_that_comes_while_the_job_runs_is_refused_at_the_end(tmp_path: Path) -> None:
    """F9: the work is done then, so the code is another one: 9. One that was found to be ours is not read again."""

    async def look() -> None:
        async with Orchestrator(tmp_path / "db", sandbox=True, **QUICK) as orc:
            job = await orc.submit(requests(3))
            await job.wait()
            key, reader = (await job.status()).job.id, orc._handle().bulk
            output = Output(tmp_path / "out")
            await output.refuse_foreign(reader, key)
            (tmp_path / "out").write_bytes(b"somebody else's\n")
            with pytest.raises(OutputNotWritten) as caught:
                await output.write(reader, key)
            assert caught.value.exit_code == 9
            assert (tmp_path / "out").read_bytes() == b"somebody else's\n"
            (tmp_path / "out").unlink()
            assert await output.write(reader, key) == 3

    with short_runtime_folder():
        asyncio.run(look())


@pytest.mark.parametrize("fault", ["overloaded", "expire"])
def test_failures_that_were_tried_again_are_the_jobs_own(tmp_path: Path, fault: str) -> None:
    """F9: after `retry` the earlier output has lines that the store no longer gives; nobody paid for them."""
    out = tmp_path / "out"
    with short_runtime_folder():
        faulty = {**QUICK, "sandbox__faults": f"{fault}=0.5", "retry__max_attempts": "1"}
        with SyncOrchestrator(tmp_path / "db", sandbox=True, **faulty) as orc:
            job = orc.submit(requests(30), name="odd")
            job.wait()
            job.export(out)
        first = out.read_bytes()
        assert 0 < first.count(b'"succeeded"') < 30
        with SyncOrchestrator(tmp_path / "db", sandbox=True, **SLOW) as orc:
            job = orc.job("odd")
            assert job.retry() == 30 - first.count(b'"succeeded"')
            assert job.export(out, settled_only=True) == first.count(b'"succeeded"')  # the others wait again
        with SyncOrchestrator(tmp_path / "db2", sandbox=True, **QUICK) as orc:
            other = orc.submit(requests(30), name="odd")
            other.wait()
            out.write_bytes(b"".join(line for line in first.splitlines(keepends=True) if b'"succeeded"' not in line))
            with pytest.raises(OutputError):
                other.export(out)
        out.write_bytes(first)
        with SyncOrchestrator(tmp_path / "db", sandbox=True, **{**QUICK, "sandbox__speed": 10**6}) as orc:
            job = orc.job("odd")
            job.wait()
            assert job.export(out) == 30
            assert out.read_bytes() != first


def test_what_was_canceled_and_queued_again_is_the_jobs_own(tmp_path: Path) -> None:
    """F9: a request that was never sent has no attempt to tell of."""
    with short_runtime_folder():
        with SyncOrchestrator(tmp_path / "db", sandbox=True, **SLOW) as orc:
            job = orc.submit(requests(3), name="canceled")
            job.cancel()
        with SyncOrchestrator(tmp_path / "db", sandbox=True, **QUICK) as orc:
            job = orc.job("canceled")
            job.wait()
            job.export(tmp_path / "out")
            assert b"canceled" in (tmp_path / "out").read_bytes()
            assert job.retry() == 3
            job.wait()
            assert job.export(tmp_path / "out") == 3
            assert b"canceled" not in (tmp_path / "out").read_bytes()


def test_a_purged_job_replaces_nothing(tmp_path: Path) -> None:
    """F9: its results are gone, so the file is all that there is."""

    async def look() -> None:
        async with Orchestrator(tmp_path / "db", sandbox=True, **QUICK) as orc:
            job = await orc.submit(requests(3))
            await job.export(tmp_path / "out")
            before = (tmp_path / "out").read_bytes()
            await orc._handle().commands.purge((await job.status()).job.id)
            for overwrite in (False, True):
                with pytest.raises(Purged):
                    await job.export(tmp_path / "out", overwrite=overwrite)
            assert (tmp_path / "out").read_bytes() == before

    with short_runtime_folder():
        asyncio.run(look())
