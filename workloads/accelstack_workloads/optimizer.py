"""The optimiser of a training run, and its state as named tensors."""

from __future__ import annotations

import torch

WEIGHT_DECAY = 0.01


def adamw(network: torch.nn.Module) -> torch.optim.AdamW:
    """AdamW over the network's weights, its state in place before the first step as it is made at that step.

    So a checkpoint has the same tensors at every step, and loading one is filling them.
    """
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY, fused=True)
    for weight in network.parameters():
        optimizer.state[weight] = {
            "step": torch.zeros((), dtype=torch.float32, device=weight.device),
            "exp_avg": torch.zeros_like(weight, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(weight, memory_format=torch.preserve_format),
        }
    return optimizer


def state_by_name(optimizer: torch.optim.Optimizer, network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The optimiser's tensors themselves, by the names of the weights that they belong to."""
    names = dict[torch.Tensor, str]((weight, name) for name, weight in network.named_parameters())
    return {
        f"{names[weight]}.{key}": value for weight, state in optimizer.state.items() for key, value in state.items()
    }
