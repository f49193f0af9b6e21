#!/usr/bin/env bash
# dill cannot pickle any of torch's optimizers, so Avalanche's save_checkpoint saves no strategy.
#
# Versions: Python 3.11, torch 2.14.1, dill 0.4.1, typing_extensions 4.16.0 (the pickler of Avalanche
# 0.6.0's `save_checkpoint` is dill).
#
# torch/optim/__init__.py deletes its submodules' names, so that `torch.optim.sgd` is in sys.modules
# but no attribute of `torch.optim`. dill looks a class up by attributes, does not find
# `torch.optim.sgd.SGD`, and pickles the class by value: its functions, their globals, and with them
# parts of typing_extensions, whose `sentinel` shadows its own name and cannot be pickled. The
# standard pickle, which looks modules up in sys.modules, pickles the same optimizer by reference, and
# so does dill with `byref=True`.
#
# Seen:
#   torch.optim has sgd: False, sys.modules has torch.optim.sgd: True
#   pickle: ok
#   dill: PicklingError: Can't pickle sentinel: it's not the same object as typing_extensions.sentinel
#   dill, byref=True: ok
#
# Way out: save_checkpoint(strategy, file, exclude=["optimizer"]), and the optimizer's state_dict
# beside it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 dill==0.4.1 typing_extensions==4.16.0
cat > "$folder/optimizers.py" <<'PYTHON'
import pickle
import sys
import warnings

import dill
import torch

warnings.simplefilter("ignore")


def tried(name, dump):
    try:
        dump(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1))
    except pickle.PicklingError as error:
        outcome = f"PicklingError: {error}"
    else:
        outcome = "ok"
    print(f"{name}: {outcome}")
    return outcome


has_name = hasattr(torch.optim, "sgd")
print(f"torch.optim has sgd: {has_name}, sys.modules has torch.optim.sgd:", end=" ")
print("torch.optim.sgd" in sys.modules)
assert not has_name
assert tried("pickle", pickle.dumps) == "ok"
assert "typing_extensions.sentinel" in tried("dill", dill.dumps)
assert tried("dill, byref=True", lambda it: dill.dumps(it, byref=True)) == "ok"
PYTHON
"$folder/venv/bin/python" "$folder/optimizers.py"
