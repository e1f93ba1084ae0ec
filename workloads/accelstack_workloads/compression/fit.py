"""Trains a small model on: after pruning, and as the student of a larger one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from accelstack_workloads.datasets.prepared import Prepared
from accelstack_workloads.models.model import Model
from accelstack_workloads.optimizer import WEIGHT_DECAY
from accelstack_workloads.progress import Progress
from accelstack_workloads.sampling import batch, order
from accelstack_workloads.train import WORTH_THREADS

WARM_UP = 0.1
TEMPERATURE = 2.0
TAUGHT = 0.7
"""Share of the loss that is the teacher's."""


@dataclass(frozen=True)
class Course:
    """How a model is trained.

    Attributes:
        epochs: passes over the training samples.
        batch_size: samples per step.
        learning_rate: highest value of the one cycle.
        seed: of the order of the samples and how they are altered.
        shows: whether progress is printed.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    shows: bool


def fit(model: Model, data: Prepared, course: Course, teacher: Model | None = None) -> None:
    """Trains the model in place; it ends in evaluation mode.

    Args:
        model: to train.
        data: the prepared samples, of which the training part is used.
        course: how.
        teacher: whose outputs the model is to match too.
    """
    samples = {name: torch.from_numpy(array) for name, array in data.train.items()}
    feed = model.feed(samples, data.facts, course.seed)
    steps = math.ceil(feed.count / course.batch_size)
    model.to(memory_format=torch.channels_last).train()
    if sum(each.numel() for each in model.parameters()) * course.batch_size < WORTH_THREADS:
        torch.set_num_threads(1)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=WEIGHT_DECAY, fused=True)
    rate = course.learning_rate
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, course.epochs * steps, pct_start=WARM_UP)
    heard = Heard(model.network)
    taught = Heard(teacher.network) if teacher else None
    progress = Progress(course.epochs, course.epochs * steps * course.batch_size, model.unit, model.score, course.shows)
    for epoch in range(course.epochs):
        indices = order(course.seed, epoch, feed.count)
        loss = right = count = 0.0
        for step in range(steps):
            parts = feed.batch(batch(indices, step, course.batch_size), slice(None), epoch, step)
            outcome = model.outcome(heard, *parts)
            total = outcome.loss
            if teacher and taught:
                with torch.no_grad():
                    teacher.outcome(taught, *parts)
                total = (1 - TAUGHT) * total + TAUGHT * lesson(heard.output, taught.output)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            schedule.step()
            counted = outcome.count.item()
            loss, right, count = loss + outcome.loss.item() * counted, right + outcome.right.item(), count + counted
            progress.add(course.batch_size)
        progress.show(epoch, loss / count, right / count)
    model.eval()


class Heard(nn.Module):
    """A network whose last output can be looked at.

    Args:
        network: it.
    """

    output: torch.Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Any) -> Any:
        """What the network gives."""
        given = self.network(*inputs)
        self.output = given[0] if isinstance(given, tuple) else given
        return given


def lesson(output: torch.Tensor, teachers: torch.Tensor) -> torch.Tensor:
    """How far a student's outputs are from its teacher's.

    Of logits [..., classes], the Kullback-Leibler divergence at a temperature, times its square, which keeps the
    gradients' size (Hinton et al., Distilling the Knowledge in a Neural Network, 2015,
    https://arxiv.org/abs/1503.02531); of single values [..., 1], the mean square.
    """
    if output.shape[-1] == 1:
        return functional.mse_loss(output, teachers)
    student, teacher = ((each / TEMPERATURE).log_softmax(-1).flatten(0, -2) for each in (output, teachers))
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True) * TEMPERATURE**2
