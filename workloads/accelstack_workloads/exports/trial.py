"""Inputs for trying a model out, and whether a form of it gives what the model gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.models.model import Model
from accelstack_workloads.serve.predictor import run
from accelstack_workloads.tensors import Arrays, TensorSpec

TOLERANCE = 1e-4
"""Difference that is taken, of values up to 1; of larger ones, in proportion. Sums in another order differ by 1e-6."""
BATCHES = (1, 2, 7)
LENGTHS = (1.0, 0.5)
"""Shares of the longest that a varying size may be."""
MISSING = 0.1
"""Share of the values that are missing where they may be."""


def inputs(specs: Sequence[TensorSpec], batch: int, length: float = 1.0, seed: int = 0) -> Arrays:
    """Random values that the specs allow, by name.

    Args:
        specs: of a model's inputs.
        batch: samples.
        length: share of the longest that a varying size may be.
        seed: of the values.
    """
    generator = np.random.default_rng(seed)
    return {spec.name: _values(spec, batch, length, generator) for spec in specs}


def differences(model: Model, form: Callable[[Arrays], Arrays], name: str) -> float:
    """The largest difference between a model's outputs and those of a form of it, over several batch sizes and lengths.

    Raises:
        WorkloadError: it is above the tolerance, or the outputs have other shapes.
    """
    largest = 0.0
    varying = any(size < 0 for spec in model.inputs for size in spec.shape)
    for batch in BATCHES:
        for length in LENGTHS if varying else LENGTHS[:1]:
            tried = inputs(model.inputs, batch, length, seed=batch)
            found = form(tried)
            for output, expected in run(model, tried).items():
                largest = max(largest, _difference(found[output], expected, f"{name}: {output} of a batch of {batch}"))
    return largest


def _difference(found: np.ndarray, expected: np.ndarray, what: str) -> float:
    if found.shape != expected.shape:
        raise WorkloadError(f"--format {what} has shape {found.shape}, the model's has {expected.shape}; leave it out")
    apart = float(np.nanmax(np.abs(found.astype(np.float64) - expected), initial=0.0))
    if not np.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
        raise WorkloadError(
            f"--format {what} differs from the model's by {apart:.2g}, more than {TOLERANCE:g}; leave that format out"
        )
    return apart


def _values(spec: TensorSpec, batch: int, length: float, generator: np.random.Generator) -> np.ndarray:
    shape = (batch, *(max(1, round(spec.longest * length)) if size < 0 else size for size in spec.shape))
    if spec.datatype == "INT64":
        low, high = int(spec.least or 0), int(spec.most if spec.most is not None else 1)
        return generator.integers(low, high, shape, spec.dtype, endpoint=True)
    if spec.least is None or spec.most is None:
        values = generator.standard_normal(shape)
    else:
        values = generator.uniform(spec.least, spec.most, shape)
    if spec.missing:
        values[generator.random(shape) < MISSING] = np.nan
    return values.astype(spec.dtype)
