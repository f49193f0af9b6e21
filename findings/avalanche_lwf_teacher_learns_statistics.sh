#!/usr/bin/env bash
# avalanche-lib 0.6.0 with torch 2.14.1, on a CPU.
#
# Expected: LwF distils from a frozen copy of the model from before the experience, so that the same
# image has the same target throughout the experience.
# Seen: the copy is made while the model is in training mode and is never put into evaluation mode. Its
# batch normalisation goes on learning statistics from the new experience, and its dropout drops: the
# same images have other targets at the end of the experience than at its begin, without a step taken.
#
# Output seen:
#   the teacher is in training mode: True
#   batches that its batch normalisation has counted, before and after the second experience: 10 and 20
#   largest change of its outputs for the same images, in evaluation mode: above 0.1
#
# Ends with an error if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 avalanche-lib==0.6.0
cat > "$folder/body.py" <<'PYTHON'
import copy

import torch
from avalanche.benchmarks import nc_benchmark
from avalanche.logging import BaseLogger
from avalanche.training.plugins import EvaluationPlugin, LwFPlugin, SupervisedPlugin
from avalanche.training.supervised import Naive
from torch import nn
from torch.utils.data import TensorDataset

torch.manual_seed(0)
labels = torch.arange(400) % 4
# The classes of the second experience lie elsewhere.
images = torch.randn(400, 20) + 3.0 * labels[:, None]
data = TensorDataset(images, labels)
data.targets = labels.tolist()
benchmark = nc_benchmark(data, data, 2, task_labels=False, fixed_class_order=[0, 1, 2, 3])
lwf = LwFPlugin(alpha=1, temperature=2)


class Teachers(SupervisedPlugin):
    def __init__(self):
        super().__init__()
        self.copies = []

    def before_training_epoch(self, strategy, **kwargs):
        if lwf.lwf.prev_model is not None:
            self.copies.append(copy.deepcopy(lwf.lwf.prev_model))

    def after_training_epoch(self, strategy, **kwargs):
        self.before_training_epoch(strategy)


teachers = Teachers()
model = nn.Sequential(nn.Linear(20, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
strategy = Naive(
    model=model,
    optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    criterion=nn.CrossEntropyLoss(),
    train_mb_size=20,
    train_epochs=1,
    plugins=[lwf, teachers],
    evaluator=EvaluationPlugin(loggers=[BaseLogger()]),
)
for experience in benchmark.train_stream:
    strategy.train(experience, eval_streams=[])
before, after = teachers.copies
is_training = before.training
counted = [int(teacher[1].num_batches_tracked) for teacher in (before, after)]
with torch.no_grad():
    change = float((before.eval()(images) - after.eval()(images)).abs().max())
print("the teacher is in training mode:", is_training)
print(
    "batches that its batch normalisation has counted, before and after the second experience:",
    f"{counted[0]} and {counted[1]}",
)
print("largest change of its outputs for the same images, in evaluation mode:", round(change, 3))
assert is_training and counted == [10, 20] and change > 0.1
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/body.py"
