"""How a command ends that cannot go on, or is asked to stop."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console

from simo_cl.cli.terminal import given_command, tell, warn
from simo_cl.tracking.redact import without_secrets


@contextmanager
def plain_errors() -> Iterator[None]:
    """Prints the user's errors as a message; a traceback is for ours."""
    from simo_cl.harness.suite_file import SuiteError
    from simo_cl.streams.data_set import DataError
    from simo_cl.tracking.store import TrackingError

    # Avalanche imports a solver chooser on its way, which says that there is no solver; only GEM
    # would need one.
    warnings.filterwarnings("ignore", message="no QP solver found")
    # In the processes that this one begins, too.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:no QP solver found")
    # Avalanche's replay plugins call a method that Avalanche 0.7 will drop; we require 0.6.
    warnings.filterwarnings("ignore", message="Call to deprecated function update")
    try:
        yield
    except (DataError, SuiteError, OSError) as error:
        fail(str(error))
    except TrackingError as error:
        # A damaged file that was renamed, say: the next command would not find it any more.
        warn(error.problems)
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Ends the command with the user's error, and status 2."""
    typer.echo(f"Error: {without_secrets(message)}", err=True)
    raise typer.Exit(2)


@contextmanager
def interruptible(console: Console) -> Iterator[None]:
    """Ends a command that is asked to stop with how to go on, and the status that shells expect."""
    asked = signal.SIGINT

    def stop(number: int, _: object) -> NoReturn:
        nonlocal asked
        asked = signal.Signals(number)
        # Ending the runs takes a while. Python's own streams may be in the middle of a line.
        os.write(2, b"\nStopping ...\n")
        raise KeyboardInterrupt

    # What a machine sends before it is taken away.
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop)}
    # A shell has its scripts' background jobs ignore Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, stop)
    try:
        yield
    except KeyboardInterrupt:
        tell(
            console,
            "\nInterrupted. What is finished is kept; the same command goes on from there:\n  "
            + given_command(),
        )
        raise typer.Exit(128 + asked) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
