"""How MLflow loads a logged model and embeds images with it.

MLflow keeps a copy of this file beside the model: it needs torch and NumPy, not this library.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


class ImagesToPoints:
    """An exported program behind MLflow's interface.

    Args:
        program: the file that `torch.export.save` wrote.
    """

    def __init__(self, program: str) -> None:
        self.module = torch.export.load(program).module()

    def predict(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Pixels, uint8 (N, channels, size, size), to the points of each space, (N, d)."""
        with torch.no_grad():
            spaces = self.module(torch.tensor(images))
        return {space: points.numpy() for space, points in spaces.items()}


def _load_pyfunc(path: str) -> ImagesToPoints:
    """What MLflow calls."""
    return ImagesToPoints(path)
