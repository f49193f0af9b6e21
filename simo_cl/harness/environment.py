"""What a result depends on besides its settings."""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

import simo_cl
from simo_cl.harness.precision import instruction_set
from simo_cl.harness.quick_checks import DEVICES, refuse_other_device
from simo_cl.harness.suite_file import SuiteError


def describe_environment(device: torch.device, threads: int) -> dict[str, Any]:
    """Versions and hardware, as stored with every run."""
    return {
        "simo_cl": simo_cl.__version__,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "avalanche": version("avalanche-lib"),
        "pytorch_metric_learning": version("pytorch-metric-learning"),
        "platform": platform.platform(terse=True),
        "cpu": cpu_name(),
        "instruction_set": instruction_set(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "threads": threads,
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
    }


def compute_deterministically(device: torch.device) -> None:
    """Lets every sum add up in the same order each time, for the whole process.

    A GPU would not by itself, nor would a CPU of several threads in the gradient of ``x[index]``,
    which losses that gather pairs or triplets take. Where an operation cannot, PyTorch warns.
    """
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if device.type == "cuda":
        # Read when a device is first used for matrix products.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False


def choose_device(name: str) -> torch.device:
    """The device named by ``--device``, or with ``"auto"`` a CUDA GPU where there is one.

    Raises:
        SuiteError: no such device here, or of a kind that runs are not made for.
    """
    refuse_other_device(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise SuiteError(
            f"--device: device {name!r} cannot be used here: {reason}; {DEVICES}"
        ) from None
    return torch.device(name)


def cpu_name() -> str:
    """The processor's, as it says itself."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
