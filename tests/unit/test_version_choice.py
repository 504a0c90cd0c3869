"""Which API version a job's requests need, and what no version takes of some models."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.domain.api_versions import API_VERSIONS, NEWEST_API_VERSION, OLD_API_VERSION
from orchestrator.domain.job_spec import JobOptions
from orchestrator.domain.params import ParamRules, problems_in
from orchestrator.domain.version_choice import VersionChoice
from orchestrator.ports.alike_problems import AlikeProblems
from orchestrator.ports.streams import InputProblem

ANY = ParamRules(api_version=None)
GOOD: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
DOCUMENT = {"role": "assistant", "content": [{"type": "document", "source": {}}]}
CITED = {"role": "user", "content": [{"type": "text", "text": "a", "citations": [{}]}]}


def encoded(**changes: object) -> bytes:
    return json.dumps(GOOD | changes).encode()


def chosen(*params: bytes) -> tuple[str, str | None]:
    choice = VersionChoice()
    choice.add_all(params)
    return choice.version, choice.reason


def test_requests_that_no_version_refuses_go_with_the_newest() -> None:
    """Words in a prompt are no parameters."""
    quoted = encoded(messages=[{"role": "user", "content": 'set "temperature" and "top_k", cite a "document"'}])
    assert chosen(encoded(), quoted) == (NEWEST_API_VERSION, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"temperature": 0}, "1 request sets temperature"),
        ({"top_p": 0.5}, "1 request sets top_p"),
        ({"top_k": 5}, "1 request sets top_k"),
        ({"messages": [*GOOD["messages"], DOCUMENT]}, "1 request has a document in an assistant message"),
        ({"messages": [CITED, CITED]}, "1 request has citations on a user's text"),
    ],
)
def test_what_only_the_older_version_takes_is_sent_with_it(changes: dict[str, object], reason: str) -> None:
    """A file of somebody who never thought about versions runs; why, is said."""
    params = encoded(**changes)
    assert problems_in(params, ANY) == []
    assert problems_in(params, ParamRules(api_version=NEWEST_API_VERSION)) != []
    assert chosen(encoded(), params) == (OLD_API_VERSION, reason)


def test_the_reason_counts_requests_by_what_they_need() -> None:
    """The commonest first."""
    both = encoded(temperature=0, top_k=5)
    reason = "3 requests set temperature, 1 sets top_k"
    assert chosen(both, encoded(temperature=0), encoded(temperature=1), encoded()) == (OLD_API_VERSION, reason)


NEWER = ["claude-opus-4-7", "claude-sonnet-5", "claude-haiku-5-5", "claude-fable-5-2-20261109", "claude-mythos-preview"]


@pytest.mark.parametrize("version", [None, *API_VERSIONS])
@pytest.mark.parametrize("model", NEWER)
def test_a_model_that_takes_sampling_under_no_version_is_named(model: str, version: str | None) -> None:
    """The remedy is not the older version: it would come back errored a day later."""
    params = encoded(model=model, temperature=0.2, top_p=0.5, top_k=5)
    found = problems_in(params, ParamRules(api_version=version))
    assert [each.field for each in found] == ["params.temperature", "params.top_p", "params.top_k"]
    for each in found:
        assert model in each.message
        assert "whatever the API version" in each.message
        assert "--api-version" not in each.remedy
        assert each.is_alike


@pytest.mark.parametrize("changes", [{"temperature": 1}, {"temperature": 1.0}, {"top_p": 0.99}, {"top_p": 1}])
def test_values_that_change_nothing_are_taken_by_every_model(changes: dict[str, object]) -> None:
    """Programs that always send the default are served: with the older version."""
    params = encoded(model="claude-sonnet-5-5", **changes)
    assert problems_in(params, ANY) == []
    assert chosen(params)[0] == OLD_API_VERSION


@pytest.mark.parametrize("model", ["claude-sonnet-4-6", "claude-opus-4-6", "claude-3-haiku-20240307", "my-gateway/x"])
def test_older_models_and_names_that_say_nothing_take_sampling(model: str) -> None:
    """Only the API knows a name of another form."""
    assert problems_in(encoded(model=model, temperature=0.2, top_p=0.5, top_k=5), ANY) == []


def test_a_model_that_takes_one_of_two_is_named() -> None:
    """Documented as refused by these models."""
    params = encoded(model="claude-haiku-4-5-20251001", temperature=0.2, top_p=0.5)
    (problem,) = problems_in(params, ANY)
    assert problem.message == "claude-haiku-4-5-20251001 takes temperature or top_p, not both"


@pytest.mark.parametrize("value", [1.5, -0.1, "0.2", True, [1]])
def test_a_share_out_of_range_is_a_problem_of_its_field(value: object) -> None:
    """Programs of other providers send up to 2."""
    (problem,) = problems_in(encoded(temperature=value), ANY)
    assert problem.field == "params.temperature"
    assert "from 0 to 1" in problem.message


def test_a_version_that_was_chosen_is_kept() -> None:
    """Neither a flag nor a setting is overruled by the requests, nor the version of a job that is still open."""
    choice = VersionChoice()
    choice.add_all([encoded(temperature=0)])
    by_flag = JobOptions(api_version=NEWEST_API_VERSION).new_job("a", default_name="a", default_version=None)
    by_setting = JobOptions().new_job("a", default_name="a", default_version=NEWEST_API_VERSION)
    still_open = JobOptions().new_job("a", default_name="a", default_version=None, still_open=True)
    for new in (by_flag, by_setting, still_open):
        assert new.with_version(choice) == new
        assert new.fixed_version == NEWEST_API_VERSION
        assert ("api_version", NEWEST_API_VERSION) in new.items()


def test_a_version_that_nobody_chose_is_that_of_the_requests() -> None:
    """And is no option that is handed on: the server sees the requests, too."""
    new = JobOptions().new_job("a", default_name="a", default_version=None)
    choice = VersionChoice()
    choice.add_all([encoded(temperature=0)])
    sent = new.with_version(choice)
    assert (new.fixed_version, sent.api_version) == (None, OLD_API_VERSION)
    assert sent.version_reason == "1 request sets temperature"
    assert "api_version" not in dict(new.items())


def test_one_cause_of_many_lines_is_told_once() -> None:
    """A million lines with temperature do not hide the one with another problem."""

    def problem(line: int, message: str, *, is_alike: bool) -> InputProblem:
        return InputProblem(line=line, field="f", message=message, remedy="r", raw=b"", is_alike=is_alike)

    alike = AlikeProblems()
    given = [problem(line, "m takes none", is_alike=True) for line in range(1, 1001)]
    given += [problem(line, "is missing", is_alike=False) for line in (9, 7)] + [problem(1001, "alone", is_alike=True)]
    told = alike.told([each for each in given if not alike.take(each)])
    assert [each.message for each in told] == [
        "m takes none: 1,000 lines have it (1, 2, 3, 4, 5, …)",
        "is missing: 2 lines have it (7, 9)",
        "alone",
    ]
