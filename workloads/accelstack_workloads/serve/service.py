"""What both protocols serve from."""

from __future__ import annotations

from dataclasses import dataclass

from accelstack_workloads.serve.form import Form
from accelstack_workloads.serve.metrics import Metrics
from accelstack_workloads.serve.predictor import Predictor
from accelstack_workloads.serve.protocol import ModelInterface


@dataclass(frozen=True)
class Service:
    """One loaded model, ready to answer."""

    model: ModelInterface
    form: Form
    predictor: Predictor
    metrics: Metrics
