"""In which numbers a network computes; its weights stay in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from accelstack_workloads.errors import WorkloadError


def computing(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Within it, a network computes in that precision; `auto` is bfloat16 where the hardware has it.

    Raises:
        WorkloadError: bfloat16 is asked for, and the hardware lacks it.
    """
    chosen = numbers(precision, device)
    return torch.autocast(device.type, chosen) if chosen else nullcontext()


def numbers(precision: str, device: torch.device) -> torch.dtype | None:
    """The numbers that a network computes in where they are not those of its weights; else None.

    Raises:
        WorkloadError: bfloat16 is asked for, and the hardware lacks it.
    """
    if precision == "float32":
        return None
    if not _has_bfloat16(device):
        if precision == "auto":
            return None
        raise WorkloadError(
            f"--precision: bfloat16 is asked for, and this machine's {device.type} lacks it; use float32 or auto"
        )
    return torch.bfloat16


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
