"""The number type networks compute in."""

import torch


def autocast(device: torch.device) -> torch.autocast:
    """bf16 where the hardware computes in it; elsewhere it would only be slower."""
    native = device.type == "cuda" or (torch.backends.cpu.get_cpu_capability() == "AVX512" and _has_bf16())
    return torch.autocast(device.type, torch.bfloat16, enabled=native)


def _has_bf16() -> bool:
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(check and check())
