"""What a command was given, and where it prints."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterable
from io import TextIOWrapper

from rich.console import Console

from simo_cl.harness.terminal import tell
from simo_cl.tracking.redact import without_secrets

__all__ = ["given_command", "make_console", "tell", "warn"]


def make_console() -> Console:
    """Prints to the terminal, in its width; to a file or pipe, in ``COLUMNS`` or 110 columns. A
    character that is not in the encoding of either is a question mark."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    width = None if sys.stdout.isatty() else shutil.get_terminal_size((110, 24)).columns
    return Console(width=width)


def warn(problems: Iterable[str]) -> None:
    """Prints what the user should know although it is no reason to fail."""
    console = make_console()
    for problem in problems:
        tell(console, f"Warning: {problem}", style="yellow")


def given_command() -> str:
    """The command line as the user gave it, without passwords and tokens."""
    return shlex.join(["simo-cl", *map(without_secrets, sys.argv[1:])])
