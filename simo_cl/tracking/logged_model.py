"""A run's exported model, as a model that MLflow shows and loads back."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simo_cl.results import Run, read_arrays
from simo_cl.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities import Run as RunInStore
    from mlflow.models import ModelSignature


@dataclass(frozen=True)
class ExportedModel:
    """What a finished run's folder holds of its model.

    Attributes:
        name: to show it by.
        program: the file of the `torch.export` program.
        images: an example of what goes in, uint8 (N, channels, size, size).
        points: what comes out of it, float32 (N, d) by space.
        torch: the version that exported it.
    """

    name: str
    program: Path
    images: NDArray[np.uint8]
    points: dict[str, NDArray[np.float32]]
    torch: str

    @property
    def fingerprint(self) -> str:
        """Changes whenever the program does."""
        stat = self.program.stat()
        return f"{stat.st_size}.{stat.st_mtime_ns}"


def exported_model(run: Run, problems: list[str]) -> ExportedModel | None:
    """The model in a run's folder; None where there is none, or none that can be read."""
    program = run.folder / "model.pt2"
    if run.state != "finished" or not program.is_file():
        return None
    try:
        arrays = read_arrays(run.folder / "model_example.npz")
        images, torch = arrays.pop("images"), str(run.environment["torch"])
    except (ValueError, KeyError) as error:
        problems.append(f"{run.name}: no model, {error}")
        return None
    return ExportedModel(f"{run.label} seed {run.seed}", program, images, arrays, torch)


def log_model(
    client: MlflowClient,
    run: RunInStore,
    model: ExportedModel,
    *,
    parameters: Mapping[str, str],
    tags: Mapping[str, str],
    rows: Sequence[tuple[str, int, int, float]],
) -> None:
    """Logs a run's model, in place of any that it has.

    Args:
        client: of the store.
        run: that made it.
        model: to log.
        parameters: to show with it; those of the run.
        tags: likewise.
        rows: likewise; the run's metrics after its last experience, as in `content.Row`.

    Raises:
        FilesError: the place of its files cannot be used; then the run has no model.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric

    run_id = run.info.run_id
    delete_models(client, run)
    logged = client.create_logged_model(
        run.info.experiment_id,
        name=model.name.translate(str.maketrans("/:.%\"'", "______")),  # what MLflow refuses
        source_run_id=run_id,
        params=dict(parameters),
        tags=dict(tags),
        model_type="encoder",
    )
    with tempfile.TemporaryDirectory() as folder, store.quiet("mlflow.pyfunc"):
        _write_model(model, Path(folder, "model"), logged)
        try:
            with store.file_errors():
                client.log_model_artifacts(logged.model_id, str(Path(folder, "model")))
        except store.FilesError:
            delete_models(client, run)
            raise
    client.set_logged_model_tags(logged.model_id, {store.NOTE_TAG: _note(model, logged.model_id)})
    last = max((step for _, step, _, _ in rows), default=0)
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=last)])
    # The run itself holds them already, and keeps equal ones once.
    metrics = [
        Metric(name, value, time, step, model_id=logged.model_id)
        for name, step, time, value in rows
    ]
    store.log_data(client, run_id, metrics=metrics)
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)


def delete_models(client: MlflowClient, run: RunInStore) -> None:
    """Moves what was logged with a run, or begun to be when the connection or the process ended,
    to MLflow's trash."""
    mine = f"source_run_id = '{run.info.run_id}'"
    for model in client.search_logged_models([run.info.experiment_id], filter_string=mine):
        client.delete_logged_model(model.model_id)


def _write_model(model: ExportedModel, to: Path, logged: LoggedModel) -> None:
    """Writes MLflow's folder of a model: the program, how to run it, and what it needs."""
    import mlflow
    from mlflow.models import Model

    mlflow.pyfunc.save_model(
        to,
        loader_module="embed_images",
        code_paths=[str(Path(__file__).with_name("embed_images.py"))],
        data_path=str(model.program),
        mlflow_model=Model(
            artifact_path=logged.artifact_location,
            run_id=logged.source_run_id,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
        ),
        signature=_signature(model),
        input_example=model.images,
        pip_requirements=[
            f"mlflow=={mlflow.__version__}",
            f"numpy=={np.__version__}",
            # As the package index names it, without the build's "+cu130".
            f"torch=={model.torch.partition('+')[0]}",
        ],
    )


def _signature(model: ExportedModel) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def spec(array: NDArray[Any], name: str | None = None) -> TensorSpec:
        return TensorSpec(array.dtype, (-1, *array.shape[1:]), name)

    return ModelSignature(
        inputs=Schema([spec(model.images)]),
        outputs=Schema([spec(points, space) for space, points in model.points.items()]),
    )


def _note(model: ExportedModel, model_id: str) -> str:
    shape = ", ".join(str(n) for n in model.images.shape[1:])
    spaces = " and ".join(f"`{name}` (N, {a.shape[1]})" for name, a in model.points.items())
    return f"""Embeds images: uint8 pixels (N, {shape}), any number of them, to {spaces}. It \
normalises the pixels itself.

```python
import mlflow

model = mlflow.pyfunc.load_model("models:/{model_id}")
points = model.predict(images)["features"]
```

An exported program, which `torch.export.load` reads too: `data/model.pt2`. Load only those of
people you trust.
"""
