#!/usr/bin/env bash
# avalanche-lib 0.6.0, with torch 2.14.1 and torchvision 0.29.1, on a CPU.
#
# Expected: EarlyStoppingPlugin says "After training, the best model's checkpoint is loaded", so that
# the model has its best validation accuracy after train(), whether or not the patience ran out.
# Seen: the checkpoint is loaded at the moment when it stops training, and else never. Where the epochs
# end before the patience does, the model is that of the last epoch, however far below the best, and
# best_val goes on naming the best. An experience whose best epoch is among its last ones loses it.
#
# Output seen:
#   patience 3: 3 epochs, best 1.000, the model has 1.000
#   patience 20: 12 epochs, best 1.000, the model has 0.065
#
# Ends with an error if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 avalanche-lib==0.6.0
cat > "$folder/body.py" <<'PYTHON'
import warnings

import torch
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.utils import as_classification_dataset
from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.training.plugins import EarlyStoppingPlugin, EvaluationPlugin
from avalanche.training.supervised import Naive
from torch import nn
from torch.utils.data import TensorDataset

warnings.filterwarnings("ignore")


def data_set(points, labels):
    samples = TensorDataset(points, labels)
    samples.targets = labels.tolist()
    return as_classification_dataset(samples)


def validation_accuracy_after_training(patience):
    """Of a model whose validation labels are the opposite of what it is trained on."""
    torch.manual_seed(0)
    points = torch.randn(200, 2)
    labels = (points[:, 0] > 0).long()
    streams = {"train": [data_set(points, labels)], "valid": [data_set(points, 1 - labels)]}
    benchmark = benchmark_from_datasets(**streams)
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0], [-1, 0]]))  # right by the validation labels
        model.bias.zero_()
    stopping = EarlyStoppingPlugin(patience=patience, val_stream_name="valid_stream")
    strategy = Naive(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.3),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=200,
        train_epochs=12,
        eval_every=1,
        plugins=[stopping],
        evaluator=EvaluationPlugin(accuracy_metrics(stream=True), loggers=[]),
    )
    strategy.train(benchmark.train_stream, eval_streams=[benchmark.valid_stream])
    right = (strategy.model(points).argmax(1) == 1 - labels).float().mean()
    return stopping.best_val, float(right), strategy.clock.train_iterations


for patience in (3, 20):
    best, last, epochs = validation_accuracy_after_training(patience)
    print(f"patience {patience}: {epochs} epochs, best {best:.3f}, the model has {last:.3f}")
    assert best == 1 and (last == 1) == (patience == 3)
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/body.py"
