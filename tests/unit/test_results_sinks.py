"""Results become visible whole, or not at all."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard

from orchestrator.domain.errors import OutputError
from orchestrator.results import FileSink, PipeSink, StdoutSink, check_writable, open_sink

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.ports.streams import Sink

CHUNK = b'{"custom_id":"a","result":{"type":"expired"}}\n' * 30_000  # 1.3 MB


async def written(sink: Sink, *chunks: bytes) -> None:
    for chunk in chunks:
        await sink.write(chunk)
    await sink.commit()


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def drafts(folder: Path) -> list[Path]:
    return list(folder.glob(".*.tmp"))


def unzstd(packed: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(packed)


@pytest.mark.parametrize(("name", "unpack"), [("out.jsonl", bytes), ("out.gz", gzip.decompress), ("out.zst", unzstd)])
def test_a_committed_file_is_whole_and_has_the_mode_of_every_new_file(
    tmp_path: Path, name: str, unpack: Callable[[bytes], bytes]
) -> None:
    """F10: the umask decides who may read it, as for any other program; nothing else is left in the folder."""
    path = tmp_path / name
    (tmp_path / "usual").touch()
    usual = (tmp_path / "usual").stat().st_mode
    (tmp_path / "usual").unlink()
    asyncio.run(written(FileSink(path), CHUNK, b"last\n"))
    assert unpack(path.read_bytes()) == CHUNK + b"last\n"
    assert path.stat().st_mode == usual
    assert names_in(tmp_path) == [name]


@pytest.mark.parametrize("name", ["out.jsonl", "out.gz", "out.zst"])
def test_the_same_results_give_the_same_file(tmp_path: Path, name: str) -> None:
    """The same command twice is safe, and comparable."""
    path = tmp_path / name
    asyncio.run(written(FileSink(path), CHUNK))
    first = path.read_bytes()
    asyncio.run(written(FileSink(path), CHUNK))
    assert path.read_bytes() == first


def test_no_results_make_an_empty_file(tmp_path: Path) -> None:
    """A job without lines still has an output."""
    asyncio.run(written(FileSink(tmp_path / "out")))
    assert (tmp_path / "out").read_bytes() == b""


def test_nothing_is_visible_before_commit_and_the_old_file_stays(tmp_path: Path) -> None:
    """A process that dies in the middle of an export spoils nothing."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"old")
    asyncio.run(FileSink(path).write(CHUNK))  # and the process is gone
    assert path.read_bytes() == b"old"
    assert all(name == "out.jsonl" or name.endswith(".tmp") for name in names_in(tmp_path))


@pytest.mark.process
def test_a_killed_export_leaves_no_output(tmp_path: Path) -> None:
    """The same with a real process and a real SIGKILL."""
    program = (
        "import asyncio, os, signal, sys; from orchestrator.results import FileSink\n"
        "sink = FileSink(sys.argv[1])\n"
        "asyncio.run(sink.write(b'x' * 5_000_000)); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "out")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()


def test_abort_leaves_nothing_and_after_commit_does_nothing(tmp_path: Path) -> None:
    """Both may be called in any cleanup."""

    async def both() -> None:
        aborted = FileSink(tmp_path / "aborted")
        await aborted.write(CHUNK)
        await aborted.abort()
        await aborted.abort()
        kept = FileSink(tmp_path / "kept")
        await written(kept, CHUNK)
        await kept.abort()

    asyncio.run(both())
    assert names_in(tmp_path) == ["kept"]


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444, 0o640])
def test_a_file_that_is_replaced_keeps_its_mode_and_its_group(tmp_path: Path, mode: int) -> None:
    """F10: whoever could read yesterday's results can read today's, and nobody else, from the first byte on."""
    path = tmp_path / "out"
    path.write_bytes(b"old")
    path.chmod(mode)
    groups = [*os.getgroups(), *([12345] if os.geteuid() == 0 else [])]
    os.chown(path, -1, groups[-1] if groups else os.getegid())
    before = path.stat()

    async def write() -> None:
        sink = FileSink(path)
        await sink.write(CHUNK)
        (draft,) = drafts(tmp_path)
        assert stat.S_IMODE(draft.stat().st_mode) == 0o600
        await sink.commit()

    asyncio.run(write())
    now = path.stat()
    assert (stat.S_IMODE(now.st_mode), now.st_gid, now.st_uid) == (mode, before.st_gid, before.st_uid)
    assert path.read_bytes() == CHUNK


@pytest.mark.parametrize("is_there", [True, False], ids=["there", "dangling"])
@pytest.mark.parametrize("link", ["elsewhere/target", "middle"], ids=["one link", "two links"])
def test_a_link_is_written_through(tmp_path: Path, link: str, is_there: bool) -> None:
    """F10: `-o latest` fills the file that the link leads to, and stays a link; the draft lies beside the target."""
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "target"
    (tmp_path / "middle").symlink_to("elsewhere/target")
    (tmp_path / "out").symlink_to(link)
    if is_there:
        target.write_bytes(b"old")

    async def write() -> None:
        check_writable(tmp_path / "out")
        sink = FileSink(tmp_path / "out")
        await sink.write(CHUNK)
        assert len(drafts(tmp_path / "elsewhere")) == 1
        assert not is_there or target.read_bytes() == b"old"
        await sink.commit()

    asyncio.run(write())
    assert (tmp_path / "out").readlink() == Path(link)
    assert target.read_bytes() == CHUNK
    assert names_in(tmp_path / "elsewhere") == ["target"]


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    """F10: with words, before the work."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OutputError) as caught:
        check_writable(tmp_path / "a")
    assert "circle" in str(caught.value)


def test_a_file_in_a_folder_that_nobody_may_write_to_is_refused(tmp_path: Path) -> None:
    """F10: it could only be overwritten in place, and would be half of each for a while."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "out").write_bytes(b"old")
    (tmp_path / "folder").chmod(0o555)
    if os.access(tmp_path / "folder", os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(OutputError) as caught:
        check_writable(tmp_path / "folder" / "out")
    assert "replaced as a whole" in str(caught.value)


@pytest.mark.parametrize("name", [b"\xe4\xff", b"n" * 255, "ü".encode() * 127])
def test_any_name_will_do(tmp_path: Path, name: bytes) -> None:
    """F11: also one that is no UTF-8, or as long as the file system takes."""
    path = tmp_path / os.fsdecode(name)
    asyncio.run(written(FileSink(path), b"x"))
    assert [os.fsencode(found.name) for found in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("place", ["missing/out", "file/out", "folder"])
def test_a_place_that_cannot_be_written_is_an_error_with_a_hint(tmp_path: Path, place: str) -> None:
    """Found before a day of waiting, and at the writing too."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    path = tmp_path / place
    with pytest.raises(OutputError) as early:
        check_writable(path)
    with pytest.raises(OutputError) as late:
        asyncio.run(written(FileSink(path), b"x"))
    for caught in (early, late):
        assert str(path) in caught.value.message
        assert caught.value.hint
    assert (early.value.exit_code, late.value.exit_code) == (2, 9)
    check_writable(tmp_path / "fine")


def test_an_empty_path_is_refused() -> None:
    """`-o ""` is a mistake in a script."""
    with pytest.raises(OutputError):
        FileSink("")


def test_a_full_disk_is_an_error_that_says_so() -> None:
    """`/dev/full` refuses every byte as a full disk does."""
    sink = open_sink("/dev/full")
    assert isinstance(sink, PipeSink)
    with pytest.raises(OutputError) as caught:
        asyncio.run(sink.write(b"x"))
    assert "space" in str(caught.value.hint)
    asyncio.run(sink.abort())


def test_a_device_is_written_to_and_never_replaced() -> None:
    """Renaming a file over /dev/null would break the machine."""
    asyncio.run(written(open_sink("/dev/null"), CHUNK))
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with pytest.raises(OutputError):
        asyncio.run(written(FileSink("/dev/null"), CHUNK))


def drain(fd: int, into: bytearray) -> None:
    while block := os.read(fd, 1 << 16):
        into += block
    os.close(fd)


def test_standard_output_gets_every_byte_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """`orchestrator results -o - | jq`."""
    reading, writing = os.pipe()
    got = bytearray()
    reader = threading.Thread(target=drain, args=(reading, got))
    reader.start()
    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        asyncio.run(written(open_sink("-"), CHUNK, CHUNK, b"last\n"))
        monkeypatch.undo()
    reader.join()
    assert bytes(got) == CHUNK * 2 + b"last\n"


def test_a_reader_that_went_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """`… | head -1` ends with a sentence, not with a traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with pytest.raises(OutputError) as caught:
            asyncio.run(written(StdoutSink(), b"x"))
        monkeypatch.undo()
    assert "reader" in str(caught.value.hint)


def test_stopping_does_not_wait_for_a_reader_that_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while `less` shows page one must end the process."""
    reading, writing = os.pipe()

    async def start_and_stop() -> None:
        async with asyncio.timeout(0.05):
            await written(StdoutSink(), CHUNK)

    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with pytest.raises(TimeoutError):
            asyncio.run(start_and_stop())  # joins its worker threads before it returns
        monkeypatch.undo()
    os.close(reading)


def test_a_stand_in_for_standard_output_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that call the command line inside themselves put an object there."""
    stand_in = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", stand_in)
    asyncio.run(written(StdoutSink(), b"results"))
    monkeypatch.undo()
    assert stand_in.buffer.seek(0) == 0
    assert stand_in.buffer.read() == b"results"


def test_a_named_pipe_gets_the_results(tmp_path: Path) -> None:
    """`-o >(gzip > out.gz)`."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    got = bytearray()
    sink = open_sink(path)

    async def write_some() -> None:
        await sink.write(b"some")
        reader = threading.Thread(target=drain, args=(reading, got))
        reader.start()
        await written(sink, CHUNK)
        reader.join()

    asyncio.run(write_some())
    assert bytes(got) == b"some" + CHUNK


def test_a_named_pipe_that_nobody_reads_is_an_error(tmp_path: Path) -> None:
    """It would hang for ever otherwise."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OutputError):
        asyncio.run(written(open_sink(tmp_path / "fifo"), b"x"))
