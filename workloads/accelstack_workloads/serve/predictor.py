"""Computes predictions off the event loop, with a bound on how many requests wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus

import torch

from accelstack_workloads.model_format import Model
from accelstack_workloads.serve.protocol import RequestError
from accelstack_workloads.tensors import Arrays

MAX_WAITING = 256


class Predictor:
    """One model behind one worker thread: arrays in, arrays out.

    Args:
        model: the model, in evaluation mode.
        max_waiting: how many requests may be in the server at once; more are refused.
    """

    def __init__(self, model: Model, max_waiting: int = MAX_WAITING) -> None:
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

    async def predict(self, inputs: Arrays) -> Arrays:
        """The model's outputs for its inputs, by name; batches first."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._forward, inputs)

    def warm_up(self) -> None:
        """Runs the model once, so that the first request does not pay for torch's own start."""
        self._worker.submit(self._forward, {spec.name: spec.sample() for spec in self._model.inputs}).result()

    def close(self) -> None:
        """Ends the worker thread after what it is computing; what still waits is dropped."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _forward(self, inputs: Arrays) -> Arrays:
        return run(self._model, inputs)


@torch.inference_mode()
def run(model: Model, inputs: Arrays) -> Arrays:
    """What a model makes of inputs, by name, as arrays."""
    # torch.tensor copies: arrays over a request's bytes are read-only, which torch cannot express.
    outputs = model(*(torch.tensor(inputs[spec.name]) for spec in model.inputs))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return {spec.name: output.numpy() for spec, output in zip(model.outputs, outputs, strict=True)}
