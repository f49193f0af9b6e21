from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException

from simo_cl.tracking.mirror import MirrorReport, mirror

if TYPE_CHECKING:
    from conftest import Exported, SuiteMaker


def models_of(report: MirrorReport) -> dict[str, LoggedModel]:
    """The models that a user sees, by name."""
    found = MlflowClient(report.tracking_uri).search_logged_models([report.experiment_id])
    return {model.name: model for model in found}


@pytest.fixture
def with_model(suite: SuiteMaker, exported: Exported) -> SuiteMaker:
    suite.plan([("simo[memory.size=200]", 0)])
    suite.run("simo[memory.size=200]", 0, model=exported.folder)
    return suite


def test_the_model_loads_back_and_embeds_any_number_of_images_as_the_runs_model_does(
    with_model: SuiteMaker, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = mirror(with_model.folder)
    (model,) = models_of(report).values()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", report.tracking_uri)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setitem(sys.modules, "simo_cl", None)  # it must not be needed
    loaded = mlflow.pyfunc.load_model(f"models:/{model.model_id}")
    for count in (3, 5):
        images = exported.data.test.images[20 : 20 + count]
        points = loaded.predict(images.numpy())
        expected = exported.points(images)
        assert points.keys() == expected.keys() == {"features", "embedding"}
        for space in expected:
            np.testing.assert_allclose(points[space], expected[space], rtol=1e-5, atol=1e-6)


def test_the_model_says_what_it_takes_gives_and_needs(
    with_model: SuiteMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = mirror(with_model.folder)
    (model,) = models_of(report).values()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", report.tracking_uri)
    uri = f"models:/{model.model_id}"
    path = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path)))
    info = mlflow.models.get_model_info(str(path))

    assert [(s.type, s.shape) for s in info.signature.inputs] == [(np.uint8, (-1, 1, 8, 8))]
    assert {s.name: (s.type, s.shape) for s in info.signature.outputs} == {
        "features": (np.float32, (-1, 32)),
        "embedding": (np.float32, (-1, 16)),
    }
    example = mlflow.models.Model.load(str(path)).load_input_example(str(path))
    assert np.asarray(example).shape == (3, 1, 8, 8)
    assert (path / "requirements.txt").read_text().splitlines() == [
        f"mlflow=={mlflow.__version__}",
        f"numpy=={np.__version__}",
        "torch==2.14",  # what the run was made with
    ]
    assert not [file for file in path.rglob("*") if file.suffix in (".pkl", ".pickle", ".pth")]
    assert str(with_model.folder) not in (path / "MLmodel").read_text().replace(
        model.artifact_location, ""
    )


def test_other_images_than_the_models_are_refused(
    with_model: SuiteMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = mirror(with_model.folder)
    (model,) = models_of(report).values()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", report.tracking_uri)
    loaded = mlflow.pyfunc.load_model(f"models:/{model.model_id}")
    for images in (np.zeros((2, 1, 8, 8), np.float32), np.zeros((2, 3, 8, 8), np.uint8)):
        with pytest.raises(MlflowException, match="schema"):
            loaded.predict(images)


def test_the_model_stands_with_its_run(with_model: SuiteMaker) -> None:
    report = mirror(with_model.folder)
    client = MlflowClient(report.tracking_uri)
    (model,) = models_of(report).values()
    run = client.get_run(model.source_run_id)

    assert model.name == "simo[memory_size=200] seed 0"
    assert run.info.run_name == "simo[memory.size=200] seed 0 · tiny"
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert model.status == "READY"
    assert model.params == run.data.params
    assert {metric.key: metric.value for metric in model.metrics} == run.data.metrics
    history = client.get_metric_history(run.info.run_id, "average_accuracy")
    assert [row.step for row in history] == [1, 2, 3]
    assert f"models:/{model.model_id}" in model.tags["mlflow.note.content"]


def test_a_second_time_logs_no_second_model(with_model: SuiteMaker) -> None:
    first = models_of(mirror(with_model.folder))
    report = mirror(with_model.folder)
    assert report.written == 0
    assert {model.model_id for model in models_of(report).values()} == {
        model.model_id for model in first.values()
    }


def test_a_run_done_again_has_its_new_model_alone(
    with_model: SuiteMaker, exported: Exported
) -> None:
    before = models_of(mirror(with_model.folder))
    later = with_model.STARTED + 500
    with_model.run("simo[memory.size=200]", 0, started=later, model=exported.folder)
    after = models_of(mirror(with_model.folder))
    assert after.keys() == before.keys()
    assert {m.model_id for m in after.values()}.isdisjoint(m.model_id for m in before.values())


def test_runs_without_a_whole_model_have_none(suite: SuiteMaker, exported: Exported) -> None:
    suite.plan([("er", 0), ("er", 1), ("er", 2)])
    suite.run("er", 0)
    suite.run("er", 1, state="failed", model=exported.folder)
    broken = suite.run("er", 2, model=exported.folder)
    (broken / "model_example.npz").write_bytes(b"half a file")
    report = mirror(suite.folder)

    assert models_of(report) == {}
    (problem,) = report.problems
    assert "seed2" in problem
    assert "model_example.npz" in problem
