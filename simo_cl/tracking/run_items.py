"""What is sent to an MLflow run: first the run itself, then numbers and files, then its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Metric, Param, RunTag

from simo_cl.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class RunToBe:
    """A run that is not begun yet, or one to go on with.

    Attributes:
        experiment: its name; made if it is missing.
        run_name: None for one that MLflow invents.
        run_id: MLflow's identifier of a run to go on with, which has its experiment and name.
    """

    experiment: str
    run_name: str | None
    parameters: dict[str, str]
    tags: dict[str, str]
    run_id: str | None = None

    def begin(self, client: MlflowClient) -> str:
        """Begins it, or goes on with it in whatever state it is; gives MLflow's identifier."""
        parameters = [Param(*parameter) for parameter in self.parameters.items()]
        if self.run_id is None:
            run_id, tags = self._create(client), []
        else:
            run_id, tags = self.run_id, [RunTag(*tag) for tag in self.tags.items()]
        store.log_all(client, run_id, parameters=parameters, tags=tags)
        return run_id

    def _create(self, client: MlflowClient) -> str:
        from mlflow.tracking.context.registry import resolve_tags

        run = client.create_run(
            store.experiment_id(client, self.experiment),
            tags=resolve_tags(self.tags),
            run_name=self.run_name,
        )
        return str(run.info.run_id)


@dataclass(frozen=True)
class File:
    """An artifact; `path` is its place among the run's."""

    path: str
    content: bytes


@dataclass(frozen=True)
class End:
    """The run's end; `status` is one of MLflow's, None for a run that somebody else ends."""

    status: str | None


Item = Metric | File | End


def write_files(files: Sequence[File], folder: Path) -> None:
    """Writes artifacts to their places below a folder."""
    for file in files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
