"""How the processes of a group share one network: each has the whole of it, or all have a part each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from accelstack_workloads.group import Group

CONTAINERS = (torch.nn.ModuleList, torch.nn.Sequential)


def shard(network: torch.nn.Module, group: Group, numbers: torch.dtype | None) -> None:
    """Spreads a network's weights over the processes, block by block (FSDP2, https://arxiv.org/abs/2304.11277).

    Args:
        network: still the same in all processes.
        group: the processes.
        numbers: that it computes in; those of its weights if None. Gradients are summed in float32.
    """
    mesh = init_device_mesh(group.device.type, (group.size,))
    policy = MixedPrecisionPolicy(param_dtype=numbers, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for module in (*blocks(network), network):
        # Also the outermost gives its weights back after a pass forward: one without a pass backward may follow.
        fully_shard(module, mesh=mesh, mp_policy=policy, reshard_after_forward=True)


def blocks(network: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """The parts of a network that follow each other in its lists, and have weights; the outermost of them."""
    for child in network.children():
        if isinstance(child, CONTAINERS):
            yield from (part for part in child if any(True for _ in part.parameters()))
        else:
            yield from blocks(child)


def replicate(network: torch.nn.Module) -> DistributedDataParallel:
    """A network that each process has the whole of, and whose gradients they sum up."""
    return DistributedDataParallel(network, gradient_as_bucket_view=True)


@contextmanager
def adding_up(network: torch.nn.Module) -> Iterator[None]:
    """Within it, the processes do not sum up their gradients: more will come."""
    if isinstance(network, DistributedDataParallel):
        with network.no_sync():
            yield
    elif isinstance(network, FSDPModule):
        network.set_requires_gradient_sync(False)
        yield
        network.set_requires_gradient_sync(True)
    else:
        yield


def whole(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors without their gradients, on the CPU, put together from all processes' parts of them.

    All processes call it, tensor after tensor in the same order.
    """
    return {
        name: (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().cpu()
        for name, tensor in tensors.items()
    }
