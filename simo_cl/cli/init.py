"""``simo-cl init``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from simo_cl.cli.errors import plain_errors
from simo_cl.cli.terminal import make_console, tell


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write strategies/ and benchmarks/.")],
) -> None:
    """Write the shipped suites and strategies, to run and to change."""
    with plain_errors():
        from simo_cl.harness.shipped import write_shipped

        written = write_shipped(folder)
    tell(
        make_console(),
        f"Wrote {len(written)} files below {folder}. Try:\n  cd {shlex.quote(str(folder))}\n"
        "  simo-cl run benchmarks/quickstart.yaml",
    )
