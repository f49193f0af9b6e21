"""The folder of one run: the truth from which tables, pages and MLflow are made."""

from __future__ import annotations

import io
import json
import math
import os
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from simo_cl.harness.plan import Run
from simo_cl.results.atomic_write import write_atomically
from simo_cl.results.checksums import changed_files, checksums
from simo_cl.results.status import NAME, Failure, RunStatus, read_status

if TYPE_CHECKING:
    from simo_cl.streams import DataSet


class RunFolder:
    """Writes and reads ``runs/<strategy>/seed<k>-<hash>/``; docs/suites.md has the format.

    Args:
        path: of the folder.

    Attributes:
        lines: of ``metrics.jsonl``, as this object has written them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []

    @property
    def state(self) -> str:
        """``"missing"``, ``"running"`` (perhaps interrupted), ``"finished"``, ``"failed"`` or
        ``"damaged"``."""
        if self.damage:
            return "damaged"
        status = self._status()
        return "missing" if status is None else status.state

    @property
    def damage(self) -> str:
        """What has happened to the run's files since it wrote them, if anything has."""
        try:
            status = read_status(self.path)
        except ValueError as error:
            return str(error)
        if status is None or status.state != "finished":
            return ""
        names = changed_files(self.path, status.files)
        return f"what the run wrote is not what is in {', '.join(names)} now" if names else ""

    @property
    def data(self) -> dict[str, str]:
        """Digest and note of the data that the run is on; empty if it has none yet."""
        status = self._status()
        return {} if status is None else status.data

    @property
    def environment(self) -> dict[str, Any]:
        """In which the run was executed last."""
        status = self._status()
        return {} if status is None else status.environment

    def last_metrics(self) -> dict[str, float]:
        """What was measured after the last experience."""
        lines = (self.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return dict(json.loads(lines[-1])["metrics"])

    def start(
        self, run: Run, data: DataSet, environment: dict[str, Any], lines: Sequence[str] = ()
    ) -> None:
        """Begins anew, or goes on after the experiences whose metrics are given.

        What else an earlier attempt left is replaced.

        Args:
            run: that the folder is of.
            data: that it trains on.
            environment: in which it runs now.
            lines: of ``metrics.jsonl``, without line ends.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for pattern in ("*.npz", "*.pt2"):
            for old in self.path.glob(pattern):
                old.unlink()
        before = self._status() if lines else None
        config = {**run.settings.model_dump(mode="json"), "variant": run.variant}
        write_atomically(self.path / "config.yaml", yaml.safe_dump(config, sort_keys=False))
        self.lines = list(lines)
        write_atomically(self.path / "metrics.jsonl", "".join(f"{line}\n" for line in lines))
        self._write_status(
            RunStatus(
                state="running",
                started=(before.started if before else None) or time.time(),
                environment=environment,
                data={"digest": data.digest, "note": data.note},
            )
        )

    def add_metrics(self, experience: int, metrics: dict[str, float]) -> None:
        """Appends what was measured after an experience (0-based).

        NaN and infinite values, which JSON does not have, are left out and named in ``log.txt`` and
        a warning.
        """
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        if len(finite) < len(metrics):
            left_out = ", ".join(f"{n} is {v}" for n, v in metrics.items() if n not in finite)
            message = f"not in metrics.jsonl after experience {experience}: {left_out}"
            self.log(message)
            warnings.warn(message, stacklevel=2)
        content = {"experience": experience, "time": time.time(), "metrics": finite}
        self.lines.append(json.dumps(content, allow_nan=False))
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(self.lines[-1] + "\n")
            file.flush()
            os.fsync(file.fileno())

    def write_arrays(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Replaces ``<name>.npz``."""
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
        write_atomically(self.path / f"{name}.npz", content.getvalue())

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

    def _status(self) -> RunStatus | None:
        """``None``, too, for a status that cannot be read: what it said is lost."""
        try:
            return read_status(self.path)
        except ValueError:
            return None

    def _end(self, state: Literal["finished", "failed"], **changes: Any) -> None:
        before = self._status() or RunStatus(state="running")
        # A clock may have been set back.
        ended = max(time.time(), before.started or 0.0)
        self._write_status(before.model_copy(update={"state": state, "ended": ended, **changes}))

    def _write_status(self, status: RunStatus) -> None:
        write_atomically(self.path / NAME, status.model_dump_json(indent=1))
