#!/usr/bin/env bash
# scikit-learn 1.9.1 with numpy 2.4.6, on a CPU.
#
# Expected: TSNE(max_iter=250), the smallest number that it takes, leaves in kl_divergence_ "the
# Kullback-Leibler divergence after optimization", as every other number does, so that short layouts
# can be compared by it.
# Seen: it is the largest float, 1.8e308, for both methods. All 250 steps are those of the early
# exaggeration, after which the divergence is counted by the steps that follow alone; with max_iter=251
# there is one, and a divergence.
#
# Output seen:
#   barnes_hut: 1.7976931348623157e+308 after 250 steps, 1.956 after 251
#   exact: 1.7976931348623157e+308 after 250 steps, 1.910 after 251
#
# Ends with an error if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scikit-learn==1.9.1 numpy==2.4.6
cat > "$folder/body.py" <<'PYTHON'
import sys

from sklearn.datasets import load_digits
from sklearn.manifold import TSNE

points = load_digits().data[:200]
for method in ("barnes_hut", "exact"):
    short, longer = (
        TSNE(max_iter=steps, method=method, init="pca", random_state=0).fit(points).kl_divergence_
        for steps in (250, 251)
    )
    print(f"{method}: {short} after 250 steps, {longer:.3f} after 251")
    assert short == sys.float_info.max and 0 < longer < 10
PYTHON
"$folder/venv/bin/python" "$folder/body.py"
