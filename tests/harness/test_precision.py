"""The precision that hardware computes in at full speed."""

from __future__ import annotations

import pytest
import torch

from simo_cl.harness.precision import has_bfloat16, instruction_set, precision_of, slowness_of

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch):
    """Makes torch and oneDNN report a CPU."""

    def report(vectors: str, *, avx512_bf16=False, amx=False, onednn=True, at_most="") -> None:
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: vectors)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)
        monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", at_most)

    return report


@pytest.mark.parametrize(
    ("reported", "precision", "named"),
    [
        ({"vectors": "AVX2", "onednn": False}, "float32", "AVX2"),
        ({"vectors": "AVX512"}, "float32", "AVX512"),
        ({"vectors": "AVX512", "avx512_bf16": True}, "bfloat16", "AVX512 with AVX512_BF16"),
        ({"vectors": "AVX512", "amx": True}, "bfloat16", "AVX512 with AMX"),
        (
            {"vectors": "AVX512", "avx512_bf16": True, "amx": True, "at_most": "AVX512_CORE_BF16"},
            "bfloat16",
            "AVX512 with AVX512_BF16 and AMX",
        ),
        (
            {"vectors": "AVX512", "avx512_bf16": True, "at_most": "avx512_core_vnni"},
            "float32",
            "AVX512 with AVX512_BF16, which oneDNN does not use",
        ),
        (
            {"vectors": "AVX512", "avx512_bf16": True, "onednn": False, "at_most": "AVX2"},
            "float32",
            "AVX512 with AVX512_BF16, which oneDNN does not use",
        ),
        ({"vectors": "DEFAULT", "onednn": False}, "float32", "DEFAULT"),
    ],
)
def test_a_cpu_has_bfloat16_where_its_convolutions_have(cpu, reported, precision, named) -> None:
    cpu(**reported)
    assert precision_of(CPU) == precision
    assert instruction_set() == named


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_has_bfloat16_where_it_does_not_emulate_it(monkeypatch, native) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: native or including_emulation
    )
    assert has_bfloat16(CUDA) is native


def test_other_devices_compute_in_float32() -> None:
    assert precision_of(torch.device("meta")) == "float32"


def test_emulation_on_a_cpu_is_warned_of_with_the_hardware_and_the_slowdown(cpu) -> None:
    cpu("AVX2", onednn=False)
    message = slowness_of("bfloat16", CPU)
    assert message is not None
    assert "this CPU's convolutions (AVX2) have not in hardware" in message
    assert "10 times as long as in float32 on one thread, 40 times on two" in message
    assert "--set model.precision=float32" in message
    assert slowness_of("float32", CPU) is None


def test_bfloat16_in_hardware_is_not_warned_of(cpu) -> None:
    cpu("AVX512", avx512_bf16=True)
    assert slowness_of("bfloat16", CPU) is None


def test_emulation_on_a_gpu_is_warned_of_with_its_name(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    message = slowness_of("bfloat16", CUDA)
    assert message is not None
    assert "which Tesla T4 has not in hardware" in message
