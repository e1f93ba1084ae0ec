"""Structured pruning: the channels and hidden units with the smallest weights go, and the layers get smaller.

The measure is the sum of a filter's absolute weights (Li et al., Pruning Filters for Efficient ConvNets, 2017,
https://arxiv.org/abs/1608.08710). A network says in `readers` which of its layers can be narrowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from accelstack_workloads import model_format
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.models.model import Model


def sizes(model: Model, ratio: float) -> dict[str, int]:
    """Width of each layer that can be narrowed, without that share of its channels or units; one stays at least.

    Raises:
        WorkloadError: the architecture does not say which layers can be.
    """
    weights = model.network.state_dict()
    return {name: max(1, round(len(weights[f"{name}.weight"]) * (1 - ratio))) for name in _readers(model)}


def narrowed(model: Model, ratio: float) -> Model:
    """A smaller model, made of what has the largest weights; as yet it is less right than it can be.

    Raises:
        WorkloadError: the architecture does not say which layers can be narrowed.
    """
    kept_sizes = sizes(model, ratio)
    weights = {name: value.detach().clone() for name, value in model.network.state_dict().items()}
    for name, readers in _readers(model).items():
        weight = weights[f"{name}.weight"]
        importance = weight.flatten(1).abs().sum(1)
        kept = importance.topk(kept_sizes[name]).indices.sort().values
        _keep_made(weights, name, kept)
        for reader in readers:
            if isinstance(model.network.get_submodule(reader), nn.modules.batchnorm._BatchNorm):
                _keep_made(weights, reader, kept)
            else:
                _keep_read(weights, reader, kept, len(weight))
    smaller = model_format.build(replace(model.description, sizes={**model.description.sizes, **kept_sizes}))
    smaller.network.load_state_dict(weights)
    return smaller.eval()


def _readers(model: Model) -> Mapping[str, tuple[str, ...]]:
    readers: Mapping[str, tuple[str, ...]] = getattr(model.network, "readers", {})
    if not readers:
        raise WorkloadError(
            f"--method: layers of architecture {model.description.architecture} cannot be narrowed; use quantize"
        )
    return readers


def _keep_made(weights: dict[str, torch.Tensor], layer: str, kept: torch.Tensor) -> None:
    """Keeps some of what a layer makes: rows of its weight and bias, and a norm's statistics."""
    for name, value in weights.items():
        if name.rpartition(".")[0] == layer and value.dim():
            weights[name] = value[kept].contiguous()


def _keep_read(weights: dict[str, torch.Tensor], layer: str, kept: torch.Tensor, made: int) -> None:
    """Keeps what a layer takes of the channels that are kept; flattened pictures have several numbers of each."""
    weight = weights[f"{layer}.weight"]
    by_channel = weight.reshape(len(weight), made, -1)[:, kept]
    weights[f"{layer}.weight"] = by_channel.reshape(len(weight), -1, *weight.shape[2:]).contiguous()
