"""``metrics.jsonl`` in a run's folder: a line for each trained experience."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simo_cl.results.schema import first_error

HISTORY = "metrics.jsonl"


class Measured(BaseModel):
    """What was measured after one more experience was trained.

    Attributes:
        experience: 0-based index of the last trained experience.
        time: Unix, seconds.
        values: by metric name, as they are in the file.
    """

    model_config = ConfigDict(strict=True, frozen=True)

    experience: int
    time: float
    values: Mapping[str, float | None] = Field(alias="metrics")

    @cached_property
    def metrics(self) -> Mapping[str, float]:
        """The finite values; what was undefined is absent."""
        return {n: v for n, v in self.values.items() if v is not None and math.isfinite(v)}

    @property
    def undefined(self) -> Mapping[str, float | None]:
        """The other values."""
        return {name: v for name, v in self.values.items() if name not in self.metrics}

    def line(self) -> str:
        """Its line in the file, without a line end.

        Raises:
            ValueError: a value is NaN or infinite, which JSON does not have.
        """
        return json.dumps(self.model_dump(by_alias=True), allow_nan=False)

    def with_metrics(self, more: Mapping[str, float]) -> Measured:
        """The same with further metrics."""
        return Measured(experience=self.experience, time=self.time, metrics={**self.values, **more})


def read_history(folder: Path, *, is_finished: bool) -> tuple[tuple[Measured, ...], str]:
    """The experiences measured so far, as far as the file can be read, and what is wrong with it.

    Args:
        folder: of a run.
        is_finished: if not, the file may be missing, and its last line may still be being written.
    """
    try:
        lines = (folder / HISTORY).read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, ValueError) as error:
        is_awaited = isinstance(error, FileNotFoundError) and not is_finished
        return (), "" if is_awaited else f"{HISTORY} cannot be read: {error}"
    if not lines and is_finished:
        return (), f"{HISTORY} is empty"
    history: list[Measured] = []
    for number, line in enumerate(lines):
        try:
            measured = Measured.model_validate_json(line)
        except ValidationError as error:
            is_being_written = not is_finished and not line.endswith("\n")
            fault = f"line {number + 1} of {HISTORY} cannot be read: {first_error(error)}"
            return tuple(history), "" if is_being_written else fault
        if measured.experience != number:
            fault = f"line {number + 1} of {HISTORY} is of experience {measured.experience}"
            return tuple(history), fault
        history.append(measured)
    return tuple(history), ""
