"""Who takes part in the stream benchmark: strategies on stock data and on ours, and bare loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count, cycle, islice
from typing import Any

import numpy as np
import torch
from _scene import Scene, first_of_each_class, stock_stream
from avalanche.benchmarks.scenarios import split_online_stream
from avalanche.models import SCRModel
from avalanche.training.plugins import MIRPlugin, ReplayPlugin
from avalanche.training.storage_policy import ClassBalancedBuffer
from avalanche.training.supervised import DER, ER_ACE, SCR, ICaRL, Naive
from pytorch_metric_learning.losses import SupConLoss, TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from torch import Tensor, nn
from torch.optim import SGD
from torchvision import transforms as tv

from simo_cl.losses import SimOLoss
from simo_cl.models import projection_head
from simo_cl.streams.augmentation import tensor_augmentation
from simo_cl.streams.batch_augmentation import BatchTransform
from simo_cl.training.contrastive_replay import ContrastiveReplay
from simo_cl.training.mined_loss import MinedLoss
from simo_cl.training.online_replay import OnlineReplayPlugin
from simo_cl.training.replay_memory import ClassBalancedMemory

Chunk = Callable[[], int]
"""Trains for a while and tells the number of iterations."""

BATCH, REPLAYED, MEMORY = 10, 10, 1000
# Of supervised contrastive replay, as published.
SCR_REPLAYED, SCR_MEMORY = 100, 200
SCR_AUGMENT = ("resized_crop", "flip", "color_jitter", "grayscale")
LARGE_BATCH = 128


# --- training -----------------------------------------------------------------------------------


def pieces(stream: Iterable[Any], size: int) -> Iterator[Any]:
    """An online stream of experiences with `size` samples, over and over."""
    for seed in count():
        yield from split_online_stream(stream, size, seed=seed, drop_last=True)


def training(strategy: Any, experiences: Iterator[Any], calls: int) -> Chunk:
    """As many `train` calls, an experience each."""

    def chunk() -> int:
        before = strategy.clock.train_iterations
        for experience in islice(experiences, calls):
            strategy.train(experience, eval_streams=[])
        return strategy.clock.train_iterations - before

    return chunk


def bare(
    scene: Scene,
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    iterations: int,
    *,
    new: int,
    replayed: int = 0,
    memory: int = MEMORY,
    views: int = 1,
    clip: float | None = None,
) -> Chunk:
    """The PyTorch loop that does the same work, on the same augmentations, with a memory that
    stays as it is."""
    data = scene.data
    images, labels = data.train.images.to(scene.device), data.train.labels.to(scene.device)
    transform = BatchTransform(scene.augment, size=data.size, mean=data.mean, std=data.std)
    optimizer = SGD(model.parameters(), lr=0.01)
    in_memory = torch.randperm(len(images))[:memory]

    def batches() -> Iterator[Tensor]:
        while True:
            for rows in torch.randperm(len(images)).split(new):
                drawn = in_memory[torch.randint(len(in_memory), (replayed,))]
                yield torch.cat([rows, drawn]).repeat(views).to(scene.device, non_blocking=True)

    stream = batches()

    def chunk() -> int:
        model.train()
        for rows in islice(stream, iterations):
            optimizer.zero_grad()
            output = model(transform(images.index_select(0, rows)))
            loss(output, labels.index_select(0, rows)).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
        return iterations

    return chunk


# --- replay by cross-entropy --------------------------------------------------------------------


def stock_replay(scene: Scene, stream: Any, *, filled: bool = True) -> Naive:
    """Avalanche's replay strategy with its class-balanced memory."""
    memory = ClassBalancedBuffer(MEMORY, adaptive_size=True)
    if filled:
        fill(memory, stream, MEMORY)
    plugin = ReplayPlugin(MEMORY, storage_policy=memory)
    return Naive(**scene.arguments(scene.classifier(), BATCH), plugins=[plugin])


def our_replay(scene: Scene, *, filled: bool = True) -> Naive:
    memory = ClassBalancedMemory(MEMORY)
    if filled:
        fill(memory, scene.resident.train_stream, MEMORY)
    plugin = OnlineReplayPlugin(memory, batch_size=BATCH, memory_batch_size=REPLAYED)
    return Naive(**scene.arguments(scene.classifier(), BATCH), plugins=[plugin])


def fill(memory: Any, stream: Any, size: int) -> None:
    """Equally many samples of each class, into Avalanche's memory or ours."""
    for experience in stream:
        dataset = experience.dataset
        labels = np.array([int(label) for label in dataset.targets])
        rows = first_of_each_class(labels, size // experience.benchmark.n_classes)
        if isinstance(memory, ClassBalancedMemory):
            memory.update(dataset.rows[rows], labels[rows])
        else:
            memory.update_from_dataset(dataset.subset(rows.tolist()))


# --- contrastive --------------------------------------------------------------------------------


def contrastive_losses() -> dict[str, nn.Module]:
    triplet = TripletMarginLoss(margin=0.5, smooth_loss=True)
    return {
        "SupCon": SupConLoss(temperature=0.1),
        "triplet": MinedLoss(triplet, TripletMarginMiner(margin=0.5, type_of_triplets="semihard")),
        "SimO": SimOLoss(),
    }


def our_contrastive(scene: Scene, loss: nn.Module) -> ContrastiveReplay:
    memory = ClassBalancedMemory(SCR_MEMORY)
    fill(memory, scene.resident.train_stream, SCR_MEMORY)
    model = scene.embedding_model()
    replay = OnlineReplayPlugin(memory, batch_size=BATCH, memory_batch_size=SCR_REPLAYED, views=2)
    return ContrastiveReplay(
        model=model, loss=loss, replay=replay, **scene.arguments_without_model(model)
    )


class LateMeansSCR(SCR):
    """SCR that computes its class means where they are read, not after each small experience."""

    def _after_training_exp(self, **kwargs: Any) -> None:
        super(SCR, self)._after_training_exp(**kwargs)


def stock_scr(scene: Scene, kind: type[SCR], stream: Any) -> SCR:
    """The second view is made as the published script makes it: torchvision's transforms of a
    batch, which change all its images alike."""
    size = scene.data.size
    jitter = tv.RandomApply([tv.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8)
    augmentations = tv.Compose(
        [
            tv.RandomResizedCrop(size, scale=(0.2, 1.0)),
            tv.RandomHorizontalFlip(),
            jitter,
            tv.RandomGrayscale(0.2),
        ]
    )
    encoder, features = scene.feature_extractor()
    model = SCRModel(encoder, projection_head("mlp", features, 128)).to(scene.device)
    strategy = kind(
        **scene.arguments(model, BATCH),
        augmentations=augmentations,
        mem_size=SCR_MEMORY,
        batch_size_mem=SCR_REPLAYED,
    )
    fill(strategy.replay_plugin.storage_policy, stream, SCR_MEMORY)
    return strategy


def scr_stream(scene: Scene) -> Any:
    return stock_stream(scene.data, [tv.ToTensor()], scene.experiences)


# --- other stock strategies ---------------------------------------------------------------------


def er_ace(scene: Scene, stream: Any) -> Chunk:
    arguments = scene.arguments(scene.classifier(), BATCH)
    strategy = ER_ACE(**arguments, mem_size=MEMORY, batch_size_mem=REPLAYED)
    return training(strategy, cycle(stream), calls=1)


def der(scene: Scene, stream: Any) -> Chunk:
    arguments = scene.arguments(scene.classifier(), BATCH)
    strategy = DER(**arguments, mem_size=MEMORY, batch_size_mem=REPLAYED, alpha=0.1, beta=0.5)
    return training(strategy, cycle(stream), calls=1)


def icarl(scene: Scene, stream: Any) -> Chunk:
    data, (encoder, features) = scene.data, scene.feature_extractor()
    classifier = nn.Linear(features, data.num_classes, device=scene.device)
    black = [-mean / std for mean, std in zip(data.mean, data.std, strict=True)]
    strategy = ICaRL(
        feature_extractor=encoder,
        classifier=classifier,
        memory_size=MEMORY,
        buffer_transform=tensor_augmentation(scene.augment, data.size, black),
        fixed_memory=True,
        train_mb_size=LARGE_BATCH,
        **scene.arguments_without_model(nn.ModuleList([encoder, classifier])),
    )
    return training(strategy, iter(stream), calls=1)


def mir(scene: Scene, stream: Any, iterations: int) -> Chunk:
    plugin = MIRPlugin(batch_size_mem=REPLAYED, mem_size=MEMORY, subsample=50)
    fill(plugin.storage_policy, stream, MEMORY)
    strategy = Naive(**scene.arguments(scene.classifier(), BATCH), plugins=[plugin])
    return training(strategy, pieces(stream, BATCH), calls=iterations)
