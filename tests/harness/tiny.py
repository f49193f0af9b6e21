"""A suite that trains in seconds, for tests to vary."""

from __future__ import annotations

from pathlib import Path

from simo_cl.harness.plan import Run, plan_runs
from simo_cl.harness.suite_file import read_suite

ROOT = Path(__file__).resolve().parents[2]
STRATEGIES = ROOT / "strategies"
SHIPPED = sorted(path.stem for path in STRATEGIES.glob("*.py"))

SETTINGS = """\
data: {name: digits}
stream: {experiences: 2}
model: {encoder: small_cnn, width: 4}
training:
  batch_size: 32
  epochs: 0.2
  augment: [crop, flip]
  threads: 1
memory: {size: 40}
evaluation: {samples_per_class: 4}
"""


ONLINE = """\
data: {name: digits}
stream: {protocol: online, experiences: 2, batch_size: 20, replay_batch_size: 12}
model: {encoder: small_cnn, width: 4}
training: {optimizer: sgd, momentum: 0, threads: 1}
memory: {size: 40}
evaluation: {samples_per_class: 4}
"""


def write_suite(folder: Path, text: str, name: str = "tiny.yaml") -> Path:
    """A suite file with that text, in a folder made for it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def planned(
    folder: Path,
    more: str,
    overrides: tuple[str, ...] = (),
    strategies: Path = STRATEGIES,
    settings: str = SETTINGS,
) -> list[Run]:
    """The runs of the tiny suite with more text at its end."""
    file = read_suite(write_suite(folder, settings + more), overrides)
    return plan_runs(file.suite, strategies, file.places)
