"""Which precision a device computes in at full speed."""

from __future__ import annotations

import os

import torch

from simo_cl.models import Precision


def precision_of(device: torch.device) -> Precision:
    """What ``model.precision: auto`` stands for on a device."""
    return "bfloat16" if has_bfloat16(device) else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether convolutions on the device have bfloat16 in hardware.

    On a CPU they are oneDNN's, which emulates it where the instructions are missing, or where
    ``ONEDNN_MAX_CPU_ISA`` forbids them; on a GPU without it, so does CUDA.
    """
    if device.type == "cuda":
        # Where there is none, it is a cluster's: those made since 2020 have it.
        return not torch.cuda.is_available() or torch.cuda.is_bf16_supported(
            including_emulation=False
        )
    return device.type == "cpu" and cpu_has_bfloat16()


def cpu_has_bfloat16() -> bool:
    """Whether oneDNN's convolutions have bfloat16 in this CPU's hardware."""
    # The instruction set that oneDNN is told not to go beyond, if it is told any.
    most = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    return (
        bool(_bfloat16_instructions())
        # Not enough alone: oneDNN also says so where it emulates bfloat16 by AVX-512.
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        and most.upper() not in _WITHOUT_BFLOAT16
    )


def instruction_set() -> str:
    """What torch and oneDNN compute with on this CPU, such as ``AVX512 with AVX512_BF16``."""
    vectors, names = torch.backends.cpu.get_cpu_capability(), _bfloat16_instructions()
    if not names:
        return vectors
    unused = "" if cpu_has_bfloat16() else ", which oneDNN does not use"
    return f"{vectors} with {' and '.join(names)}{unused}"


def slowness_of(precision: str, device: torch.device) -> str | None:
    """What to know before a run that computes in a precision which the device has to emulate."""
    if precision != "bfloat16" or has_bfloat16(device) or device.type not in ("cpu", "cuda"):
        return None
    if device.type == "cuda":
        return (
            f"model.precision is bfloat16, which {torch.cuda.get_device_name(device)} has not in "
            "hardware: it is slower than float32 there, which --set model.precision=float32 "
            "chooses"
        )
    return (
        f"model.precision is bfloat16, which this CPU's convolutions ({instruction_set()}) have "
        "not in hardware: training takes about 10 times as long as in float32 on one thread, 40 "
        "times on two. --set model.precision=float32 chooses that"
    )


_WITHOUT_BFLOAT16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"}


def _bfloat16_instructions() -> list[str]:
    """Those that the CPU has, by their usual names."""
    there = {
        "AVX512_BF16": torch.cpu._is_avx512_bf16_supported(),
        "AMX": torch.cpu._is_amx_tile_supported(),
    }
    return [name for name, has in there.items() if has]
