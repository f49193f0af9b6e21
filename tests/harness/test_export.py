from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import planned
from torch import Tensor, nn

from simo_cl.harness.export import export_model
from simo_cl.models import Classifier, EmbeddingModel, build_encoder, projection_head
from simo_cl.results import DataRecord, RunFolder
from simo_cl.streams import DataSet, load_data
from simo_cl.streams.augmentation import evaluation_transform
from simo_cl.streams.data_set import Images

# A strategy with a classifier, one with a head, and one whose model is Avalanche's own.
STRATEGIES = ("er", "simo", "icarl")
BOTH = {"features": "encoder", "embedding": "head"}


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data("digits")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


def program(folder: Path) -> Any:
    return torch.export.load(folder / "model.pt2").module()


def embedding_model(**options: Any) -> EmbeddingModel:
    encoder = build_encoder("small_cnn", channels=1, width=4, **options)
    return EmbeddingModel(encoder, projection_head("mlp", encoder.num_features, 16), 10)


def points_of(model: nn.Module, layers: Mapping[str, str], images: Tensor) -> dict[str, Tensor]:
    spaces, points = {}, images
    with torch.no_grad():
        for space, layer in layers.items():
            points = model.get_submodule(layer)(points)
            spaces[space] = points
    return spaces


@pytest.fixture(scope="module")
def run_folders(execute: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    runs = planned(folder, f"strategies: {{{', '.join(f'{name}: ' for name in STRATEGIES)}}}\n")
    assert execute(runs, folder) == {}
    return {run.settings.strategy: folder / run.folder for run in runs}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_runs_program_embeds_test_images_as_the_run_did(
    run_folders: dict[str, Path], digits: DataSet, strategy: str
) -> None:
    embedded = np.load(run_folders[strategy] / "embeddings.npz")
    labels = torch.from_numpy(embedded["test_labels"])
    rows = torch.cat(
        [
            (digits.test.labels == c).nonzero().flatten()[: int((labels == c).sum())]
            for c in labels.unique(sorted=True)
        ]
    )
    spaces = program(run_folders[strategy])(digits.test.images[rows])

    assert set(spaces) == {name.removeprefix("test_") for name in embedded if "test_" in name} - {
        "labels"
    }
    for space, points in spaces.items():
        half_precision = embedded[f"test_{space}"].astype(np.float32)
        np.testing.assert_allclose(points.detach().numpy(), half_precision, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_program_is_the_model_for_any_number_of_images(
    folder: RunFolder, digits: DataSet, precision: str, norm: str
) -> None:
    model = embedding_model(precision=precision, norm=norm)
    model(torch.randn(8, 1, 8, 8))  # so that the running statistics are not the initial ones
    export_model(model, BOTH, digits, folder)

    assert model.training
    embed = program(folder.path)
    for count in (1, 3, 5):
        images = digits.test.images[10 : 10 + count]
        expected = points_of(model.eval(), BOTH, evaluation_transform(digits)(images))
        given = embed(images)
        assert given.keys() == expected.keys()
        for space, points in expected.items():
            torch.testing.assert_close(given[space], points)


def test_the_example_shows_what_goes_in_and_what_comes_out(
    folder: RunFolder, digits: DataSet
) -> None:
    export_model(embedding_model(), BOTH, digits, folder)

    example = dict(np.load(folder.path / "model_example.npz"))
    assert example["images"].dtype == np.uint8
    assert example["images"].shape == (3, 1, 8, 8)
    for space, points in program(folder.path)(torch.from_numpy(example.pop("images"))).items():
        np.testing.assert_allclose(points.detach(), example.pop(space), rtol=1e-5, atol=1e-6)
    assert example == {}


def test_a_classifier_of_colour_images_gives_features_alone(
    folder: RunFolder, digits: DataSet
) -> None:
    in_colour = Images(digits.test.images.repeat(1, 3, 4, 4), digits.test.labels)
    data = DataSet("colour", in_colour, in_colour, digits.class_names, "digits, thrice")
    model = Classifier(build_encoder("slim_resnet18", width=8), 10).eval()
    export_model(model, {"features": "encoder"}, data, folder)

    for count in (1, 4):
        images = data.test.images[:count]
        expected = points_of(model, {"features": "encoder"}, evaluation_transform(data)(images))
        torch.testing.assert_close(program(folder.path)(images), expected)


class Stubborn(nn.Module):
    """Decides by the values of its input, which a program cannot."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) if images.sum() > 0 else -images.flatten(1)


def test_a_model_that_cannot_be_exported_is_said_and_nothing_else(
    folder: RunFolder, digits: DataSet
) -> None:
    with pytest.warns(UserWarning, match=r"there is no model\.pt2"):
        export_model(
            nn.ModuleDict({"encoder": Stubborn()}), {"features": "encoder"}, digits, folder
        )
    assert list(folder.path.iterdir()) == []


def test_a_run_done_again_leaves_no_model_of_before(folder: RunFolder, tmp_path: Path) -> None:
    (run,) = planned(tmp_path, "strategies: {er: }\n")
    folder.write_model(b"of before")
    folder.start(run.config, DataRecord.of(load_data("digits")), {})
    assert not (folder.path / "model.pt2").exists()
