#!/usr/bin/env bash
# pytorch-metric-learning 2.9.0 with torch 2.14.1, on a CPU.
#
# Expected: SupConLoss is the loss of Khosla et al., also for a batch of one class, as the first batches
# of a class-incremental stream with one class an experience are: the mean over anchors of minus the
# mean log softmax of their positives, about log(N - 1) for N embeddings that do not agree.
# Seen: without any pair of different classes SupConLoss and NTXentLoss give 0 and a gradient of 0, whatever
# the embeddings, so that such an experience trains nothing. With one sample of another class the
# value is that of the formula. MultiSimilarityLoss and ContrastiveLoss do pull the one class together.
#
# Output seen:
#   one class, formula: 3.734
#   one class, SupConLoss: 0.000, gradient 0.000
#   one class, NTXentLoss: 0.000, gradient 0.000
#   one class, MultiSimilarityLoss: 1.589, gradient 2.019
#   one class, ContrastiveLoss: 1.441, gradient 1.358
#   one sample of another class, formula: 3.671, SupConLoss: 3.671
#
# Ends with an error if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 pytorch-metric-learning==2.9.0
cat > "$folder/body.py" <<'PYTHON'
import torch
from pytorch_metric_learning import losses
from torch.nn.functional import normalize

TEMPERATURE = 0.1


def formula(points, labels):
    """Over the anchors that have a positive."""
    itself = torch.eye(len(points), dtype=torch.bool)
    similarity = (points @ points.T / TEMPERATURE).masked_fill(itself, -torch.inf)
    log_softmax = (similarity - similarity.logsumexp(1, keepdim=True)).masked_fill(itself, 0)
    positive = (labels[:, None] == labels) & ~itself
    have = positive.any(1)
    return -((log_softmax * positive).sum(1)[have] / positive.sum(1)[have]).mean()


torch.manual_seed(0)
points = normalize(torch.randn(8, 16), dim=1).requires_grad_()
labels = torch.zeros(8, dtype=torch.long)
print(f"one class, formula: {formula(points, labels):.3f}")
for name in ("SupConLoss", "NTXentLoss", "MultiSimilarityLoss", "ContrastiveLoss"):
    kind = getattr(losses, name)
    loss = kind(temperature=TEMPERATURE) if name in ("SupConLoss", "NTXentLoss") else kind()
    value = loss(points, labels)
    (gradient,) = torch.autograd.grad(value, points)
    size = gradient.abs().sum()
    print(f"one class, {name}: {value:.3f}, gradient {size:.3f}")
    assert (value == 0 and size == 0) == (name in ("SupConLoss", "NTXentLoss"))
labels = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1])
ours, theirs = formula(points, labels), losses.SupConLoss(temperature=TEMPERATURE)(points, labels)
print(f"one sample of another class, formula: {ours:.3f}, SupConLoss: {theirs:.3f}")
torch.testing.assert_close(ours, theirs)
PYTHON
"$folder/venv/bin/python" "$folder/body.py"
