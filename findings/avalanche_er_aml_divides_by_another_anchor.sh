#!/usr/bin/env bash
# avalanche-lib 0.6.0 with torch 2.14.1, on a CPU.
#
# Expected: AMLCriterion's loss of the new samples is the supervised contrastive one of its paper
# (Caccia et al., ICLR 2022): for anchor i, minus the mean over its positives j of
# s_ij - log(sum_k exp(s_ik)), with s the cosine over the temperature.
# Seen: it takes s_ij - m_j - log(sum_k exp(s_jk - m_k)), with m the largest s of an anchor: each
# similarity is divided by the sum of the anchor whose number is its column's, another one, and in
# that sum each term is scaled by the maximum of yet another. Maxima and sums of the rows are
# subtracted without keepdim, so that they broadcast along the rows; as there are as many anchors as
# samples to compare them with, no shape is wrong.
#
# Output seen:
#   Avalanche's loss of the new samples: 6.3042
#   the paper's, each over its own anchor's sum: 6.1347
#   each over the sum of the anchor of its column: 6.3042
#
# Ends with an error if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 avalanche-lib==0.6.0
cat > "$folder/body.py" <<'PYTHON'
import torch
from avalanche.training.regularization import AMLCriterion
from torch.nn import functional as F

torch.manual_seed(0)
new, new_labels = torch.randn(4, 5), torch.tensor([2, 3, 2, 2])
held, held_labels = torch.randn(6, 5), torch.tensor([2, 2, 2, 3, 3, 3])
scores, labels = torch.randn(3, 4), torch.tensor([0, 1, 2])

# Which samples are compared with the new ones is drawn at random: note the draws.
drawn = []
multinomial = torch.multinomial


def noting(*arguments):
    drawn.append(multinomial(*arguments))
    return drawn[-1]


torch.multinomial = noting
criterion = AMLCriterion(feature_extractor=torch.nn.Identity(), temp=0.1, base_temp=0.1)
tasks = torch.zeros(4, dtype=torch.long), torch.zeros(6, dtype=torch.long)
loss = criterion(new, new_labels, tasks[0], scores, labels, (held, held_labels, tasks[1]))
found = loss - F.cross_entropy(scores, labels)

chosen = torch.cat(drawn).squeeze(1)
anchors, anchor_labels = new.repeat(2, 1), new_labels.repeat(2)
s = F.normalize(anchors, dim=1) @ F.normalize(held[chosen], dim=1).T / 0.1
positive = anchor_labels[:, None] == held_labels[chosen]


def mean_over_positives(log_share):
    return -((positive * log_share).sum(1) / positive.sum(1)).mean()


paper = mean_over_positives(s - s.logsumexp(1)[:, None])
shifted = s - s.max(1).values
other = mean_over_positives(shifted - shifted.logsumexp(1))
print(f"Avalanche's loss of the new samples: {found:.4f}")
print(f"the paper's, each over its own anchor's sum: {paper:.4f}")
print(f"each over the sum of the anchor of its column: {other:.4f}")
assert abs(found - other) < 1e-3 and abs(found - paper) > 0.1
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/body.py"
