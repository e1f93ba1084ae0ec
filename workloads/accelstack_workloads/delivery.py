"""What a run leaves behind when it is done: the model, and what became of the run."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from accelstack_workloads import model_format
from accelstack_workloads.models.model import Model
from accelstack_workloads.progress import say
from accelstack_workloads.run_folder import RunFolder


def deliver(trained: Model, weights: dict[str, torch.Tensor], result: dict[str, Any], run: RunFolder) -> None:
    """Writes the model directory and, last, `training.json`.

    Args:
        trained: says what model it is.
        weights: of its whole network, on the CPU.
        result: of the run: `settings`, `metrics`, `seconds` and more; JSON alone.
        run: where they go.

    Raises:
        WorkloadError: they cannot be written.
    """
    metrics = result["metrics"]
    # Only what a second run would repeat goes into the model, so that its digest is the same then.
    about = {"settings": result["settings"], "metrics": metrics}
    model = model_format.build(replace(trained.description, training=about))
    model.network.load_state_dict(weights)
    model_format.save(model, run.model)
    run.write_result(
        {
            **result,
            "model": {"path": str(run.model), "digest": model_format.digest(run.model)},
            "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        }
    )
    score = f"{model.score} {metrics[model.score]:.3f}"
    say(f"trained {run.model}: {score} on the training {model.unit}, {result['seconds']:.1f} s")
