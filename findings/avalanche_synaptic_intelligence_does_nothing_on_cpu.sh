#!/usr/bin/env bash
# avalanche-lib 0.6.0 with torch 2.14.1, on a CPU.
#
# Expected: SynapticIntelligencePlugin gathers, over an experience, gradient times change of each
# weight, and holds weights of a positive importance near where they were in the next experience.
# Seen: on a CPU every importance is exactly 0, whatever the model and si_lambda, so that training is
# bit for bit that without the plugin. It keeps the weights as param.detach().cpu().flatten(), which
# copies from a GPU but is a view on a CPU: "before" and "after" an update are the same memory.
#
# Output seen:
#   largest importance: 0.0
#   largest change of a weight: 0.68 (in float32)
#   weights with and without the plugin are equal: True
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
from avalanche.training.plugins import EvaluationPlugin, SynapticIntelligencePlugin
from avalanche.training.supervised import Naive
from torch import nn
from torch.utils.data import TensorDataset

torch.manual_seed(0)
labels = torch.arange(400) % 4
images = torch.randn(400, 20) + 2 * nn.functional.one_hot(labels, 20)
data = TensorDataset(images, labels)
data.targets = labels.tolist()
benchmark = nc_benchmark(data, data, n_experiences=2, task_labels=False)


def train(*plugins):
    torch.manual_seed(1)
    model = SimpleMLP(num_classes=4, input_size=20, hidden_size=32, drop_rate=0)
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    strategy = Naive(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=20,
        train_epochs=5,
        plugins=list(plugins),
        evaluator=EvaluationPlugin(loggers=[BaseLogger()]),
    )
    for experience in benchmark.train_stream:
        torch.manual_seed(2)
        strategy.train(experience, eval_streams=[])
    after = nn.utils.parameters_to_vector(model.parameters()).detach()
    return after, (after - before).abs().max()


plugin = SynapticIntelligencePlugin(si_lambda=1e6)
weights, change = train(plugin)
without, _ = train()
importance = max(float(value.data.abs().max()) for value in plugin.ewc_data[1].values())
print("largest importance:", importance)
print("largest change of a weight:", float(change))
print("weights with and without the plugin are equal:", torch.equal(weights, without))
assert importance == 0 and change > 0.1 and torch.equal(weights, without)
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/body.py"
