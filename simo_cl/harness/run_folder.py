"""The folder of one run: the truth from which tables, pages and MLflow are made."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from simo_cl.harness.plan import Run


class RunFolder:
    """Writes and reads ``runs/<strategy>/seed<k>-<hash>/``; docs/suites.md has the format.

    A file is written beside its place and moved there, so that a reader never sees half of one.

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
        """``"missing"``, ``"running"`` (perhaps interrupted), ``"finished"`` or ``"failed"``."""
        return str(self._status().get("state", "missing"))

    @property
    def environment(self) -> dict[str, Any]:
        """In which the run was executed last."""
        return dict(self._status().get("environment", {}))

    def last_metrics(self) -> dict[str, float]:
        """What was measured after the last experience."""
        lines = (self.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return dict(json.loads(lines[-1])["metrics"])

    def start(self, run: Run, environment: dict[str, Any], lines: Sequence[str] = ()) -> None:
        """Begins anew, or goes on after the experiences whose metrics are given.

        What else an earlier attempt left is replaced.

        Args:
            run: that the folder is of.
            environment: in which it runs now.
            lines: of ``metrics.jsonl``, without line ends.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for pattern in ("*.npz", "*.pt2"):
            for old in self.path.glob(pattern):
                old.unlink()
        started = self._status().get("started") if lines else None
        config = {**run.settings.model_dump(mode="json"), "variant": run.variant}
        self._write("config.yaml", yaml.safe_dump(config, sort_keys=False).encode())
        self.lines = list(lines)
        self._write("metrics.jsonl", "".join(f"{line}\n" for line in lines).encode())
        self._write_status("running", environment=environment, started=started or time.time())

    def add_metrics(self, experience: int, metrics: dict[str, float]) -> None:
        """Appends what was measured after an experience (0-based)."""
        content = {"experience": experience, "time": time.time(), "metrics": metrics}
        self.lines.append(json.dumps(content))
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(self.lines[-1] + "\n")
            file.flush()
            os.fsync(file.fileno())

    def write_arrays(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Replaces ``<name>.npz``."""
        temporary = self.path / f"{name}.partial.npz"
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
        temporary.replace(self.path / f"{name}.npz")

    def write_model(self, program: bytes) -> None:
        """Replaces ``model.pt2``."""
        self._write("model.pt2", program)

    def log(self, message: str) -> None:
        """Adds a line with the time to ``log.txt``."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")

    def finish(self) -> None:
        self._write_status("finished", ended=time.time())

    def fail(self, error: BaseException) -> None:
        """Records why the run ended; what it had measured stays."""
        trace = "".join(traceback.format_exception(error))
        self.log(f"failed: {error!r}\n{trace}")
        self._write_status(
            "failed",
            ended=time.time(),
            error={"type": type(error).__name__, "message": str(error), "traceback": trace},
        )

    def _status(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.path / "status.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def _write_status(self, state: str, **changes: Any) -> None:
        before: dict[str, Any] = {"started": None, "ended": None, "error": None, "environment": {}}
        if state != "running":
            before |= self._status()
        status = {**before, **changes, "state": state}
        self._write("status.json", json.dumps(status, indent=1).encode())

    def _write(self, name: str, content: bytes) -> None:
        temporary = self.path / f"{name}.partial"
        temporary.write_bytes(content)
        temporary.replace(self.path / name)
