"""``status.json`` in a run's folder: how far the run is, and what it ran on; docs/suites.md has the
format."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

NAME = "status.json"


class Failure(BaseModel):
    """What a run failed with."""

    type: str
    message: str
    traceback: str = ""


class RunStatus(BaseModel):
    """What the file says. Keys that are not known here are passed over.

    Attributes:
        started, ended: Unix times in seconds.
        environment: versions and hardware of the last attempt.
        data: ``digest`` and ``note`` of the data; empty before there are any.
        files: SHA-256 of each file with results, once the run has finished.
    """

    model_config = ConfigDict(strict=True)

    state: Literal["running", "finished", "failed"]
    started: FiniteFloat | None = None
    ended: FiniteFloat | None = None
    error: Failure | None = None
    environment: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)


def read_status(folder: Path) -> RunStatus | None:
    """The status of a run; ``None`` where no file tells it.

    Raises:
        ValueError: the file is no status, or cannot be read; the message says why.
    """
    try:
        return RunStatus.model_validate_json((folder / NAME).read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"{NAME} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise ValueError(f"{NAME} cannot be read: {reason}") from error
