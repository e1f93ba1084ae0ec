"""Computes predictions off the event loop, with a bound on how many requests wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus

import numpy as np
import torch

from accelstack_workloads.model_format import Classifier
from accelstack_workloads.serve.protocol import RequestError

MAX_WAITING = 256


class Predictor:
    """One model behind one worker thread: arrays in, arrays out.

    Args:
        model: the classifier, in evaluation mode.
        max_waiting: how many requests may be in the server at once; more are refused.
    """

    def __init__(self, model: Classifier, max_waiting: int = MAX_WAITING) -> None:
        self._model = model
        self._max_waiting = max_waiting
        # One thread: torch itself spreads one forward pass over cores, and two at once would only fight for them.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predictor")
        self.waiting = 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """A place for one request, from before its body is read until its answer is made, so that memory is bounded.

        Raises:
            RequestError: all places are taken.
        """
        if self.waiting >= self._max_waiting:
            raise RequestError(
                f"server: {self.waiting} requests are waiting, the limit; send it again in a second",
                HTTPStatus.SERVICE_UNAVAILABLE,
            )
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    async def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities FP32 [batch, classes] of pictures FP32 [batch, channels, height, width] with values in 0..1."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._forward, images)

    def warm_up(self) -> None:
        """Runs the model once, so that the first request does not pay for torch's own start."""
        shape = self._model.description.shape
        self._worker.submit(self._forward, np.zeros((1, *shape), np.float32)).result()

    def close(self) -> None:
        """Ends the worker thread after what it is computing; what still waits is dropped."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    @torch.inference_mode()
    def _forward(self, images: np.ndarray) -> np.ndarray:
        # torch.tensor copies: arrays over a request's bytes are read-only, which torch cannot express.
        return self._model(torch.tensor(images)).numpy()
