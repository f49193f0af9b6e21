#!/usr/bin/env bash
# avalanche-lib 0.6.0 with torch 2.14.1, on a CPU.
#
# Expected: EWC's importances are the diagonal of the empirical Fisher information, the mean over images of
# each image's squared gradient, so that the same model and images have the same ones whatever the batch size.
# Seen: the gradient of a batch's mean loss is squared. Gradients of single images cancel within a batch, so
# that importances fall with its size, near a minimum about in proportion to it: one `ewc_lambda` holds the
# weights with another strength for every `train_mb_size`.
#
# Output seen:
#   sum of importances of one model on the same 1,000 images, by batch size:
#      1: 0.527163
#     10: 0.066051 (8 times less)
#    100: 0.018248 (29 times less)
#   1000: 0.000678 (777 times less)
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
from avalanche.training.plugins import EWCPlugin
from torch import nn
from torch.utils.data import TensorDataset

torch.manual_seed(0)
labels = torch.arange(1000) % 4
images = torch.randn(1000, 20) + torch.randn(4, 20)[labels]
data = TensorDataset(images, labels)
data.targets = labels.tolist()
benchmark = nc_benchmark(data, data, 1, task_labels=False)
(experience,) = benchmark.train_stream
model = nn.Linear(20, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(300):  # near a minimum the gradients of single images cancel
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()

ewc = EWCPlugin(ewc_lambda=1.0)
sums = {}
for size in (1, 10, 100, 1000):
    importances = ewc.compute_importances(
        model, nn.CrossEntropyLoss(), optimizer, experience.dataset, "cpu", size
    )
    sums[size] = sum(float(of.data.sum()) for of in importances.values())
print("sum of importances of one model on the same 1,000 images, by batch size:")
for size, total in sums.items():
    less = "" if size == 1 else f" ({sums[1] / total:.0f} times less)"
    print(f"{size:4}: {total:.6f}{less}")
assert sums[1] > 5 * sums[10] > 5 * 2 * sums[100] > 5 * 2 * 5 * sums[1000]
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/body.py"
