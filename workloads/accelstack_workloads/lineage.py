"""Where a model version comes from: what the registry keeps of its data, code, settings and score, as tags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.model_files import ModelDescription

LONGEST = 4999
"""Characters of a tag's value in MLflow."""


def tags(description: ModelDescription, identity: str, evaluation: Path | None, code: str) -> dict[str, str]:
    """Tags of a model version.

    Args:
        description: of the model.
        identity: its digest.
        evaluation: an `evaluation.json` of this model, if there is one.
        code: digest of the code that registers it.

    Returns:
        `workload`, `architecture` and `code`; `data`, the digest of the prepared samples, and `settings`, JSON, where
        the model says them; the score, such as `accuracy`, and `data_uri`, where there is an evaluation.

    Raises:
        WorkloadError: the evaluation is none, or another model's.
    """
    settings = description.training.get("settings", {})
    found = {"workload": description.workload, "architecture": description.architecture, "code": code}
    if "data" in settings:
        found["data"] = settings["data"]
    if settings:
        found["settings"] = json.dumps(settings, sort_keys=True)[:LONGEST]
    if "compression" in description.training:
        found["compression"] = json.dumps(description.training["compression"], sort_keys=True)[:LONGEST]
    return {**found, **(_of(evaluation, identity) if evaluation else {})}


def _of(path: Path, identity: str) -> dict[str, str]:
    """Tags from an evaluation, which must be of this very model."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        score, measured = {content["score"]: str(content[content["score"]])}, content["model"]["digest"]
        uri = content["data"]["uri"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WorkloadError(
            f"evaluation: {path} is not an evaluation ({error}); give the evaluation.json that `evaluate` wrote"
        ) from error
    if measured != identity:
        raise WorkloadError(f"evaluation: {path} is of {measured}, the model is {identity}; evaluate this model")
    return {**score, "data_uri": uri}
