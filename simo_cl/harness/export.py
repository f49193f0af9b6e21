"""A run's trained model as a file that embeds images, without this library."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from simo_cl.results import RunFolder
from simo_cl.streams import DataSet
from simo_cl.streams.augmentation import evaluation_transform

# Two would do: the batch size stays free only where the example has more than one image.
_EXAMPLES = 3


def export_model(
    model: nn.Module, layers: Mapping[str, str], data: DataSet, folder: RunFolder
) -> None:
    """Writes ``model.pt2`` and ``model_example.npz`` into a run's folder.

    ``model.pt2`` is a `torch.export` program on the CPU, in evaluation mode: pixels, uint8
    (N, channels, size, size) for any N, to float32 points by space, ``{"features": (N, F)}`` and,
    where the model has a head, ``"embedding"`` (N, d). It normalises the pixels itself.
    ``model_example.npz`` holds three test images and what the program makes of them.

    A model that `torch.export` cannot trace is warned of: it is no reason to lose a finished run.

    Args:
        model: trained; it is left as it is.
        layers: name of a space to the name of the submodule that gives it, the first from
            normalised images and each other one from the space before.
        data: gives the images' shape and their normalisation.
        folder: of the run.
    """
    images = data.test.images[:_EXAMPLES].cpu()
    try:
        pixels_to_points = _PixelsToPoints(model, layers, data).eval()
        batch = torch.export.Dim("batch", min=1)
        program = torch.export.export(
            pixels_to_points, (images,), dynamic_shapes={"images": {0: batch}}
        )
        content = io.BytesIO()
        torch.export.save(program, content)
        with torch.no_grad():
            points = pixels_to_points(images)
    except Exception as error:
        # Whatever torch makes of a user's model.
        warnings.warn(
            f"the model is not exported, so there is no model.pt2: {type(error).__name__}: {error}",
            stacklevel=2,
        )
        return
    example = {"images": images, **points}
    folder.write_arrays("model_example", {name: rows.numpy() for name, rows in example.items()})
    folder.write_model(content.getvalue())


class _PixelsToPoints(nn.Module):
    """The layers one after the other, as `simo_cl.harness.embed.embed` applies them, on copies."""

    def __init__(self, model: nn.Module, layers: Mapping[str, str], data: DataSet) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(
            {space: copy.deepcopy(model.get_submodule(layer)) for space, layer in layers.items()}
        ).cpu()
        self.normalise = evaluation_transform(data)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        points = self.normalise(images)
        spaces = {}
        for space, layer in self.layers.items():
            points = layer(points)
            spaces[space] = points.float()
        return spaces
