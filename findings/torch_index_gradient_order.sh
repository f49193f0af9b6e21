#!/usr/bin/env bash
# torch 2.14.1 (CPU build or any other), two threads, on a CPU.
#
# The gradient of x[index] with repeated rows is not the same twice: from 32,768 numbers of the
# gathered tensor on, PyTorch adds the repeated rows up in any order. The gradients of
# x.index_select(0, index), x.gather and embedding(index, x), which are the same sum, are. PyTorch's
# notes on reproducibility name operations without a deterministic form on CUDA devices; this one is
# on a CPU. One thread, or torch.use_deterministic_algorithms(True), gives one gradient.
#
# Losses that gather pairs or triplets by index (pytorch-metric-learning's) inherit it: training on
# two cores with all seeds set does not repeat.
#
# Seen, distinct gradients in 30 repetitions:
#    rows   numbers   x[index]   index_select   gather   embedding
#     511     32,704        1              1        1           1
#     512     32,768       16              1        1           1
#  92,000  5,888,000       30              1        1           1
#
# Exits with 1 if x[index] gives one gradient, or another of the three, or the deterministic mode,
# more than one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import torch

torch.set_num_threads(2)
generator = torch.Generator().manual_seed(0)
x = torch.randn(130, 64, generator=generator, requires_grad=True)
ROWS = 92_000
index = torch.randint(0, 130, (ROWS,), generator=generator)
weights = torch.randn(ROWS, 64, generator=generator)
GATHERS = {
    "x[index]": lambda n: x[index[:n]],
    "index_select": lambda n: x.index_select(0, index[:n]),
    "gather": lambda n: x.gather(0, index[:n, None].expand(-1, 64)),
    "embedding": lambda n: torch.nn.functional.embedding(index[:n], x),
}


def distinct(name, n):
    gradients = set()
    for _ in range(30):
        loss = (GATHERS[name](n) * weights[:n]).sum()
        gradients.add(torch.autograd.grad(loss, x)[0].numpy().tobytes())
    return len(gradients)


seen = {(name, n): distinct(name, n) for n in (511, 512, ROWS) for name in GATHERS}
for key, number in seen.items():
    print(*key, number)
torch.use_deterministic_algorithms(True)
deterministic = distinct("x[index]", ROWS)
print("x[index], deterministic", deterministic)
assert seen.pop(("x[index]", ROWS)) > 1, "x[index] has one gradient now"
seen.pop(("x[index]", 512))  # several, as a rule
assert set(seen.values()) == {1}, "others have several"
assert deterministic == 1
PYTHON
