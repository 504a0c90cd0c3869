"""README and docs are true: links lead somewhere, references are the code's, and every command line works."""

import re
import shlex
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import pytest
from docs.documents import PAGES, ROOT, Block, blocks, name_of, shell_blocks
from support.forked import folder_with_command

from orchestrator.cli.main import PROGRAM, cli
from tools.make_reference import REFERENCE, pages

COMMANDS = [pytest.param(page, id=name_of(page)) for page in PAGES if any(not b.not_run for b in shell_blocks(page))]
BLOCKS = [pytest.param(block, id=f"{name_of(page)}:{block.line}") for page in PAGES for block in shell_blocks(page)]
#: A daemon in the background is awaited, as a person would who reads what it prints.
READY = f"for _ in $(seq 600); do {PROGRAM} health --sandbox >/dev/null 2>&1 && break; sleep 0.1; done"


def test_the_reference_is_the_one_the_code_makes() -> None:
    """`docs/reference` tells of the code that is here; `make reference` writes it anew."""
    for name, text in pages().items():
        assert (REFERENCE / name).read_text(encoding="utf-8") == text, f"{name} is old: run `make reference`"


def anchors(page: Path) -> set[str]:
    """The anchors of *page*'s headings, as code hosts make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [pytest.param(page, id=name_of(page)) for page in PAGES])
def test_every_link_leads_somewhere(page: Path) -> None:
    """A reader is never sent to a page or a heading that is not there."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        aim = page if not path else (page.parent / path).resolve()
        assert aim.exists(), target
        assert not anchor or anchor in anchors(aim), target


def test_the_index_lists_every_page() -> None:
    """`docs/README.md` is the way in: a page that it does not name is not found."""
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        if page.name != "README.md":
            assert f"({page.relative_to(ROOT / 'docs').as_posix()})" in index, page


def test_the_front_page_is_short() -> None:
    """A front page is read in three minutes; what is longer belongs into docs/."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("block", BLOCKS)
def test_every_command_line_has_the_options_that_it_uses(block: Block) -> None:
    """Also of blocks that cannot be run here: no command, subcommand or option that does not exist."""
    for words in command_lines(block.text):
        command: click.Command = cli
        ctx = click.Context(cli, info_name=PROGRAM)
        while isinstance(command, click.Group) and (names := [word for word in words if not word.startswith("-")]):
            words.remove(names[0])
            found = command.get_command(ctx, names[0])
            assert found is not None, f"{PROGRAM} {names[0]}"
            command = found
        command.make_parser(click.Context(command)).parse_args(words)


def command_lines(text: str) -> list[list[str]]:
    """The words behind every `orchestrator` that begins a command of a block."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        if not re.search(rf"(^|[;&|] *){PROGRAM} ", line):
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if re.fullmatch(r"[;&|<>()]+", word):
                if words[:1] == [PROGRAM]:
                    found.append(words[1:])
                words = []
            else:
                words.append(word)
    return found


@pytest.mark.parametrize("block", BLOCKS)
def test_what_is_not_run_says_why(block: Block) -> None:
    """A block without a reason is run; one that another test runs names a file that is there."""
    assert block.run_by is None or (ROOT / block.run_by).exists()


def free_port() -> int:
    """A port of this machine that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.mark.parametrize("page", COMMANDS)
def test_every_command_of_a_page_works(page: Path, tmp_path: Path) -> None:
    """The blocks of a page, one after the other in one shell, as a reader would type them. The API is the sandbox."""
    script = "\n".join(block.text for block in shell_blocks(page) if not block.not_run and not block.run_by)
    address = f"127.0.0.1:{free_port()}"
    script = script.replace("127.0.0.1:8787", address)
    script = re.sub(r"^(orchestrator serve [^\n&]*&.*)$", rf"\1\n{READY}", script, flags=re.MULTILINE)
    done = run(tmp_path, ["bash", "-eu", "-o", "pipefail", "-c", script], listen=address)
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stdout + done.stderr


def test_the_programs_of_the_library_page_work(tmp_path: Path) -> None:
    """What a user copies from it runs as it stands, each block as a program."""
    programs = [block.text for block in blocks(ROOT / "docs/how-to/use-the-library.md") if block.language == "python"]
    done = [run(tmp_path, [sys.executable, "-c", program], listen="") for program in programs]
    assert [each.returncode for each in done] == [0] * 3, [each.stderr for each in done]
    assert [line.split()[:2] for line in done[0].stdout.splitlines()] == [[f"r{i}", "succeeded"] for i in range(3)]
    assert done[1].stdout == "classify finished\n"


def test_the_program_of_the_page_of_tables_works(tmp_path: Path) -> None:
    """Rows in, and rows with answers out."""
    page = ROOT / "docs/how-to/ask-about-a-table.md"
    (program,) = [block.text for block in blocks(page) if block.language == "python"]
    done = run(tmp_path, [sys.executable, "-c", program], listen="")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["007", "008"], done.stderr


def run(place: Path, command: list[str], *, listen: str) -> subprocess.CompletedProcess[str]:
    """Run *command* as a new user would, in an empty folder beside the examples; *place* is the user's home."""
    folder = place / "folder"
    if not folder.exists():
        folder.mkdir()
        (folder / "examples").symlink_to(ROOT / "examples")
    with tempfile.TemporaryDirectory(prefix="orc-") as runtime:  # short: a socket lies in it
        env = {
            "HOME": str(place),
            "XDG_RUNTIME_DIR": runtime,
            "PATH": f"{folder_with_command()}:{Path(sys.executable).parent}:/usr/bin:/bin",
            "ORCHESTRATOR_SERVER__LISTEN": listen,
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120)
