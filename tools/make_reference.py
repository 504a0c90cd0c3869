"""Writes docs/reference/: commands, settings, REST routes, the library, exit codes and problem types, from the code.

`python tools/make_reference.py` (`make reference`) writes the pages; `pages()` gives them to the test that compares.
`metrics.md` is written by hand: what a metric means stands nowhere in the code.
"""

import dataclasses
import enum
import inspect
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import click

import orchestrator
from orchestrator.cli.group import command_paths
from orchestrator.cli.main import EXIT_CODES, PROGRAM, cli
from orchestrator.cli.options import GlobalOption
from orchestrator.config.sections import KEYS, SECTIONS
from orchestrator.config.setting import ALLOWED, REFUSED, Key
from orchestrator.config.token_section import token_settings
from orchestrator.config.webhook_section import webhook_settings
from orchestrator.http_api.api.openapi import described, routes
from orchestrator.views.problem_details import problem_types

REFERENCE: Final = Path(__file__).resolve().parent.parent / "docs" / "reference"
#: Whose constructor is public; the others come from methods.
_MADE_BY_USERS: Final = ("Orchestrator", "SyncOrchestrator")
_MADE: Final = "<!-- Made by tools/make_reference.py from the code. Do not edit: `make reference` writes it anew. -->\n"
_COMMANDS: Final = """\
# Commands

`orchestrator COMMAND --help` says the same. A JOB is an id, a unique prefix of one, a name, or `@last`.

## Options of every command
"""
_SETTINGS: Final = """\
# Settings

In a file: `[section]`, then `key = value`. In the environment: `ORCHESTRATOR_SECTION__KEY`. Durations are texts such as
`"30s"`, `"20m"`, `"90d"`; sizes such as `"256MB"`. *Folder* says whether `./orchestrator.toml` may set it
([why](../how-to/configure-it.md#what-a-folder-may-decide)); *inside*: a path in that folder only.
"""
_LIBRARY: Final = """\
# Library

Public is what `orchestrator` itself exports, listed here, with its public attributes; every module below it may change
from one version to the next. [How to use it](../how-to/use-the-library.md).
"""
_PROBLEMS: Final = """\
# Problems

Every refusal over HTTP is a problem document (RFC 9457): `type` does not change, `title` says what is wrong, `detail`
why, `hint` what to do, `exit_code` what the command line would end with. The drop-in for the SDK answers in the API's
own error shape instead.
"""
_EXIT_CODES: Final = """\
# Exit codes
"""
_ERRORS: Final = """
## Errors

Every error is an `OrchestratorError`: `message`, `cause`, `hint`, and the `exit_code` that a command ends with.
"""


def pages() -> dict[str, str]:
    """Every page by its file name."""
    made = {
        "commands.md": _commands(),
        "settings.md": _settings(),
        "rest.md": _rest(),
        "library.md": _library(),
        "exit-codes.md": _exit_codes(),
        "problems.md": _problems(),
    }
    return {
        name: _MADE + "\n" + re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n" for name, lines in made.items()
    }


def _commands() -> Iterator[str]:
    yield _COMMANDS
    yield from _options(cli, shared=True)
    for words in command_paths(cli):
        command, ctx = _command(words)
        yield f"\n## {' '.join(words)}\n"
        yield "```\n" + " ".join(_usage(ctx, command).split()) + "\n```\n"
        yield _paragraphs(command.help or "")
        yield ""
        yield from _options(command, shared=False)
        examples = getattr(command, "examples", "")
        if examples and not isinstance(command, click.Group):
            yield "\n```\n" + examples.strip("\n") + "\n```"


def _command(words: tuple[str, ...]) -> tuple[click.Command, click.Context]:
    command: click.Command = cli
    ctx = _context(cli, PROGRAM)
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(ctx, word)
        assert found is not None, words
        command, ctx = found, _context(found, word, ctx)
    return command, ctx


def _context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    """As the program makes it: with the names of its help option, which a command remembers when it is first asked."""
    names = cli.context_settings["help_option_names"]
    return click.Context(command, info_name=name, parent=parent, help_option_names=names)


def _usage(ctx: click.Context, command: click.Command) -> str:
    return f"{ctx.command_path} {' '.join(command.collect_usage_pieces(ctx))}"


def _options(command: click.Command, *, shared: bool) -> Iterator[str]:
    ctx = _context(command, PROGRAM)
    found = [
        record
        for param in command.get_params(ctx)
        if isinstance(param, click.Option)
        and (isinstance(param, GlobalOption) or "--help" in param.opts) is shared
        and (record := param.get_help_record(ctx)) is not None
    ]
    yield from _table(("option", "meaning"), [(f"`{name}`", _cell(text)) for name, text in found])


def _settings() -> Iterator[str]:
    yield _SETTINGS
    for section, keys in groupby(KEYS.values(), key=lambda key: key.section):
        yield f"\n## [{section}]\n"
        yield _after_colon(inspect.getdoc(SECTIONS[section]) or "")
        yield ""
        yield from _table(("key", "default", "meaning", "folder"), [_setting(key) for key in keys])
    yield "\n## [[webhooks]]\n"
    yield "One block for each program that is told. In no file of a folder."
    yield ""
    yield from _table(
        ("key", "example", "meaning"),
        [
            (f"`{name}`", f"`{meaning.example or 'false'}`", _cell(meaning.means))
            for name, meaning in webhook_settings()
        ],
    )
    yield "\n## [[tokens]]\n"
    yield "One block for each person or program that may ask the daemon. In no file of a folder."
    yield ""
    yield from _table(
        ("key", "example", "meaning"),
        [(f"`{name}`", f"`{meaning.example}`", _cell(meaning.means)) for name, meaning in token_settings()],
    )


def _setting(key: Key) -> tuple[str, ...]:
    meaning = key.meaning
    default = f"not set: {meaning.unset}" if key.default is None else f"`{meaning.kind.show(key.default)}`"
    folder = "yes" if meaning.project is ALLOWED else "no" if meaning.project is REFUSED else "inside"
    return f"`{key.key}`", _cell(default), _cell(meaning.means), folder


def _rest() -> Iterator[str]:
    document = described(routes())
    yield "# REST API"
    yield ""
    yield _wrapped(document["info"]["description"])
    yield ""
    yield "`/openapi.json` of a daemon is this page for programs. [How to call it](../how-to/call-it-over-http.md)."
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"\n## {method.upper()} {path}\n"
            yield _paragraphs(operation["description"])
            yield ""
            yield from _table(
                ("parameter", "in", "type", "meaning"), [_parameter(one) for one in operation.get("parameters", ())]
            )
            yield from _body(operation.get("requestBody", {}), operation.get("parameters", ()))
            answers = ", ".join(_answer(code, answer) for code, answer in sorted(operation["responses"].items()))
            yield f"\nAnswers: {answers}."
    yield "\n## Objects"
    for name, schema in sorted(document["components"]["schemas"].items()):
        if "properties" in schema or "enum" in schema:
            yield f"\n### {name}\n"
            yield _paragraphs(schema.get("description", ""))
            yield f"\nOne of {_type(schema)}." if "enum" in schema else ""
            rows = [
                (f"`{field}`", _type(of), _cell(of.get("description", "")))
                for field, of in schema.get("properties", {}).items()
            ]
            yield from _table(("field", "type", "meaning"), rows)


def _body(body: dict[str, Any], parameters: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What a request brings: the types that are taken, and the fields of JSON, some of which *parameters* explain."""
    content = body.get("content", {})
    if not content:
        return
    yield f"\nBody{'' if body.get('required') else ' (may be left out)'}: {', '.join(f'`{kind}`' for kind in content)}."
    schema = content.get("application/json", {}).get("schema", {})
    required = schema.get("required", ())
    meanings = {one["name"]: _meaning(one) for one in parameters}
    rows = [
        (
            f"`{field}`{' (required)' if field in required else ''}",
            _type(of),
            _cell(of.get("description") or meanings.get(field, "")),
        )
        for field, of in schema.get("properties", {}).items()
    ]
    yield ""
    yield from _table(("field of JSON", "type", "meaning"), rows)


def _parameter(one: dict[str, Any]) -> tuple[str, ...]:
    name = f"`{one['name']}`" + (" (required)" if one.get("required") and one["in"] != "path" else "")
    return name, one["in"], _type(one["schema"]), _cell(_meaning(one))


def _meaning(parameter: dict[str, Any]) -> str:
    return str(parameter.get("description") or parameter["schema"].get("description", ""))


def _answer(code: str, answer: dict[str, Any]) -> str:
    names = {_type(of["schema"]) for of in answer.get("content", {}).values() if of.get("schema")}
    shown = " or ".join(sorted(name for name in names if name not in {"any", "Problem"}))
    return f"{code} {shown}".rstrip()


def _type(schema: dict[str, Any]) -> str:
    """A type in a few words, from JSON Schema."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})" if name != "Problem" else name
    kinds = schema.get("type", "any")
    if any_of := schema.get("anyOf", [{**schema, "type": kind} for kind in kinds] if isinstance(kinds, list) else []):
        return " or ".join(dict.fromkeys(_type(each) for each in any_of))
    if values := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return ", ".join(f"`{value}`" for value in values)
    if kinds == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return str(schema.get("format") or kinds)


def _library() -> Iterator[str]:
    yield _LIBRARY
    for name in orchestrator.__all__:
        kind = getattr(orchestrator, name)
        if inspect.isclass(kind) and not issubclass(kind, BaseException):
            yield from _class(name, kind)
    yield _ERRORS
    kinds = [getattr(orchestrator, name) for name in orchestrator.__all__]
    errors = [kind for kind in kinds if inspect.isclass(kind) and issubclass(kind, orchestrator.OrchestratorError)]
    yield from _table(
        ("error", "is a", "exit", "when"),
        [
            (f"`{kind.__name__}`", f"`{kind.__mro__[1].__name__}`", str(kind.exit_code), _cell(_first(kind)))
            for kind in errors
        ],
    )


def _class(name: str, kind: type) -> Iterator[str]:
    yield f"\n## {name}\n"
    yield _paragraphs(inspect.getdoc(kind) or "")
    yield ""
    if issubclass(kind, enum.Enum):
        yield "One of " + ", ".join(f"`{member.value}`" for member in kind) + "."
        return
    if name in _MADE_BY_USERS:
        yield f"```\n{name}{_signature(kind.__init__)}\n```\n"
    fields = (
        [each.name for each in dataclasses.fields(kind)]
        if dataclasses.is_dataclass(kind)
        else list(getattr(kind, "__struct_fields__", ()))
    )
    shown = [field for field in fields if not field.startswith("_")]
    if shown:
        yield "Fields: " + ", ".join(f"`{field}`" for field in shown) + "."
        yield ""
    for member, value in sorted(vars(kind).items(), key=lambda each: (not isinstance(each[1], property), each[0])):
        if member in {*fields, "of"} or member.startswith("_"):  # of: how a view is made, which is ours
            continue
        if isinstance(value, property):
            yield f"- `{member}`: {_cell(_first(value.fget))}"
        elif inspect.isfunction(value) or isinstance(value, classmethod | staticmethod):
            function = value if inspect.isfunction(value) else value.__func__
            prefix = "await " if inspect.iscoroutinefunction(function) else ""
            yield f"\n### {name}.{member}\n\n```\n{prefix}{member}{_signature(function)}\n```\n"
            yield _paragraphs(inspect.getdoc(getattr(kind, member)) or "")


def _signature(function: Any) -> str:  # noqa: ANN401 - any callable
    """As it is written, without `self`, the paths of modules, and the options that stand in a table of their own."""
    signature = getattr(function, "written_signature", None) or inspect.signature(function)
    mine = [one for one in signature.parameters.values() if one.name not in {"self", "cls"}]
    text = str(signature.replace(parameters=mine))
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text).replace("'", "")


def _exit_codes() -> Iterator[str]:
    yield _EXIT_CODES
    yield from _table(("exit", "meaning"), [(code, _cell(meaning)) for code, meaning in EXIT_CODES.items()])


def _problems() -> Iterator[str]:
    yield _PROBLEMS
    rows = [
        (f"`{slug}`", str(status), str(error.exit_code), _cell(_first(error)))
        for slug, status, error in problem_types()
    ]
    yield from _table(("type", "status", "exit", "when"), rows)


def _first(thing: object) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0]


def _after_colon(text: str) -> str:
    said = text.partition(": ")[2].split("\n\n")[0]
    return " ".join((said[:1].upper() + said[1:]).split())


def _paragraphs(text: str) -> str:
    return "\n\n".join(_wrapped(part) for part in inspect.cleandoc(text).replace("\b", "").split("\n\n"))


def _wrapped(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        yield "| " + " | ".join(head) + " |"
        yield "|" + "---|" * len(head)
        yield from ("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    """Writes every page."""
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
