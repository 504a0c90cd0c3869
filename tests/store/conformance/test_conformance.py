"""Every kind of store keeps the contract of its ports, and no method of a port is left out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from store.conformance import (
    cases_of_batches,
    cases_of_budgets,
    cases_of_costs,
    cases_of_doubt,
    cases_of_jobs,
    cases_of_prefixes,
    cases_of_reads,
    cases_of_rows,
    cases_of_trials,
    cases_of_twins,
)
from store.conformance.contract import CASES, KINDS, Kind, port_methods, run_case
from support.length import IS_LONG

#: Importing a module registers its cases.
MODULES = (
    cases_of_batches,
    cases_of_budgets,
    cases_of_costs,
    cases_of_doubt,
    cases_of_jobs,
    cases_of_prefixes,
    cases_of_reads,
    cases_of_rows,
    cases_of_trials,
    cases_of_twins,
)
_BOTH = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
#: What cases call does not depend on the store that they run on: each has just run on either.
BY_ONE = pytest.mark.parametrize("kind", _BOTH if IS_LONG else _BOTH[:1], indirect=True)


@pytest.fixture(params=_BOTH)
def kind(request: pytest.FixtureRequest) -> Kind:
    """A kind of store."""
    kind = KINDS[request.param]
    if kind.needs is not None:
        request.getfixturevalue(kind.needs)
    return kind


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_contract(name: str, kind: Kind, tmp_path: Path) -> None:
    """A second store is right when these are green, and the engine cannot tell it from the first."""
    asyncio.run(run_case(name, kind, tmp_path, set()))


def called_by(names: set[str], kind: Kind, folder: Path) -> set[str]:
    """The methods that these cases call."""
    calls: set[str] = set()
    for name in sorted(names):
        (folder / name).mkdir(parents=True)
        asyncio.run(run_case(name, kind, folder / name, calls))
    return calls


@BY_ONE
def test_every_method_of_every_port_is_exercised(kind: Kind, tmp_path: Path) -> None:
    """A method without a case would be implemented by guess."""
    assert port_methods() - called_by(set(CASES), kind, tmp_path) == set()


@BY_ONE
def test_a_method_without_a_case_is_found(kind: Kind, tmp_path: Path) -> None:
    """The test above can fail: without the cases of gates, the facet of gates is named."""
    left = {name for name in CASES if "gate" not in name}
    assert port_methods() - called_by(left, kind, tmp_path) == {
        f"GateStore.{name}" for name in ("get", "among", "open")
    }
