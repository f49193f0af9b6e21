"""What is sent to an MLflow run: first the run itself, then numbers and files, then its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Metric, Param

from simo_cl.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class RunToBe:
    """A run that is not begun yet.

    Attributes:
        experiment: its name; made if it is missing.
        run_name: None for one that MLflow invents.
    """

    experiment: str
    run_name: str | None
    parameters: dict[str, str]
    tags: dict[str, str]

    def begin(self, client: MlflowClient) -> str:
        """Begins it and returns MLflow's identifier of it."""
        from mlflow.tracking.context.registry import resolve_tags

        run = client.create_run(
            store.experiment_id(client, self.experiment),
            tags=resolve_tags(self.tags),
            run_name=self.run_name,
        )
        run_id = str(run.info.run_id)
        parameters = [Param(name, text) for name, text in self.parameters.items()]
        store.log_all(client, run_id, parameters=parameters)
        return run_id


@dataclass(frozen=True)
class File:
    """An artifact; `path` is its place among the run's."""

    path: str
    content: bytes


@dataclass(frozen=True)
class End:
    """The run's end; `status` is one of MLflow's."""

    status: str


Item = Metric | File | End


def write_files(files: Sequence[File], folder: Path) -> None:
    """Writes artifacts to their places below a folder."""
    for file in files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
