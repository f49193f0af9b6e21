"""What all tests share."""

from __future__ import annotations

import os
import warnings

import torch
from hypothesis import settings

# One thread a process: the tests run in parallel, and sums do not depend on the machine's cores.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

# The same examples in every run, so that a failure is one for everybody.
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")

# Avalanche chooses a solver for GEM while it is imported, and says that there is none.
warnings.filterwarnings("ignore", message="no QP solver found")
