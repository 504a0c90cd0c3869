"""The options of a new job: what is chosen, what is the default, and how options travel as text."""

from __future__ import annotations

import dataclasses

import pytest

from orchestrator.domain.errors import UsageError
from orchestrator.domain.job_spec import OPTIONS, JobOptions, name_of


def test_every_option_has_a_field_and_a_rule() -> None:
    """Faces go over `OPTIONS`: a field without a row would be checked by nobody."""
    assert {field.name for field in dataclasses.fields(JobOptions)} == set(OPTIONS)
    assert all(OPTIONS[field].is_list == (getattr(JobOptions(), field) == ()) for field in OPTIONS)


def test_a_new_job_has_defaults_where_nothing_was_chosen() -> None:
    """Only a name that somebody chose renames a job that is there."""
    new = JobOptions().new_job("/x/tea.jsonl", default_name="tea", default_version="2023-06-01")
    assert (new.name, new.api_version, new.betas, new.priority, new.key) == ("tea", "2023-06-01", (), 10, None)
    assert (new.is_named, new.is_from_file, new.still_open) == (False, True, False)
    chosen = JobOptions(name="mine", betas=["b", "a", "b"], api_version="2026-10-21")
    new = chosen.new_job("<http>", default_name="tea", default_version="2023-06-01", still_open=True)
    assert (new.name, new.api_version, new.betas) == ("mine", "2026-10-21", ("a", "b"))
    assert (new.is_named, new.is_from_file, new.still_open) == (True, False, True)


def test_options_travel_as_text() -> None:
    """A list goes item by item; a default stays at home."""
    options = JobOptions(name="n", betas=("a", "b"), priority=3)
    assert list(options.items()) == [("name", "n"), ("beta", "a"), ("beta", "b"), ("priority", "3")]
    assert list(JobOptions().items()) == []


def test_a_wrong_type_is_no_value() -> None:
    """A program may hand in anything: "a" is no list of betas, True is no priority."""
    for wrong in (JobOptions(betas="one"), JobOptions(priority=True), JobOptions(priority="5"), JobOptions(name=5)):  # type: ignore[arg-type]  # tested
        with pytest.raises(UsageError):
            wrong.new_job("<x>", default_name="x", default_version="2023-06-01")


def test_a_name_made_of_a_file_is_one_that_a_job_may_have() -> None:
    """Whatever the file is called, as bytes that are no UTF-8 or with an @ in front."""
    for source in (
        "/x/@last.jsonl",
        "@@@",
        "a\nb.gz",
        "\udcff.jsonl",
        "<stdin>",
        "",
        ".jsonl",
        "x" * 600,
        "\u202e",
    ):
        assert OPTIONS["name"].is_valid(name_of(source)), source
    assert name_of("/x/reviews.jsonl.gz") == "reviews"


def test_what_was_chosen_is_handed_on_also_where_it_is_the_default() -> None:
    """A server has to know of it: a job that is there may have another."""
    new = JobOptions(retry_invalid=1).new_job("x", default_name="x", default_version="2023-06-01")
    told = dict(new.items())
    assert (told["retry_invalid"], "priority" in told) == ("1", False)
