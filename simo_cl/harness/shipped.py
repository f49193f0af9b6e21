"""The strategies and suites that come with simo-cl."""

from __future__ import annotations

import shutil
from pathlib import Path

PATTERNS = {"strategies": "*.py", "benchmarks": "*.yaml"}
"""What is copied, by folder."""


def write_shipped(target: Path) -> list[Path]:
    """Copies the shipped strategy files and suites into ``target/strategies`` and
    ``target/benchmarks``.

    Raises:
        FileExistsError: one of them is there already; nothing is written then.
    """
    copies = [
        (source, target / folder / source.name)
        for folder, pattern in PATTERNS.items()
        for source in sorted(shipped_folder(folder).glob(pattern))
    ]
    present = [copy for _, copy in copies if copy.exists()]
    if present:
        more = f" and {len(present) - 1} more of the shipped files" if present[1:] else ""
        raise FileExistsError(
            f"{present[0]}{more}: there already, and nothing was written; choose another folder"
        )
    for source, copy in copies:
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
    return [copy for _, copy in copies]


def shipped_folder(name: str) -> Path:
    """In an installed package beside this module; in a checkout at its top."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "shipped" / name
    return installed if installed.is_dir() else package.parent / name
