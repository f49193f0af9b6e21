"""Read a suite's folder as the harness writes it: the plan, and each run that has begun."""

from __future__ import annotations

import itertools
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from simo_cl.results.checksums import changed_files
from simo_cl.results.safe_paths import refuse_links, run_path
from simo_cl.results.status import RunStatus, read_status


@dataclass(frozen=True)
class Line:
    """What was measured after one trained experience."""

    experience: int
    time: float  # Unix, seconds
    metrics: dict[str, float]


@dataclass(frozen=True)
class RunFolder:
    """One run, as far as it has come."""

    name: str  # relative to the suite's folder: the run's identity
    path: Path
    label: str
    seed: int
    settings: dict[str, Any]
    status: RunStatus
    lines: tuple[Line, ...]

    @property
    def state(self) -> str:
        """``running``, ``finished`` or ``failed``."""
        return self.status.state

    @property
    def started(self) -> float:
        """Unix, seconds."""
        assert self.status.started is not None
        return self.status.started


@dataclass(frozen=True)
class Suite:
    """The current plan, and the runs of it that have begun."""

    name: str
    path: Path
    plan: dict[str, Any]
    runs: tuple[RunFolder, ...]
    planned: dict[str, int]  # label -> number of runs

    def changes(self, label: str) -> str:
        """What the command set besides the suite's file for a strategy, as ``--set`` takes it.

        Without the suite's own name, which stands beside it.
        """
        words = shlex.split(str(self.plan.get("command", "")))
        given = [b for a, b in itertools.pairwise(words) if a == "--set"]
        given += [word.removeprefix("--set=") for word in words if word.startswith("--set=")]
        strategy = label.partition("[")[0]
        return ", ".join(
            setting
            for setting in given
            if not setting.startswith("name=")
            and ("@" not in setting or setting.startswith(f"{strategy}@"))
        )


def shared_metrics(each: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """The values of each metric that all have and that is finite.

    A mean over some of the seeds would stand beside the number of all and be read as theirs.
    """
    return {
        name: [metrics[name] for metrics in each]
        for name in (each[0] if each else ())
        if all(_is_finite(metrics.get(name)) for metrics in each)
    }


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def read_suite(folder: Path, problems: list[str]) -> Suite:
    """Reads a suite's folder; what is broken in a run is described in `problems`, not raised.

    Raises:
        FileNotFoundError: the folder holds no plan.json.
        OSError: the plan is broken.
        OutsideError: something in the folder leads out of it.
    """
    try:
        plan = json.loads(plan_file(folder).read_text(encoding="utf-8"))
    except ValueError as error:
        raise OSError(
            f"{folder / 'plan.json'} cannot be read ({error}); running the suite again writes it "
            "anew"
        ) from error
    planned: dict[str, int] = {}
    runs = []
    for entry in plan["runs"]:
        label = run_label(entry["strategy"], entry.get("variant", ""))
        planned[label] = planned.get(label, 0) + 1
        run = _read_run(folder, entry["folder"], label, int(entry["seed"]), problems)
        if run is not None:
            runs.append(run)
    return Suite(plan["suite"], folder, plan, tuple(runs), planned)


def plan_file(folder: Path) -> Path:
    """A suite's plan.json.

    Raises:
        FileNotFoundError: there is none.
        OutsideError: something in the folder leads out of it.
    """
    refuse_links(folder)
    file = folder / "plan.json"
    if not file.is_file():
        raise FileNotFoundError(f"no plan.json in {folder}; start the suite with `simo-cl run`")
    return file


def run_label(strategy: str, variant: str) -> str:
    """What a strategy is called in tables and in MLflow."""
    return f"{strategy}[{variant}]" if variant else strategy


def _read_run(
    suite: Path, name: str, label: str, seed: int, problems: list[str]
) -> RunFolder | None:
    path = run_path(suite, name)
    settings_file = path / "config.yaml"
    if not settings_file.is_file():
        return None
    try:
        status = read_status(path)
        if status is None or status.started is None:
            # Perhaps an attempt that failed before it began, after one whose status was lost.
            return None
        broken = changed_files(path, status.files)
        if broken:
            problems.append(
                f"{name}: left out, what the run wrote is not what is in {', '.join(broken)} now; "
                "running the suite again executes it again"
            )
            return None
        settings = yaml.safe_load(settings_file.read_text(encoding="utf-8"))
        lines = _read_lines(path / "metrics.jsonl", name, problems)
    except (ValueError, yaml.YAMLError, OSError) as error:
        problems.append(f"{name}: left out, it cannot be read ({error})")
        return None
    return RunFolder(name, path, label, seed, settings, status, lines)


def _read_lines(file: Path, run: str, problems: list[str]) -> tuple[Line, ...]:
    """The complete lines; a last one without its line end is still being written."""
    if not file.is_file():
        return ()
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            row = json.loads(text)
            lines.append(Line(int(row["experience"]), float(row["time"]), row["metrics"]))
        except (ValueError, KeyError, TypeError):
            if text.endswith("\n"):
                problems.append(f"{run}: line {len(lines) + 1} of metrics.jsonl is broken")
            break
    return tuple(lines)
