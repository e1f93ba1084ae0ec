"""Answers what people send in files, as serving answers it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from accelstack_workloads import model_format
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.serve.predictor import run
from accelstack_workloads.serve.protocol import RequestError
from accelstack_workloads.tensors import Arrays
from accelstack_workloads.workloads import workload


def predict(model_folder: Path, files: list[Path]) -> list[tuple[Path, dict[str, Any]]]:
    """Each file with its answer.

    Raises:
        WorkloadError: the model or a file cannot be read.
    """
    model = model_format.load(model_folder)
    form = workload(model.description.workload).form_class()(model.description)

    async def direct(inputs: Arrays) -> Arrays:
        return run(model, inputs)

    answers = []
    for path in files:
        try:
            answers.append((path, asyncio.run(form.respond(path.read_bytes(), direct))))
        except OSError as error:
            raise WorkloadError(f"{path}: cannot be read ({error.strerror}); give {form.noun}") from error
        except RequestError as error:
            raise WorkloadError(f"{path}: {error}") from error
    return answers
