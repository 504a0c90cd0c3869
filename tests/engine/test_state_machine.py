"""Any order of commands, time, crashes and faults (T9): the model and the store agree, and everything is paid once."""

from __future__ import annotations

import pytest
from hypothesis.stateful import run_state_machine_as_test
from proof.machine import OrchestratorMachine
from proof.sequences import chosen


@pytest.mark.sqlite
def test_whatever_is_done_in_whatever_order_the_store_is_the_model() -> None:
    """Promises 1, 2, 3 and 6, small: 8 sequences, the same ones every time. `proof.sequences` is the long run."""
    run_state_machine_as_test(OrchestratorMachine, settings=chosen(8, 30, derandomize=True))
