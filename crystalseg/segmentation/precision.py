"""The number type in which networks compute."""

import torch


def best_device() -> torch.device:
    """Return a GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device) -> torch.autocast:
    """Return bf16 autocast where the hardware computes in bf16; on other hardware bf16 would only be slower."""
    return torch.autocast(device.type, torch.bfloat16, enabled=computes_in_bf16(device))


def computes_in_bf16(device: torch.device) -> bool:
    """Return whether the hardware computes in bf16."""
    return device.type == "cuda" or (torch.backends.cpu.get_cpu_capability() == "AVX512" and _has_bf16())


def words(device: torch.device, exact: bool = False) -> str:
    """Return the device and number type of the networks, for the record; `exact`: float32 everywhere."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return f"{name}, {'bfloat16' if computes_in_bf16(device) and not exact else 'float32'}"


def _has_bf16() -> bool:
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(check and check())
