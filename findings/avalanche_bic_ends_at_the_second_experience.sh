#!/usr/bin/env bash
# avalanche-lib 0.6.0 with torch 2.14.1, on a CPU.
#
# Expected: avalanche-lib 0.6.0 installs beside torch 2.14.1 without a complaint, so its BiC plugin trains a
# class-incremental stream with it.
# Seen: the first experience is trained. After the second, BiC's bias correction makes a MultiStepLR with the
# argument `verbose`, which this torch's schedulers do not have any more, and ends in a TypeError: the epochs of
# the second experience have been trained by then.
#
# Output seen:
#   experiences trained: 1
#   TypeError: MultiStepLR.__init__() got an unexpected keyword argument 'verbose'
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
from avalanche.models import SimpleMLP
from avalanche.training.plugins import BiCPlugin, EvaluationPlugin
from avalanche.training.supervised import Naive
from torch.utils.data import TensorDataset

torch.manual_seed(0)
labels = torch.arange(400) % 4
data = TensorDataset(torch.randn(400, 20), labels)
data.targets = labels.tolist()
benchmark = nc_benchmark(data, data, 2, task_labels=False, fixed_class_order=[0, 1, 2, 3])
model = SimpleMLP(num_classes=4, input_size=20, hidden_size=8)
strategy = Naive(
    model=model,
    optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    train_mb_size=20,
    train_epochs=1,
    plugins=[BiCPlugin(mem_size=100, val_percentage=0.2, stage_2_epochs=1)],
    evaluator=EvaluationPlugin(loggers=[BaseLogger()]),
)
trained, error = 0, None
for experience in benchmark.train_stream:
    try:
        strategy.train(experience, eval_streams=[])
    except TypeError as raised:
        error = raised
        break
    trained += 1
print("experiences trained:", trained)
print(f"{type(error).__name__}: {error}")
assert trained == 1 and "verbose" in str(error)
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/body.py"
