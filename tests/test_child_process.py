"""Processes as the harness begins them: forked where that can be, and as if spawned."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection

import pytest

from simo_cl.child_process import process_context, start_without_interrupts


def say(connection: Connection) -> None:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    connection.send((os.environ.get("SIMO_CL_TEST"), signal.SIGINT in blocked))


@pytest.mark.parametrize("value", ["first", "second"])
def test_they_have_the_environment_of_now_and_hear_no_interrupt(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMO_CL_TEST", value)
    context = process_context()
    here, there = context.Pipe()
    process = context.Process(target=say, args=(there,))

    start_without_interrupts(process)

    assert here.recv() == (value, True)
    process.join()
