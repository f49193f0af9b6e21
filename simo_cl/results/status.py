"""``status.json`` in a run's folder: how far the run is, and what it ran on; docs/suites.md has the
format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from simo_cl.results.checksums import changed_files
from simo_cl.results.schema import Stored, read_stored

if TYPE_CHECKING:
    from simo_cl.streams import DataSet

STATUS = "status.json"

RunState = Literal["finished", "running", "failed", "missing", "broken"]


class Failure(BaseModel):
    """What a run failed with."""

    model_config = ConfigDict(strict=True, frozen=True)

    type: str
    message: str
    traceback: str = ""


class DataRecord(BaseModel):
    """By what data are told from others; empty before there are any."""

    model_config = ConfigDict(strict=True, frozen=True)

    digest: str = ""
    note: str = ""

    @classmethod
    def of(cls, data: DataSet) -> DataRecord:
        return cls(digest=data.digest, note=data.note)


class RunStatus(Stored):
    """What the file says.

    Attributes:
        started, ended: Unix times in seconds.
        environment: versions and hardware of the last attempt.
        data: that the run is on.
        files: SHA-256 of each file with results, once the run has finished.
    """

    state: Literal["running", "finished", "failed"]
    started: FiniteFloat | None = None
    ended: FiniteFloat | None = None
    error: Failure | None = None
    environment: dict[str, Any] = Field(default_factory=dict)
    data: DataRecord = DataRecord()
    files: dict[str, str] = Field(default_factory=dict)


def read_status(folder: Path) -> RunStatus | None:
    """The status of a run; ``None`` where no file tells it.

    Raises:
        NewerSchemaError: a newer simo-cl wrote it.
        OSError: it is out of reach for now.
        ValueError: the file is no status; the message says why.
    """
    try:
        return read_stored(folder / STATUS, RunStatus)
    except FileNotFoundError:
        return None


def examine(folder: Path) -> tuple[RunState, str, RunStatus | None]:
    """The state of a run, what is wrong with its files if they are broken, and its status.

    Raises:
        NewerSchemaError: a newer simo-cl wrote it.
        OSError: a file is out of reach for now: a run that may have finished is not called broken,
            or it would be executed again, and what it has computed removed.
    """
    try:
        status = read_status(folder)
    except ValueError as error:
        return "broken", str(error), None
    if status is None:
        return "missing", "", None
    changed = changed_files(folder, status.files) if status.state == "finished" else []
    if changed:
        problem = f"what the run wrote is not what is in {', '.join(changed)} now"
        return "broken", problem, status
    return status.state, "", status
