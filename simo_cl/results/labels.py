"""What a run is called, in tables and on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path


def run_label(strategy: str, variant: str) -> str:
    """The row of a run in every table: ``simo``, or ``simo[memory.size=200]`` in a grid."""
    return f"{strategy}[{variant}]" if variant else strategy


def run_folder_name(strategy: str, variant: str, seed: int, digest: str) -> Path:
    """A run's folder, relative to the suite's: ``runs/simo@memory.size=200/seed0-1a2b3c4d``."""
    name = f"{strategy}@{variant}" if variant else strategy
    # Two names that are cut to one differ in the digest.
    return Path("runs") / _cut(name) / f"seed{seed}-{digest}"


def file_name(text: str) -> str:
    """A text as a file or folder may be called; one that is too long is cut and has a digest."""
    short = _cut(text)
    if short == text:
        return text
    return f"{short}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _cut(text: str) -> str:
    """File systems allow 255 bytes; this leaves room for what stands around it."""
    return text.encode()[:200].decode(errors="ignore")


def variant_settings(variant: str) -> dict[str, str]:
    """The settings that a variant fixes: ``memory.size=200`` -> ``{"memory.size": "200"}``."""
    pairs = (part.partition("=") for part in variant.split(",") if part.strip())
    return {key.strip(): value.strip() for key, _, value in pairs}
