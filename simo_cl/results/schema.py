"""Files with a schema: read and checked as a whole, or refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simo_cl.results.atomic_write import write_atomically

SCHEMA = 1
"""Of the files written now; a file that names none is of the first."""


class ResultsError(OSError):
    """Results that cannot be used; the message names the file and says what to do."""


class NewerSchemaError(ResultsError):
    """A newer simo-cl wrote the file."""


class Stored(BaseModel):
    """What a JSON file holds. Keys that are not known here are passed over."""

    model_config = ConfigDict(strict=True, frozen=True)

    schema_version: int = Field(default=SCHEMA, alias="schema", ge=1, le=SCHEMA)

    def write(self, path: Path) -> None:
        """Replaces the file.

        Raises:
            OSError: no space, or no permission; the file is as it was.
        """
        write_atomically(path, self.model_dump_json(by_alias=True, indent=1))


Content = TypeVar("Content", bound=Stored)


def read_stored(path: Path, kind: type[Content]) -> Content:
    """Reads a file.

    Raises:
        FileNotFoundError: there is none.
        OSError: it is out of reach for now, which says nothing of what it holds.
        NewerSchemaError: its schema is newer than what is read here.
        ValueError: it is damaged; the message says what is wrong in which place of it.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except (IsADirectoryError, NotADirectoryError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error
    except ValidationError as error:
        _refuse_newer(path, error)
        raise ValueError(f"{path.name} cannot be read: {first_error(error)}") from error


def first_error(error: ValidationError) -> str:
    """The first thing that is wrong, after its place: ``runs.0.seed: Field required``."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


def _refuse_newer(path: Path, error: ValidationError) -> None:
    for each in error.errors():
        if each["loc"] == ("schema",) and each["type"] == "less_than_equal":
            raise NewerSchemaError(
                f"{path} has schema {each['input']}, of a newer simo-cl; this one reads schemas up "
                f"to {SCHEMA}. Upgrade simo-cl, or choose another folder with --results"
            ) from error
