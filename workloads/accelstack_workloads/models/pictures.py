"""Workload `vision`: pictures to probabilities of classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional

from accelstack_workloads.model_files import ModelDescription
from accelstack_workloads.models import classes, probabilities
from accelstack_workloads.models.cnn import Cnn
from accelstack_workloads.models.model import Arrays, Feed, Model, Outcome, Tensors
from accelstack_workloads.models.resnet import ResNet18
from accelstack_workloads.sampling import Augmentation
from accelstack_workloads.tensors import TensorSpec

BATCH_SIZE = 500  # pictures that are evaluated at once
LABEL_SMOOTHING = 0.05


class PictureFeed(Feed):
    """Pictures, each a little altered whenever it is seen."""

    def __init__(self, samples: Tensors, facts: Mapping[str, Any], seed: int) -> None:
        super().__init__(samples, facts, seed)
        self.augmentation = Augmentation(tuple(facts["shape"]), seed)

    @property
    def count(self) -> int:
        return len(self.samples["labels"])

    def batch(self, indices: torch.Tensor, mine: slice, epoch: int, step: int) -> tuple[torch.Tensor, ...]:
        """Pictures [share, channels, height, width] with values in 0..1, and labels [share]."""
        choices = self.augmentation.draw(epoch, step, len(indices))[mine]
        chosen = indices[mine].to(self.samples["labels"].device)
        images = self.augmentation.apply(self.samples["images"][chosen].float() / 255, choices)
        return images, self.samples["labels"][chosen]


class PictureClassifier(Model):
    """Pictures with pixel values in 0..1 in, class probabilities out."""

    networks: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {"cnn": Cnn, "resnet18": ResNet18}
    feed = PictureFeed
    unit = "images"
    same_facts = ("classes", "shape")
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, description: ModelDescription) -> None:
        super().__init__(description)
        for name in ("mean", "std"):
            statistic = torch.tensor(description.facts[name]).view(-1, 1, 1)
            self.register_buffer(name, statistic, persistent=False)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        shape = tuple(self.description.facts["shape"])
        wanted = "pixel values in 0..1 (divide by 255 where they are bytes; the model normalises by itself)"
        return (TensorSpec("image", "FP32", shape, least=0, most=1, wanted=wanted),)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return (TensorSpec("probabilities", "FP32", (len(self.description.facts["classes"]),)),)

    def logits(self, images: torch.Tensor, network: nn.Module | None = None) -> torch.Tensor:
        """Logits [batch, classes] of pictures [batch, channels, height, width] with values in 0..1."""
        return (network or self.network)((images - self.mean) / self.std)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities [batch, classes] of pictures [batch, channels, height, width] with values in 0..1."""
        return self.logits(images).softmax(dim=1)

    def outcome(self, network: nn.Module, *batch: torch.Tensor) -> Outcome:
        images, labels = batch
        logits = self.logits(images, network)
        loss = functional.cross_entropy(logits, labels, label_smoothing=LABEL_SMOOTHING)
        return classes.outcome(loss, logits, labels)

    def evaluate(self, held_out: Arrays) -> dict[str, Any]:
        """Accuracy, macro F1, ROC-AUC and calibration error, precision, recall and F1 per class, and the confusion
        matrix."""
        images = torch.from_numpy(held_out["images"])
        with torch.inference_mode():
            answers = torch.cat([self(some.float() / 255) for some in images.split(BATCH_SIZE)]).numpy()
        return probabilities.scores(held_out["labels"], answers, self.description.facts["classes"])

    @staticmethod
    def pictures(evaluation: dict[str, Any]) -> dict[str, bytes]:
        return probabilities.pictures(evaluation)

    @staticmethod
    def table(evaluation: dict[str, Any]) -> str:
        return probabilities.table(evaluation)
