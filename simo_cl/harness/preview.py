"""What a suite would do, before it does it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.table import Table

from simo_cl.harness.plan import Run
from simo_cl.harness.progress import duration
from simo_cl.harness.run_folder import RunFolder
from simo_cl.harness.settings import RunSettings
from simo_cl.harness.snapshots import Snapshots
from simo_cl.models import build_encoder
from simo_cl.streams import DataSet

_TRIAL_STEPS = 3


def preview_table(runs: Sequence[Run], folder: Path, data: DataSet, device: torch.device) -> Table:
    """The runs with their images, and estimates of time and disk.

    Time is that of the encoder alone, forward and backward, from a few steps made now; loading,
    losses and evaluation come on top.

    Args:
        runs: of the suite.
        folder: of the suite, to see what is finished.
        data: that they train on.
        device: that they would train on.
    """
    table = Table(title=f"{len(runs)} runs in {folder}")
    for column, justify in (
        ("run", "left"),
        ("state", "left"),
        ("precision", "left"),
        ("images", "right"),
        ("at least", "right"),
        ("disk", "right"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    speeds: dict[str, float] = {}
    seconds_left, disk_left = 0.0, 0
    for run in runs:
        settings = run.settings
        key = f"{settings.model}{settings.training}"
        if key not in speeds:
            speeds[key] = _images_a_second(settings, data, device)
        images = math.ceil(
            settings.training.epochs * len(data.train) * (1 - settings.stream.validation)
        )
        seconds, disk = images / speeds[key], _bytes_on_disk(settings, data)
        state = RunFolder(folder / run.folder).state
        if state != "finished":
            seconds_left += seconds
            disk_left += disk
        table.add_row(
            run.name,
            state,
            settings.model.precision,
            f"{images:,}",
            duration(seconds),
            f"{disk / 1e6:.1f} MB",
        )
    table.caption = (
        f"left to do: at least {duration(seconds_left)} on {device}, about {disk_left / 1e6:.0f} MB"
    )
    return table


def _images_a_second(settings: RunSettings, data: DataSet, device: torch.device) -> float:
    torch.set_num_threads(settings.training.threads)
    model, batch_size = settings.model, settings.training.batch_size
    encoder = build_encoder(
        model.encoder,
        channels=data.channels,
        width=model.width,
        norm=model.norm,
        precision=model.precision,
    ).to(device)
    images = torch.randn(batch_size, data.channels, data.size, data.size, device=device)

    def step() -> None:
        encoder(images).sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    step()
    started = time.perf_counter()
    for _ in range(_TRIAL_STEPS):
        step()
    return _TRIAL_STEPS * batch_size / (time.perf_counter() - started)


def _bytes_on_disk(settings: RunSettings, data: DataSet) -> int:
    """Of a run folder: samples of embeddings in half precision, and the weights, which MLflow's
    artifacts hold once more."""
    encoder = build_encoder(
        settings.model.encoder, channels=data.channels, width=settings.model.width
    )
    dimensions = encoder.num_features + int(settings.settings.get("dimension", 0))
    per_class = settings.evaluation.samples_per_class
    snapshots = Snapshots(data.num_classes, per_class).per_class * settings.stream.experiences
    samples = (2 * per_class + snapshots) * data.num_classes
    matrices = 9 * settings.stream.experiences * data.num_classes**2 * 4
    weights = sum(4 * parameter.numel() for parameter in encoder.parameters())
    return samples * dimensions * 2 + matrices + 2 * weights
