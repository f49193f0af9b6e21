"""Writes the folder of one run: the truth from which tables, pages and MLflow are made."""

from __future__ import annotations

import math
import os
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from simo_cl.results.arrays import write_arrays
from simo_cl.results.atomic_write import write_atomically
from simo_cl.results.checksums import checksums
from simo_cl.results.config import write_config
from simo_cl.results.history import HISTORY, Measured, read_history
from simo_cl.results.status import (
    STATUS,
    DataRecord,
    Failure,
    RunState,
    RunStatus,
    examine,
    read_status,
)


class RunFolder:
    """Writes ``runs/<strategy>/seed<k>-<hash>/``; docs/suites.md has the format.

    Args:
        path: of the folder.

    Attributes:
        lines: of ``metrics.jsonl``, as this object has written them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []

    @property
    def state(self) -> RunState:
        """As its status says; "broken" where a file is not what was written."""
        return examine(self.path)[0]

    @property
    def data(self) -> DataRecord:
        """The data that the run is on; empty if it has none yet."""
        return self._status().data

    @property
    def environment(self) -> dict[str, Any]:
        """In which the run was executed last."""
        return self._status().environment

    def last_metrics(self) -> dict[str, float]:
        """What was measured after the last experience.

        Raises:
            ValueError: the file that says so cannot be read.
        """
        history, fault = read_history(self.path, is_finished=True)
        if fault:
            raise ValueError(f"{self.path}: {fault}")
        return dict(history[-1].metrics)

    def start(
        self,
        config: Mapping[str, Any],
        data: DataRecord,
        environment: dict[str, Any],
        lines: Sequence[str] = (),
    ) -> None:
        """Begins anew, or goes on after the experiences whose metrics are given.

        What else an earlier attempt left is replaced.

        Args:
            config: the settings of the run.
            data: that it trains on.
            environment: in which it runs now.
            lines: of ``metrics.jsonl``, without line ends.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for pattern in ("*.npz", "*.pt2"):
            for old in self.path.glob(pattern):
                old.unlink()
        started = self._status().started if lines else None
        write_config(self.path, config)
        self.lines = list(lines)
        write_atomically(self.path / HISTORY, "".join(f"{line}\n" for line in lines))
        RunStatus(
            state="running",
            started=started or time.time(),
            environment=environment,
            data=data,
        ).write(self.path / STATUS)

    def add_metrics(self, experience: int, metrics: dict[str, float]) -> None:
        """Appends what was measured after an experience (0-based).

        NaN and infinite values, which JSON does not have, are left out and named in ``log.txt`` and
        a warning.
        """
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        if len(finite) < len(metrics):
            left_out = ", ".join(f"{n} is {v}" for n, v in metrics.items() if n not in finite)
            message = f"not in {HISTORY} after experience {experience}: {left_out}"
            self.log(message)
            warnings.warn(message, stacklevel=2)
        measured = Measured(experience=experience, time=time.time(), metrics=finite)
        self.lines.append(measured.line())
        with (self.path / HISTORY).open("a", encoding="utf-8") as file:
            file.write(self.lines[-1] + "\n")
            file.flush()
            os.fsync(file.fileno())

    def write_arrays(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Replaces ``<name>.npz``."""
        write_arrays(self.path / f"{name}.npz", arrays)

    def write_model(self, program: bytes) -> None:
        """Replaces ``model.pt2``."""
        write_atomically(self.path / "model.pt2", program)

    def log(self, message: str) -> None:
        """Adds a line with the time to ``log.txt``."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")

    def finish(self) -> None:
        """Says that all is there, and by which digests it can be told that it still is."""
        self._end("finished", files=checksums(self.path))

    def fail(self, error: BaseException) -> None:
        """Records why the run ended; what it had measured stays."""
        trace = "".join(traceback.format_exception(error))
        self.log(f"failed: {error!r}\n{trace}")
        self._end(
            "failed",
            # Of an earlier attempt, which this one was to replace.
            files={},
            error=Failure(type=type(error).__name__, message=str(error), traceback=trace),
        )

    def _status(self) -> RunStatus:
        """As good as none where there is none, or none that can be read: what it said is lost."""
        with suppress(ValueError):
            return read_status(self.path) or _NONE
        return _NONE

    def _end(self, state: Literal["finished", "failed"], **changes: Any) -> None:
        before = self._status()
        # A clock may have been set back.
        ended = max(time.time(), before.started or 0.0)
        changed = before.model_copy(update={"state": state, "ended": ended, **changes})
        changed.write(self.path / STATUS)


_NONE = RunStatus(state="running")
