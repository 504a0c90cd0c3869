"""`health`: what a container or a supervisor goes by."""

from __future__ import annotations

import os
import signal
import socket
import time

import pytest
from faces.cli_world import Program

from orchestrator.config import default_socket_path


def test_a_running_engine_is_healthy_and_a_stopped_one_is_not(program: Program) -> None:
    """0 and 1, as every supervisor wants it; before, during and after."""
    before = program("health")
    assert (before.code, before.out) == (1, "not ready: no engine runs on this store\n")
    with program.started("serve", "--sandbox") as engine:
        engine.says("the engine runs on")
        deadline = time.monotonic() + 60
        while program("health").code != 0:  # it may still be on its first round
            assert time.monotonic() < deadline
        assert program("health", "--json").facts == {"ready": True, "why": None}
        assert engine.signal(signal.SIGTERM).code == 0
    assert program("health").code == 1


def test_a_killed_engine_is_not_healthy(program: Program) -> None:
    """Its socket is still there, and nobody listens on it."""
    with program.started("serve", "--sandbox") as engine:
        engine.says("the engine runs on")
    gone = program("health", "--json")
    assert gone.code == 1
    assert gone.facts["why"] == "the engine cannot be asked (ConnectionRefusedError)"


@pytest.mark.long
def test_a_hanging_engine_is_not_healthy(program: Program) -> None:
    """It takes connections, and says nothing."""
    address = default_socket_path(program.db, program.env())
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(os.fspath(address))
        listening.listen(4)
        hanging = program("health")
    assert hanging.code == 1
    assert "does not answer" in hanging.out
