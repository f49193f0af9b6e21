"""What a run is called, in tables and on disk."""

from __future__ import annotations

from pathlib import Path


def run_label(strategy: str, variant: str) -> str:
    """The row of a run in every table: ``simo``, or ``simo[memory.size=200]`` in a grid."""
    return f"{strategy}[{variant}]" if variant else strategy


def run_folder_name(strategy: str, variant: str, seed: int, digest: str) -> Path:
    """A run's folder, relative to the suite's: ``runs/simo@memory.size=200/seed0-1a2b3c4d``."""
    name = f"{strategy}@{variant}" if variant else strategy
    # File systems allow 255 bytes; two names that are alike up to here differ in the digest.
    short = name.encode()[:200].decode(errors="ignore")
    return Path("runs") / short / f"seed{seed}-{digest}"


def variant_settings(variant: str) -> dict[str, str]:
    """The settings that a variant fixes: ``memory.size=200`` -> ``{"memory.size": "200"}``."""
    pairs = (part.partition("=") for part in variant.split(",") if part.strip())
    return {key.strip(): value.strip() for key, _, value in pairs}
