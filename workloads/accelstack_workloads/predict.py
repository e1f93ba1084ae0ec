"""Classifies pictures from files."""

from __future__ import annotations

from pathlib import Path

import torch

from accelstack_workloads import model_format
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.serve.picture import to_input
from accelstack_workloads.serve.protocol import RequestError


def predict(model_folder: Path, pictures: list[Path]) -> list[tuple[Path, str, float]]:
    """Each picture with its most likely class and that class's probability, converted as serving converts it.

    Raises:
        WorkloadError: the model or a picture cannot be read.
    """
    model = model_format.load(model_folder)
    results = []
    for path in pictures:
        try:
            image = to_input(path.read_bytes(), model.description)
        except OSError as error:
            raise WorkloadError(f"picture: {path} cannot be read ({error.strerror}); give a picture file") from error
        except RequestError as error:
            raise WorkloadError(f"{path}: {error}") from error
        with torch.inference_mode():
            probability, index = model(torch.from_numpy(image)).max(dim=1)
        results.append((path, model.description.classes[int(index)], float(probability)))
    return results
