"""Job files: what a key means, where it stands, and what a file that may be somebody else's does not decide."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from orchestrator.cli.commands import init
from orchestrator.cli.group import LazyGroup
from orchestrator.cli.input_options import InputOptions
from orchestrator.cli.job_files import JobFile, input_argument, job_keys
from orchestrator.cli.main import cli
from orchestrator.cli.options import GLOBAL_OPTIONS, GlobalOptions
from orchestrator.config import KEYS, load_settings
from orchestrator.config.sections import SECTIONS
from orchestrator.config.token_section import TOKENS
from orchestrator.config.toml_text import line_of_key
from orchestrator.config.webhook_section import WEBHOOKS
from orchestrator.domain.errors import UsageError
from orchestrator.domain.job_spec import JobOptions
from orchestrator.tables import TableInput, look_at

ASK = 'input = "in.csv"\nprompt = "{{ text }}"\n'


def context(*args: str, command: str = "run") -> click.Context:
    """That of a command line."""
    assert isinstance(cli, LazyGroup)
    root = cli.make_context("orchestrator", [command], obj=GlobalOptions())
    found = cli.get_command(root, command)
    assert found is not None
    return found.make_context(command, list(args), parent=root)


def given(folder: Path, text: str, *args: str, command: str = "run") -> dict[str, Any]:
    """What a command gets of a job file, with *args* behind it."""
    (folder / "in.csv").write_text("id,text\n1,late\n", encoding="utf-8")
    (folder / "job.toml").write_text(text, encoding="utf-8")
    with context(str(folder / "job.toml"), *args, command=command) as ctx:
        return input_argument(lambda _options, /, **found: found)(GlobalOptions(), **ctx.params)


def refused(folder: Path, text: str, *args: str) -> str:
    """Why it is refused, and what to do: with the folder as `.`."""
    with pytest.raises(UsageError) as caught:
        given(folder, text, *args)
    assert caught.value.exit_code == 2
    said = f"{caught.value.message} | {caught.value.cause} | {caught.value.hint}"
    return said.replace(f"{folder}/", "./")


def test_the_keys_of_a_job_file() -> None:
    """12: written out, so that an option which joins them is seen: may somebody else's file say it."""
    assert list(job_keys(context("x"))) == [
        *("output", "output_format", "columns", "only_text", "excel_safe"),
        *("prompt", "prompt_file", "system", "model", "max_tokens", "param", "schema", "image", "id_column"),
        *(
            "format",
            "delimiter",
            "api_version",
            "beta",
            "name",
            "key",
            "priority",
            "tag",
            "dedupe",
            "max_cost",
        ),
        *("pilot", "limit", "sample", "seed", "retry_invalid", "cache", "skip_bad"),
    ]


def test_what_a_job_file_does_not_decide(tmp_path: Path) -> None:
    """12: no setting, no option of every command, nothing that confirms, repeats or replaces."""
    keys = set(job_keys(context("x")))
    options = [max(option.opts, key=len) for option in (*GLOBAL_OPTIONS, *context("x").command.params)]
    names = [*options, *SECTIONS, WEBHOOKS, TOKENS, *(key.key for key in KEYS.values())]
    others = {name.removeprefix("--").replace("-", "_") for name in names} - keys - {"paths"}
    assert others > {"yes", "new", "overwrite", "allow_per_request", "detach", "db", "base_url", "confirm_above", "api"}
    for name in others:
        assert f"./job.toml:3: {name} cannot be said in a job file" in refused(tmp_path, f'{ASK}{name} = "x"\n')
    assert "approves no spending" in refused(tmp_path, f"{ASK}yes = true\n")


def test_a_file_says_what_the_command_line_would(tmp_path: Path) -> None:
    """Each key is an option, read as that is."""
    (tmp_path / "q.txt").write_text("Is it {{ text }}?\n", encoding="utf-8")
    found = given(
        tmp_path,
        'input = ["in.csv"]\nprompt_file = "q.txt"\nsystem = """\nTerse.\n"""\nmax_tokens = 5\nmax_cost = 2.50\n'
        'param = { temperature = 0.70, stop_sequences = ["\\n"] }\ntag = "a"\nimage = ["one", "two"]\n'
        'columns = ["id", "a,b"]\napi_version = 2023-06-01\nskip_bad = true\noutput = "sub/out.csv"\n',
    )
    assert found["paths"] == (f"{tmp_path}/in.csv",)
    assert (found["prompt_file"], found["output"]) == (f"{tmp_path}/q.txt", f"{tmp_path}/sub/out.csv")
    assert (found["system"], found["max_tokens"], found["max_cost"], found["skip_bad"]) == ("Terse.", 5, "2.50", True)
    assert found["params"] == ("temperature=0.70", 'stop_sequences=["\\n"]')
    assert (found["tags"], found["images"], found["columns"]) == (("a",), ("one", "two"), '"id","a,b"')
    assert found["api_version"] == "2023-06-01"
    assert found["job_file"] == JobFile(path=f"{tmp_path}/job.toml", caps=True, tries=False)


def test_a_schema_is_words_a_table_or_a_file(tmp_path: Path) -> None:
    """Of the same meaning, the same schema."""
    schema = '{"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false}'
    (tmp_path / "s.json").write_text(schema, encoding="utf-8")
    table = f"schema = {schema.replace(':', ' =')}\n"
    in_table, in_file, in_words = (
        given(tmp_path, f"{ASK}{text}")["schema"] for text in (table, 'schema = "s.json"', 'schema = "a"')
    )
    assert in_table.schema.format == in_file.schema.format
    assert in_file.given == f"@{tmp_path}/s.json"
    assert in_words.given == "a"


def test_the_command_line_is_stronger(tmp_path: Path) -> None:
    """An option for its key, a prompt for the file of one, an input for the input; a cap is a person's then."""
    text = f'{ASK}tag = ["a", "b"]\nmodel = "one"\nmax_cost = 5\ncache = "auto"\noutput = "../o.csv"\n'
    args = ("other.csv", "--tag", "c", "-m", "two", "--max-cost", "9", "--no-prime", "-o", "../mine.csv")
    found = given(tmp_path, text, *args)
    assert (found["tags"], found["model"], found["max_cost"], found["cache"]) == (("c",), "two", "9", None)
    assert (found["paths"], found["output"]) == (("other.csv",), "../mine.csv")
    assert found["job_file"].caps is False
    found = given(tmp_path, ASK, "--prompt-file", "q.txt")
    assert (found["prompt"], found["prompt_file"]) == (None, "q.txt")


def test_an_input_may_be_a_pattern_of_files_in_the_folder(tmp_path: Path) -> None:
    """As a shell has it: sorted, without hidden files and folders; what is called so is itself. 12: none is outside."""
    folder = tmp_path / "work"
    (folder / "prompts/sub.txt").mkdir(parents=True)
    (folder / "[x].txt").touch()
    for name in ("b.txt", "a.txt", ".c.txt", "d.md"):
        (folder / "prompts" / name).touch()
    (tmp_path / "secret.txt").touch()
    ask = 'prompt = "x"\n'
    found = given(folder, f'{ask}input = ["prompts/*.txt", "in.csv", "[x].txt"]\n')["paths"]
    assert [os.path.relpath(path, folder) for path in found] == ["prompts/a.txt", "prompts/b.txt", "in.csv", "[x].txt"]
    assert "./job.toml:2: input: no file fits prompts/*.pdf" in refused(folder, f'{ask}input = "prompts/*.pdf"\n')
    (folder / "prompts/link.md").symlink_to(tmp_path / "secret.txt")
    (folder / "up").symlink_to(tmp_path)
    for named in (
        "../*.txt",
        "prompts/../../*.txt",
        f"{tmp_path}/*.txt",
        "prompts/*.md",
        "up/*.txt",
        "u*/*.txt",
        "*/../../*.txt",
    ):
        assert "is outside of the folder" in refused(folder, f'{ask}input = "{named}"\n'), named


def test_one_file_serves_every_command(tmp_path: Path) -> None:
    """What a command has no use for is checked all the same; nothing is written by --detach."""
    text = f'{ASK}output = "out.csv"\nname = "n"\nmax_cost = 1\n'
    found = given(tmp_path, text, command="check")
    assert (found["max_cost"], "output" in found, "name" in found) == ("1", False, False)
    assert given(tmp_path, text, "--detach")["output"] is None
    assert given(tmp_path, text, command="submit")["name"] == "n"


@pytest.mark.parametrize("key", ["input", "output", "prompt_file", "schema", "system"])
@pytest.mark.parametrize("named", ["../elsewhere.txt", "/etc/passwd", "link"])
def test_a_path_stays_in_the_folder(tmp_path: Path, key: str, named: str) -> None:
    """12: what comes with a folder has no other file read, sent or written; links are followed."""
    (tmp_path / "link").symlink_to("/etc/passwd")
    value = f"@{named}" if key in {"schema", "system"} else named
    text = f'prompt = "x"\n{key} = "{value}"\n' if key == "input" else f'input = "in.csv"\n{key} = "{value}"\n'
    assert f"./job.toml:2: {key}: {named} is outside of the folder" in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('max_tokens = "5"', "3: max_tokens: expected a whole number, not a text"),
        ("max_tokens = true", "3: max_tokens: expected a whole number, not true or false"),
        ("model = 5", "3: model: expected a text in quotes, not a number"),
        ("tag = [1]", "3: tag: expected a text in quotes, or a list of such, not a list"),
        ("param = 5", "3: param: expected a table of parameters, not a number"),
        ("param = { a = nan }", "3: param: param a: NaN is not JSON"),
        ('param = { model = "x" }', "3: param: param does not set model"),
        ("skip_bad = 1", "3: skip_bad: expected true or false, not a number"),
        ("priority = 0", "3: priority: 0 is not in the range"),
        ('name = ""', "3: name: a name has 1 to 500 characters"),
        ("max_cost = 0", "3: max_cost: an amount is dollars"),
        ('format = "xml"', "3: format: 'xml' is not one of"),
        ('schema = "no.json"', "3: schema: no such file: ./no.json"),
        ('schema = "a b c d"', "3: schema: "),
        ('tags = ["a"]', '3: tags: a job file has no such key | None | did you mean "tag"? Its keys: input, output,'),
        ("max-tokens = 5", 'did you mean "max_tokens"?'),
        ("[limits]", "3: limits cannot be said in a job file"),
        ("x = [", "job.toml: it is not valid TOML"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    """The key, the line, what is expected, and what to do; never the value, which may be a secret."""
    assert said in refused(tmp_path, f"{ASK}{line}\n")
    assert "sk-ant-" not in refused(tmp_path, f'{ASK}api_key = "sk-ant-1"\n')


def test_an_input_is_needed_and_one_file_at_a_time(tmp_path: Path) -> None:
    """It may come from the command line, too."""
    with pytest.raises(click.UsageError, match="names no input"):
        given(tmp_path, 'prompt = "x"\n')
    with pytest.raises(click.UsageError, match="one job file goes at a time"):
        given(tmp_path, ASK, "other.toml")
    assert given(tmp_path, 'prompt = "x"\n', "a.csv")["paths"] == ("a.csv",)
    assert "no such file: ./no.csv" in refused(tmp_path, 'input = "no.csv"\n')


def test_the_line_of_a_key_is_not_that_of_a_text() -> None:
    """Texts and comments may have lines that look like keys."""
    head = b'# """ a = 1\nb = "# \\""\nc = """\na = 2\n\\"""a = 3\n"""\n'
    text = head + b"d = '''\na = 4\n'''\n\"a\" = 5\ne.f = 6\n[g]\na = 7\n"
    assert [line_of_key(text, key) for key in "abcdeg"] == [10, 2, 3, 7, 11, 12]
    assert line_of_key(b"'x y' = 1\r\n\r\n[[z]]\r\n", "x y") == 1
    assert line_of_key(b'"\\u0061" = 1\n', "a") is None


def test_a_cap_of_a_file_raises_none_of_the_settings(tmp_path: Path) -> None:
    """12: it may be lower; a person's may be anything."""
    settings = load_settings(flags={"budget.max_job": "$10"}, env={"HOME": str(tmp_path)}, cwd=tmp_path)

    def cap(amount: str, *, caps: bool) -> int | None:
        file = JobFile(path="job.toml", caps=caps, tries=False)
        chosen = InputOptions(paths=("in.csv",), job_options=JobOptions(max_cost=amount), job_file=file)
        return chosen.new_job(settings).cap_nanos

    assert cap("5", caps=True) == 5 * 10**9
    assert cap("20", caps=False) == 20 * 10**9
    with pytest.raises(UsageError, match=r"says max_cost \$20.00, and \[budget\] max_job is \$10.00"):
        cap("20", caps=True)


@pytest.mark.parametrize(
    ("table", "id_column", "texts"),
    [
        ("id,product,text\n1,kettle,it boils very fast\n2,pan,it is quite hot\n", "id", ("text",)),
        ("id,review_id\n1,9\n1,8\n", "review_id", ("id",)),
        ("title,body,n\na long title here,and a body of words,5\n", None, ("title", "body")),
        ("a,longer\nx,yy\n", None, ("longer",)),
        ("id\n1\n", "id", ("id",)),
    ],
)
def test_a_first_look_guesses(tmp_path: Path, table: str, id_column: str | None, texts: tuple[str, ...]) -> None:
    """The column that names a row is unique, and texts are what somebody wrote."""
    (tmp_path / "in.csv").write_text(table, encoding="utf-8")
    look = look_at(TableInput(paths=(str(tmp_path / "in.csv"),)))
    assert (look.id_column, look.texts) == (id_column, texts)


def test_a_first_job_file_is_one_whatever_columns_are_called(tmp_path: Path) -> None:
    """It is TOML, and its template has the columns."""
    names = ("plain", "a b", 'q"""q', "back\\slash", "row", "línea", "if")
    header = ";".join('"' + name.replace('"', '""') + '"' for name in names)
    (tmp_path / "in.csv").write_text(f"{header}\n{'one two three;' * 6}x\n", encoding="utf-8")
    settings = load_settings(flags={}, env={"HOME": str(tmp_path)}, cwd=tmp_path)
    look = look_at(TableInput(paths=(str(tmp_path / "in.csv"),)))
    assert look.columns == names
    for name in names:
        alone = type(look)(columns=names, id_column=None, texts=(name,))
        written = tomllib.loads("\n".join(init.lines_of_rows(settings, alone, asks=False)))
        told = init.placeholder(name)
        assert written["prompt"] == f"{told}\n"
        assert written["model"].startswith("claude-")
    assert init.placeholder("plain") == "{{ plain }}"
    assert init.placeholder('q"""q') == r'{{ row["q\"\"\"q"] }}'
    assert os.path.relpath(tmp_path / "in.csv", tmp_path) == init.named_inside(str(tmp_path / "in.csv"), tmp_path)
    assert init.named_inside("/etc/passwd", tmp_path) is None
