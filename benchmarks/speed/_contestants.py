"""Who takes part in the stream benchmark: strategies on stock data and on ours, and bare loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import count, cycle, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from avalanche.benchmarks import nc_benchmark
from avalanche.benchmarks.scenarios import split_online_stream
from avalanche.logging import BaseLogger
from avalanche.models import SCRModel, SlimResNet18
from avalanche.training.plugins import EvaluationPlugin, MIRPlugin, ReplayPlugin
from avalanche.training.storage_policy import ClassBalancedBuffer
from avalanche.training.supervised import DER, ER_ACE, SCR, ICaRL, Naive
from PIL import Image
from pytorch_metric_learning.losses import SupConLoss, TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.utils.data import Dataset
from torchvision import transforms as tv

from simo_cl.harness.trial import first_images
from simo_cl.losses import SimOLoss
from simo_cl.models import EmbeddingModel, Encoder, build_encoder, projection_head
from simo_cl.streams import DataSet, Images
from simo_cl.streams.augmentation import tensor_augmentation
from simo_cl.streams.batch_augmentation import BatchTransform
from simo_cl.streams.class_incremental import ClassIncremental, class_incremental
from simo_cl.training.contrastive_replay import ContrastiveReplay
from simo_cl.training.mined_loss import MinedLoss
from simo_cl.training.online_replay import OnlineReplayPlugin
from simo_cl.training.replay_memory import ClassBalancedMemory

# Networks: an average over the pixels and a linear layer; ours; the same layers as Avalanche has
# them, in float32.
EMPTY, SLIM, STOCK_SLIM = "empty", "slim ResNet-18", "Avalanche's SlimResNet18"
STOCK, ON_OURS, BARE = "stock Avalanche", "stock strategy, our data", "bare loop"
OURS_SPLIT, OURS = "ours, split_online_stream", "ours, one call an experience"

BATCH, REPLAYED, MEMORY = 10, 10, 1000
# Of supervised contrastive replay, as published.
SCR_REPLAYED, SCR_MEMORY = 100, 200
CROP_AND_FLIP = ("crop", "flip")
SCR_AUGMENT = ("resized_crop", "flip", "color_jitter", "grayscale")
LARGE_BATCH = 128
FEW = 10  # test images of a class where none is evaluated

Chunk = Callable[[], int]
"""Trains for a while and tells the number of iterations."""


class Contestant(NamedTuple):
    """One who takes turns, and whom to compare it with, where they take part."""

    name: str
    chunk: Chunk
    stock: str = STOCK
    bare: str = BARE


@dataclass(frozen=True)
class Scene:
    """What the contestants of a comparison have in common."""

    data: DataSet
    network: str
    precision: str = "float32"
    augment: tuple[str, ...] = ()
    device: str = "cpu"
    width: int = 20  # of the slim ResNet-18
    experiences: int = 5

    @cached_property
    def resident(self) -> ClassIncremental:
        """The stream on our data set."""
        settings = {"seed": None, "augment": self.augment, "device": self.device}
        return class_incremental(self.data, experiences=self.experiences, **settings)

    @cached_property
    def stock(self) -> Any:
        """The stream on pictures in memory that torchvision transforms one by one; of those in two
        views, the second is made from a batch."""
        size = self.data.size
        known = {"crop": tv.RandomCrop(size, padding=size // 8), "flip": tv.RandomHorizontalFlip()}
        transforms = [tv.ToTensor()]
        if self.augment != SCR_AUGMENT:
            normalize = tv.Normalize(self.data.mean, self.data.std)
            transforms = [*(known[name] for name in self.augment), tv.ToTensor(), normalize]
        return nc_benchmark(
            Pictures(self.data.train),
            Pictures(self.data.test),
            self.experiences,
            task_labels=False,
            fixed_class_order=list(range(self.data.num_classes)),
            train_transform=tv.Compose(transforms),
            eval_transform=tv.Compose(transforms),
        )

    @property
    def with_stock_networks(self) -> dict[str, Scene]:
        """Those of stock strategies, by what their names end in: with Avalanche's network and
        ours."""
        if self.network == EMPTY:
            return {"": self}
        return {"": replace(self, network=STOCK_SLIM, precision="float32"), ", our network": self}

    def encoder(self) -> tuple[nn.Module, int]:
        """A network without its last layer, and the number of features."""
        channels = self.data.channels
        if self.network == EMPTY:
            pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            return Encoder(pool, channels, "float32"), channels
        if self.network == STOCK_SLIM:
            model = SlimResNet18(1, nf=self.width)
            features, model.linear = model.linear.in_features, nn.Identity()
            return model.to(self.device), features
        settings = {"width": self.width, "precision": self.precision}
        encoder = build_encoder("slim_resnet18", channels=channels, **settings)
        return encoder.to(self.device), encoder.num_features

    def classifier(self) -> nn.Module:
        encoder, features = self.encoder()
        linear = nn.Linear(features, self.data.num_classes, device=self.device)
        return nn.Sequential(encoder.backbone if self.network == EMPTY else encoder, linear)

    def embedding_model(self) -> EmbeddingModel:
        encoder, features = self.encoder()
        head = projection_head("mlp", features, 128)
        return EmbeddingModel(encoder, head, self.data.num_classes).to(self.device)

    def arguments(self, model: nn.Module) -> dict[str, Any]:
        """What every strategy takes beside its model."""
        return {
            "optimizer": SGD(model.parameters(), lr=0.01),
            "eval_mb_size": 500,
            "device": self.device,
            "evaluator": EvaluationPlugin(loggers=[BaseLogger()]),
        }

    def strategy(self, kind: Any, batch: int = BATCH, model: Any = None, **settings: Any) -> Any:
        """One of Avalanche's, with a classifier unless another model is given."""
        model = self.classifier() if model is None else model
        return kind(model=model, train_mb_size=batch, **settings, **self.arguments(model))


# --- data ---------------------------------------------------------------------------------------


class Pictures(Dataset):
    """A data set in memory as torchvision's CIFAR-10 is: an array, and a picture at each access."""

    def __init__(self, images: Images) -> None:
        self.data = images.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.targets = images.labels.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.data[index]), self.targets[index]


def fill(memory: Any, stream: Any, size: int) -> Any:
    """Puts equally many samples of each class into Avalanche's memory or ours."""
    for experience in stream:
        dataset = experience.dataset
        labels = np.array([int(label) for label in dataset.targets])
        of_a_class = size // experience.benchmark.n_classes
        rows = np.concatenate([np.flatnonzero(labels == c)[:of_a_class] for c in np.unique(labels)])
        if isinstance(memory, ClassBalancedMemory):
            memory.update(dataset.rows[rows], labels[rows])
        else:
            memory.update_from_dataset(dataset.subset(rows.tolist()))
    return memory


# --- training -----------------------------------------------------------------------------------


def training(strategy: Any, experiences: Iterator[Any], calls: int = 1) -> Chunk:
    """As many `train` calls, an experience each."""

    def chunk() -> int:
        before = strategy.clock.train_iterations
        for experience in islice(experiences, calls):
            strategy.train(experience, eval_streams=[])
        return strategy.clock.train_iterations - before

    return chunk


def online_training(strategy: Any, stream: Any, calls: int, size: int = BATCH) -> Chunk:
    """As many `train` calls, each of an experience with `size` samples of the stream, which begins
    anew when it ends."""
    pieces = (
        piece
        for seed in count()
        for piece in split_online_stream(stream, size, seed=seed, drop_last=True)
    )
    return training(strategy, pieces, calls)


def bare_loop(
    scene: Scene,
    iterations: int,
    *,
    model: nn.Module | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    new: int = BATCH,
    replayed: int = REPLAYED,
    memory: int = MEMORY,
    views: int = 1,
    clip: float | None = None,
) -> Chunk:
    """The PyTorch loop that does the same work, on the same augmentations, with a memory that
    stays as it is."""
    data, model = scene.data, scene.classifier() if model is None else model
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


# --- comparisons: online replay, contrastive replay, other stock strategies, whole batches ------


def online(scene: Scene, n: int) -> Iterator[Contestant]:
    for name, chunk in online_strategies(scene, n, filled=True).items():
        yield Contestant(name, chunk)
    yield Contestant(BARE, bare_loop(scene, n))


def online_strategies(scene: Scene, n: int, *, filled: bool) -> dict[str, Chunk]:
    """By name, with or without a class-balanced memory that is full from the beginning."""
    stock, ours = scene.stock.train_stream, scene.resident.train_stream

    def of_avalanche(own: Scene, stream: Any) -> Chunk:
        memory = ClassBalancedBuffer(MEMORY, adaptive_size=True)
        plugin = ReplayPlugin(MEMORY, storage_policy=fill(memory, stream if filled else [], MEMORY))
        return online_training(own.strategy(Naive, plugins=[plugin]), stream, n)

    def of_ours(calls: int, size: int) -> Chunk:
        memory = fill(ClassBalancedMemory(MEMORY), ours if filled else [], MEMORY)
        plugin = OnlineReplayPlugin(memory, batch_size=BATCH, memory_batch_size=REPLAYED)
        return online_training(scene.strategy(Naive, plugins=[plugin]), ours, calls, size)

    chunks = {STOCK + of: of_avalanche(s, stock) for of, s in scene.with_stock_networks.items()}
    chunks[ON_OURS] = of_avalanche(scene, ours)
    return chunks | {OURS_SPLIT: of_ours(n, BATCH), OURS: of_ours(1, n * BATCH)}


def contrastive(scene: Scene, n: int) -> Iterator[Contestant]:
    stream = scene.stock.train_stream
    for name, kind in ((STOCK, SCR), (f"{STOCK}, class means at the end", LateMeansSCR)):
        for of, own in scene.with_stock_networks.items():
            yield Contestant(name + of, online_training(stock_scr(own, kind, stream), stream, n))
    triplet = TripletMarginLoss(margin=0.5, smooth_loss=True)
    semihard = TripletMarginMiner(margin=0.5, type_of_triplets="semihard")
    triplet = MinedLoss(triplet, semihard)
    losses = {"SupCon": SupConLoss(temperature=0.1), "triplet": triplet, "SimO": SimOLoss()}
    ours = scene.resident.train_stream
    sizes = {"batch_size": BATCH, "memory_batch_size": SCR_REPLAYED, "views": 2}
    for name, loss in losses.items():
        model, peer = scene.embedding_model(), f"{BARE}, {name}"
        replay = OnlineReplayPlugin(
            fill(ClassBalancedMemory(SCR_MEMORY), ours, SCR_MEMORY), **sizes
        )
        parts = {"model": model, "loss": loss, "replay": replay}
        strategy = ContrastiveReplay(**parts, **scene.arguments(model))
        yield Contestant(f"ours, {name}", online_training(strategy, ours, 1, n * BATCH), bare=peer)
        loop = bare_loop(
            scene,
            n,
            model=scene.embedding_model(),
            loss=loss,
            replayed=SCR_REPLAYED,
            memory=SCR_MEMORY,
            views=2,
            clip=strategy.clip_grad_norm,
        )
        yield Contestant(peer, loop, bare=peer)


class LateMeansSCR(SCR):
    """SCR that computes its class means where they are read, not after each small experience."""

    def _after_training_exp(self, **kwargs: Any) -> None:
        super(SCR, self)._after_training_exp(**kwargs)


def stock_scr(scene: Scene, kind: type[SCR], stream: Any) -> SCR:
    """The second view is made as the published script makes it: torchvision's transforms of a
    batch, which change all its images alike."""
    jitter = tv.RandomApply([tv.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8)
    crop = tv.RandomResizedCrop(scene.data.size, scale=(0.2, 1.0))
    views = tv.Compose([crop, tv.RandomHorizontalFlip(), jitter, tv.RandomGrayscale(0.2)])
    encoder, features = scene.encoder()
    model = SCRModel(encoder, projection_head("mlp", features, 128)).to(scene.device)
    sizes = {"mem_size": SCR_MEMORY, "batch_size_mem": SCR_REPLAYED}
    strategy = scene.strategy(kind, model=model, augmentations=views, **sizes)
    fill(strategy.replay_plugin.storage_policy, stream, SCR_MEMORY)
    return strategy


def strategies(scene: Scene, n: int, per_class: int) -> Iterator[Contestant]:
    """MIR in `n` iterations, the others in one experience of one class of `per_class` images."""
    whole = replace(scene, data=first_images(scene.data, per_class, FEW), experiences=10)
    sizes = {"mem_size": MEMORY, "batch_size_mem": REPLAYED}

    def of_kind(kind: Any, own: Scene, stream: Any, **settings: Any) -> Chunk:
        return training(own.strategy(kind, **sizes, **settings), cycle(stream))

    kinds: dict[str, tuple[Callable[[Scene, Any], Chunk], Scene]] = {
        "ER-ACE": (partial(of_kind, ER_ACE), whole),
        "DER": (partial(of_kind, DER, alpha=0.1, beta=0.5), whole),
        "iCaRL": (icarl, whole),
        "MIR": (partial(mir, n), scene),
    }
    for name, (chunk, own) in kinds.items():
        peer, stream = f"{name}, stock", own.stock.train_stream
        for of, other in own.with_stock_networks.items():
            yield Contestant(peer + of, chunk(other, stream), stock=peer)
        yield Contestant(f"{name}, our data", chunk(own, own.resident.train_stream), stock=peer)


def icarl(scene: Scene, stream: Any) -> Chunk:
    data, (encoder, features) = scene.data, scene.encoder()
    classifier = nn.Linear(features, data.num_classes, device=scene.device)
    black = [-mean / std for mean, std in zip(data.mean, data.std, strict=True)]
    strategy = ICaRL(
        feature_extractor=encoder,
        classifier=classifier,
        memory_size=MEMORY,
        buffer_transform=tensor_augmentation(scene.augment, data.size, black),
        fixed_memory=True,
        train_mb_size=LARGE_BATCH,
        **scene.arguments(nn.ModuleList([encoder, classifier])),
    )
    return training(strategy, iter(stream))


def mir(n: int, scene: Scene, stream: Any) -> Chunk:
    plugin = MIRPlugin(batch_size_mem=REPLAYED, mem_size=MEMORY, subsample=50)
    fill(plugin.storage_policy, stream, MEMORY)
    return online_training(scene.strategy(Naive, plugins=[plugin]), stream, n)


def batch(whole: Scene, n: int) -> Iterator[Contestant]:
    """Avalanche's Naive on experiences of `n` batches of two classes."""
    scene = replace(whole, data=first_images(whole.data, n * LARGE_BATCH // 2, FEW))
    stock, ours = scene.stock.train_stream, scene.resident.train_stream
    parts = [(STOCK + of, own, stock) for of, own in scene.with_stock_networks.items()]
    for name, own, stream in [*parts, (ON_OURS, scene, ours)]:
        yield Contestant(name, training(own.strategy(Naive, LARGE_BATCH), cycle(stream)))
    yield Contestant(BARE, bare_loop(scene, n, new=LARGE_BATCH, replayed=0))
