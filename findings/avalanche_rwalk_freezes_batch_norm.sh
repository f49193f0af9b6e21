#!/usr/bin/env bash
# avalanche-lib 0.6.0 with torch 2.14.1, on a CPU.
#
# Expected: RWalkPlugin adds a penalty to training, and the model is otherwise trained as without it.
# Seen: before each iteration it puts the model into evaluation mode to take a gradient, and never puts
# it back. So the whole epoch runs in evaluation mode: batch normalisation never sees a batch's
# statistics, its running mean stays 0 and its variance 1, and dropout drops nothing.
#
# Output seen:
#   iterations in training mode, without the plugin: 40 of 40
#   iterations in training mode, with it: 0 of 40
#   batches that batch normalisation has counted: 40 and 0
#
# Ends with an error if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 avalanche-lib==0.6.0
cat > "$folder/body.py" <<'PYTHON'
import torch
from avalanche.benchmarks import nc_benchmark
from avalanche.logging import BaseLogger
from avalanche.training.plugins import EvaluationPlugin, RWalkPlugin, SupervisedPlugin
from avalanche.training.supervised import Naive
from torch import nn
from torch.utils.data import TensorDataset

torch.manual_seed(0)
labels = torch.arange(400) % 4
data = TensorDataset(torch.randn(400, 20) + 3, labels)
data.targets = labels.tolist()
benchmark = nc_benchmark(data, data, n_experiences=2, task_labels=False)


class Modes(SupervisedPlugin):
    def __init__(self):
        super().__init__()
        self.seen = []

    def after_forward(self, strategy, **kwargs):
        self.seen.append(strategy.model.training)


def train(*plugins):
    modes = Modes()
    model = nn.Sequential(nn.Linear(20, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
    strategy = Naive(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=20,
        train_epochs=2,
        plugins=[*plugins, modes],
        evaluator=EvaluationPlugin(loggers=[BaseLogger()]),
    )
    for experience in benchmark.train_stream:
        strategy.train(experience, eval_streams=[])
    return modes.seen, int(model[1].num_batches_tracked)


without, counted = train()
with_it, counted_with_it = train(RWalkPlugin())
print(f"iterations in training mode, without the plugin: {sum(without)} of {len(without)}")
print(f"iterations in training mode, with it: {sum(with_it)} of {len(with_it)}")
print(f"batches that batch normalisation has counted: {counted} and {counted_with_it}")
assert all(without) and not any(with_it) and counted == 40 and counted_with_it == 0
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/body.py"
