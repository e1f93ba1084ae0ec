"""How people ask a model: what they send for one sample, and how its answer reads."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import numpy as np

from accelstack_workloads.model_files import ModelDescription
from accelstack_workloads.tensors import Arrays

Predict = Callable[[Arrays], Awaitable[Arrays]]


class Form(ABC):
    """What people may send to a workload's models, and what they get.

    Args:
        description: of the model.
    """

    media_types: ClassVar[tuple[str, ...]]
    """What a body may be, such as `image/*`."""
    noun: ClassVar[str]
    """What they send, such as `a picture`."""
    largest: ClassVar[int]
    """Bytes that it may have."""
    page: ClassVar[str]
    """Name of the part of the page where it is entered."""

    def __init__(self, description: ModelDescription) -> None:
        self.description = description

    def warm_up(self) -> None:
        """Loads what the first sample would else wait for."""
        return

    @property
    def example(self) -> str:
        """What one could type; empty where nothing is typed."""
        return ""

    @abstractmethod
    def read(self, content: bytes) -> Arrays:
        """The model's inputs, a batch of one.

        Raises:
            RequestError: the content is not what the form takes.
        """

    @abstractmethod
    def answer(self, outputs: Arrays) -> dict[str, Any]:
        """The answer, as JSON: `classes`, the likeliest first, or `text`, or `value`."""

    async def respond(self, content: bytes, predict: Predict) -> dict[str, Any]:
        """The answer to a content, by way of the model.

        Raises:
            RequestError: the content is not what the form takes.
        """
        return self.answer(await predict(await asyncio.to_thread(self.read, content)))


def ranked(names: list[str], probabilities: np.ndarray) -> dict[str, Any]:
    """The answer of a classifier: class names with their probabilities, in 0..1, the likeliest first."""
    pairs = sorted(zip(names, probabilities.tolist(), strict=True), key=lambda pair: -pair[1])
    return {"classes": [{"label": label, "probability": probability} for label, probability in pairs]}


def line(answer: dict[str, Any]) -> str:
    """An answer on one line, for a terminal."""
    if "classes" in answer:
        first = answer["classes"][0]
        return f"{first['label']}  {first['probability']:.3f}"
    return answer["text"] if "text" in answer else f"{answer['value']:g}"
