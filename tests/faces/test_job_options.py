"""The rules of a new job hold alike at every face: what one refuses, all refuse, before anything is read or stored."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result
from faces.api_world import NDJSON, api, lines
from faces.client_world import QUICK, requests, short_runtime_folder
from support.world import in_a_loop

from orchestrator import Orchestrator
from orchestrator.cli.main import cli
from orchestrator.cli.options import GlobalOptions
from orchestrator.domain.errors import UsageError
from orchestrator.domain.job_spec import OPTIONS

#: By the option: values that it may not have, as a program would give them.
BAD: Final[dict[str, tuple[Any, ...]]] = {
    "name": ("", " ", "@last", "a\nb", "a\u2028b", "\x1b[2J", "x" * 501),
    "key": ("", "a\nb", "é", "x" * 256),
    "api_version": ("latest", "2023-06-01\n", "٢٠٢٣-٠٦-٠١", "2024-01-01"),
    "betas": (["a\nb"], ["a b"], [""], ["-x"], ["x" * 201], ["é"]),
    "priority": (0, 101),
    "cache": ("", "on", "Prime"),
    "retry_invalid": (-1, 11),
}
WRONG: Final = [(option, value) for option, values in BAD.items() for value in values]
#: A page of our own asks.
HERE: Final = {"sec-fetch-site": "same-origin"}


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


def command(folder: Path, *arguments: str) -> Result:
    """A command in this process, on the store in *folder*."""
    env = {"ORCHESTRATOR_DATABASE__PATH": str(folder / "x.db")}
    return CliRunner().invoke(cli, arguments, env=env, obj=GlobalOptions(argv=arguments))


def by_parameter(option: str, value: Any) -> dict[str, Any]:
    """An option as REST has it, in a query."""
    return {"beta" if option == "betas" else option: value}


@in_a_loop
async def test_the_library_refuses_what_an_option_may_not_be(tmp_path: Path) -> None:
    """D2, D3: a beta with a line break would be accepted and never sent."""
    async with Orchestrator(tmp_path / "x.db", sandbox=True, **QUICK) as orc:
        for option, value in WRONG:
            with pytest.raises(UsageError, match=rf"^{option} is ") as refused:
                await orc.submit(requests(1), **{option: value})
            assert refused.value.hint == OPTIONS[option].rule
            if option not in {"key", "name"}:
                with pytest.raises(UsageError):
                    await orc.open_job("open", **{option: value})
        assert await orc.jobs() == []


@in_a_loop
async def test_rest_refuses_what_an_option_may_not_be(tmp_path: Path) -> None:
    """D2, D3: in a query, in a form and in JSON alike."""
    async with api(tmp_path / "x.db") as (_, client):
        for option, value in WRONG:
            query = await client.post("jobs", params=by_parameter(option, value), content=lines(1), headers=NDJSON)
            assert query.status_code == 400, (option, value, query.text)
            body = {"requests": requests(1), option: value}
            in_json = await client.post("jobs", json=body)
            assert in_json.status_code == 400, (option, value, in_json.text)
            each = value[0] if option == "betas" else value
            fields = {"beta" if option == "betas" else option: str(each)}
            form = await client.post("jobs", data=fields, files={"file": ("f.jsonl", lines(1))})
            assert form.status_code == 400, (option, value, form.text)
        assert (await client.get("jobs")).json()["jobs"] == []


@in_a_loop
async def test_the_dashboard_refuses_a_name_that_a_job_may_not_have(tmp_path: Path) -> None:
    """D3: its form has a field for the name alone."""
    async with api(tmp_path / "x.db") as (_, client):
        for name in BAD["name"]:
            if not name.strip():  # an empty field is no choice
                continue
            file = {"file": ("f.jsonl", lines(1))}
            refused = await client.post("http://engine/new", data={"name": name}, files=file, headers=HERE)
            assert refused.status_code == 400, (name, refused.text)
            assert "a name has 1 to 500 characters" in refused.text
        assert (await client.get("jobs")).json()["jobs"] == []


@in_a_loop
async def test_the_drop_in_refuses_what_its_headers_may_not_be(tmp_path: Path) -> None:
    """D2, in the API's own words."""
    async with api(tmp_path / "x.db") as (_, client):
        for header, value in (("anthropic-beta", "a b"), ("anthropic-beta", "x" * 201), ("idempotency-key", "x" * 256)):
            headers = {"anthropic-version": "2023-06-01", header: value}
            url = "http://engine/v1/messages/batches"
            refused = await client.post(url, json={"requests": requests(1)}, headers=headers)
            assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error"), value
            assert header in refused.json()["error"]["message"]
        assert (await client.get("jobs")).json()["jobs"] == []


def test_the_command_line_refuses_what_an_option_may_not_be(tmp_path: Path) -> None:
    """D2, D3: with the rule, and the same rule as everywhere."""
    (tmp_path / "f.jsonl").write_bytes(lines(1))
    for option, value in WRONG:
        each = value[0] if option == "betas" else value
        flag = "--beta" if option == "betas" else f"--{option.replace('_', '-')}"
        arguments = ["submit", "--sandbox", str(tmp_path / "f.jsonl"), f"{flag}={each}"]
        ended = command(tmp_path, *arguments)
        assert ended.exit_code == 2, (option, value, ended.output)
        assert flag in ended.output
    assert not (tmp_path / "x.db").exists()


@in_a_loop
async def test_a_job_that_nobody_named_has_a_name_by_the_same_rule(tmp_path: Path) -> None:
    """D3: a file may be called anything."""
    async with Orchestrator(tmp_path / "x.db", sandbox=True, **QUICK) as orc:
        for number, (file, name) in enumerate((("@last.jsonl", "last"), ("a\nb.jsonl", "a b"), (" .jsonl", "input"))):
            (tmp_path / file).write_text(json.dumps(requests(1, said=str(number))[0]) + "\n")
            job = await orc.submit_file(tmp_path / file)
            assert (await job.status()).job.name == name


@in_a_loop
async def test_a_beta_of_an_older_store_is_shown_without_its_line_break(tmp_path: Path) -> None:
    """D2: `status` prints no control character, whatever the store holds."""
    async with Orchestrator(tmp_path / "x.db", sandbox=True, **QUICK) as orc:
        await (await orc.submit(requests(1), name="old", betas=["one"])).wait()
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection, connection:
        connection.execute("UPDATE job SET betas = 'a' || char(27) || '[2J'")
    shown = command(tmp_path, "status", "--sandbox", "old").output
    assert "betas a" in shown
    assert "\x1b" not in shown


def test_the_description_of_the_api_has_the_rules(tmp_path: Path) -> None:
    """What is checked is what is described, D1: a larger priority gets more."""
    from orchestrator.http_api.api.openapi import described, routes

    post = described(routes())["paths"]["/api/v1/jobs"]["post"]
    parameters = {each["name"]: each for each in post["parameters"]}
    body = post["requestBody"]["content"]["application/json"]["schema"]["properties"]
    for field, option in OPTIONS.items():
        parameter = parameters[option.param]
        assert parameter["description"] == option.help
        assert dict(option.schema).items() <= parameter["schema"].items(), field
        assert body[field] == {**option.schema, "type": [option.schema["type"], "null"]}
    assert "larger" in parameters["priority"]["description"]
