"""What both protocols serve from."""

from __future__ import annotations

from dataclasses import dataclass

from accelstack_workloads.model_format import ModelDescription
from accelstack_workloads.serve.metrics import Metrics
from accelstack_workloads.serve.predictor import Predictor
from accelstack_workloads.serve.protocol import ModelInterface


@dataclass(frozen=True)
class Service:
    """One loaded model, ready to answer."""

    model: ModelInterface
    description: ModelDescription
    predictor: Predictor
    metrics: Metrics
