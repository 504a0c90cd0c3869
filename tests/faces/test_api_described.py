"""The description of the REST API, and whether the API keeps to it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from faces.api_world import api, api_in_a_thread
from faces.client_world import requests
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as bounds
from hypothesis import strategies as st
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from orchestrator.http_api.api.openapi import described, routes

#: The engine runs in a thread of this process: what it draws while a question is made up is not the question's.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Do not use the `random` module inside strategies:hypothesis.errors.HypothesisDeprecationWarning"
)

#: These wait for what is to come; `test_api_events` looks at them.
ENDLESS = ("/api/v1/events/stream", "/api/v1/jobs/{ref}/events/stream")
OUR_ROOT = ("/version", "/livez", "/readyz", "/openapi.json")


def the_routes() -> list[APIRoute]:
    return [route for route in routes() if isinstance(route, APIRoute)]


def test_every_route_is_described_with_every_answer() -> None:
    """Who reads the description knows all that can be asked, and all that can come back."""
    document = described(routes())
    assert document["openapi"].startswith("3.1")
    listed = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    ours = {(route.path.replace(":path", ""), method) for route in the_routes() for method in route.methods or ()}
    assert listed == ours
    assert all(path.startswith("/api/v1/") or path in OUR_ROOT for path, _ in listed)
    for path, item in document["paths"].items():
        for operation in item.values():
            assert {"400", "409", "500", "503"} <= set(operation["responses"]), path
            assert operation["description"], path
            if "{ref}" in path:
                assert "404" in operation["responses"], path


def test_a_method_that_a_path_does_not_take_is_told_with_those_that_it_takes(tmp_path: Path) -> None:
    """RFC 9110: a 405 names every method of the path, also where they are routes of their own."""

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            taken: dict[str, set[str]] = {}
            for route in the_routes():
                taken.setdefault(route.path, set()).update(route.methods or ())
            for path, methods in taken.items():
                shown = path.replace("{custom_id:path}", "r1").replace("{ref}", "x").replace("{remote_id}", "y")
                for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods:
                    answer = await client.request(method, f"http://engine{shown}")
                    assert answer.status_code == 405, (method, path)
                    heads = {"HEAD"} if "GET" in methods else set()
                    assert set(answer.headers["allow"].split(", ")) == methods | heads, (method, path)
                    assert answer.json()["type"] == "method-not-allowed"

    asyncio.run(check())


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Any:
    small: list[dict[str, Any]] = [
        {"name": f"job-{number}", "requests": requests(number + 1, said=str(number))} for number in range(4)
    ]
    with api_in_a_thread(
        tmp_path_factory.mktemp("api") / "x.db", small, sandbox__faults="invalid=.3,foreign_batches=3"
    ) as url:
        with httpx2.Client(base_url=f"{url}/api/v1/", timeout=60) as client:
            client.post("jobs/job-1/pause")
            client.post("jobs/job-2/cancel")
        yield url


@pytest.fixture(scope="module")
def schema(address: str) -> Any:
    return schemathesis.openapi.from_url(f"{address}/openapi.json").exclude(path=list(ENDLESS))


FEW = bounds(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)


#: A cursor and a duration are texts, but not every text is one.
OPAQUE = [positive_data_acceptance]
#: What holds of an answer, whether the question was right or wrong.
ANSWERS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def hurried(case: Any) -> None:
    """Nothing is waited for."""
    for name in ("wait", "follow"):
        if case.query is not None:
            case.query.pop(name, None)


OPERATIONS = sorted(
    (path, method.upper())
    for path, item in described(routes())["paths"].items()
    for method in item
    if path not in ENDLESS
)


#: What is there, by the parameter of a path.
THERE = {
    "ref": st.sampled_from(["@last", "job-0", "job-1", "job-2", "job-3", "1"]),
    "custom_id": st.sampled_from(["r0", "r1"]),
}


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_the_api_answers_is_what_it_describes(schema: Any, path: str, method: str) -> None:
    """No 5xx, no status and no field that is not described, whatever is asked."""

    @given(case=schema[path][method].as_strategy())
    @FEW
    def holds(case: Any) -> None:
        hurried(case)
        case.call_and_validate(excluded_checks=OPAQUE)

    holds()


@pytest.mark.parametrize(("path", "method"), [each for each in OPERATIONS if "{" in each[0]])
def test_what_is_said_of_a_thing_that_is_there_is_described(schema: Any, path: str, method: str) -> None:
    """The same of jobs, requests and batches that exist: chance alone would never name one."""

    @given(case=schema[path][method].as_strategy(), there=st.fixed_dictionaries(THERE))
    @FEW
    def holds(case: Any, there: dict[str, str]) -> None:
        hurried(case)
        case.path_parameters.update({name: there[name] for name in case.path_parameters if name in there})
        case.call_and_validate(checks=ANSWERS)

    holds()


def test_one_answer_leads_to_the_next_question(schema: Any) -> None:
    """The same, walking from job to request to batch by the ids that the API gave."""
    machine = schema.as_state_machine()
    seen: set[tuple[str, str, int]] = set()
    wrong: list[BaseException] = []

    class Walk(machine):  # type: ignore[misc, valid-type]  # made at run time
        def before_call(self, case: Any) -> None:
            hurried(case)

        def after_call(self, response: Any, case: Any) -> None:
            super().after_call(response, case)
            seen.add((case.method, case.operation.path, response.status_code))

        def validate_response(self, response: Any, case: Any, *_: Any, **__: Any) -> None:
            try:
                case.validate_response(response, checks=ANSWERS, recorder=self.recorder)
            except BaseException as exc:
                wrong.append(exc)
                raise

    found: list[str] = []
    steps = bounds(FEW, max_examples=15, stateful_step_count=6, derandomize=False, database=None)
    for number in range(20):  # where the first steps lead depends on what the store holds by then
        # A walk that begins as an earlier one may meet other answers: what the API says of a job changes with the job.
        with suppress(FlakyStrategyDefinition):
            seed(number)(Walk).run(settings=steps)
        found = [path for _, path, status in seen if "{ref}" in path and status == 200]
        if found:
            break
    assert wrong == []
    assert found, "it never found a job"
