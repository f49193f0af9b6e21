"""iCaRL (Rebuffi et al. 2017): distillation, herded exemplars, nearest exemplar mean.

Its batches are drawn from new data and exemplars together, so the share of the new classes is
theirs in that union, not the suite's ``new_share``. Classes without exemplars are never the answer.
"""

from __future__ import annotations

import torch
from avalanche.training.supervised import ICaRL
from torch import nn
from torch.utils.data import TensorDataset

from simo_cl.strategy import LEARNING_RATES, Setup, StrategySettings
from simo_cl.streams.augmentation import tensor_augmentation
from simo_cl.training.nearest_exemplar_mean import NearestExemplarMean

FEATURE_LAYER = "feature_extractor"
PROTOCOLS = ("batch",)
AUGMENTS = True  # its class means are of exemplars and of these mirrored
SEARCH_SPACE = {"lr": LEARNING_RATES}


class Settings(StrategySettings):
    pass


def build(setup: Setup, settings: Settings) -> ICaRL:
    encoder = setup.encoder()
    classifier = nn.Linear(encoder.num_features, setup.num_classes)
    strategy = ICaRL(
        feature_extractor=encoder,
        classifier=classifier,
        optimizer=setup.optimizer(nn.ModuleList([encoder, classifier]), settings.lr),
        memory_size=setup.memory_size,
        buffer_transform=tensor_augmentation(
            setup.run.training.augment, setup.data.size, setup.black
        ),
        fixed_memory=True,
        train_mb_size=setup.batch_size,
        plugins=[setup.budget()],
        **setup.arguments(),
    )
    strategy.model.eval_classifier = NearestExemplarMean(normalize=True)
    return strategy


def memory(strategy: ICaRL) -> TensorDataset:
    """The exemplars, which iCaRL stores as normalized images."""
    plugin = next(p for p in strategy.plugins if hasattr(p, "x_memory"))
    labels = [label for class_labels in plugin.y_memory for label in class_labels]
    return TensorDataset(torch.cat(plugin.x_memory).cpu(), torch.tensor(labels))
