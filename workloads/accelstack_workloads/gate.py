"""Whether a new model may take the place of another: it must not be worse by more than a margin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelstack_workloads.errors import WorkloadError

EVALUATION = "evaluation.json"


def read(path: Path) -> dict[str, Any]:
    """An evaluation, by its file or the folder that `evaluate` wrote it into.

    Raises:
        WorkloadError: it is none.
    """
    file = path / EVALUATION if path.is_dir() else path
    try:
        content: dict[str, Any] = json.loads(file.read_text())
        float(content[content["score"]])
        _ = content["data"]["digest"], content["model"]["digest"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WorkloadError(
            f"--against: {file} is not an evaluation ({error}); give the {EVALUATION} of the model that serves"
        ) from error
    return content


def decide(new: dict[str, Any], former: dict[str, Any], margin: float) -> dict[str, Any]:
    """Holds an evaluation against a former one; the higher the score, the better.

    Args:
        new: of the model that is to serve.
        former: of the one that serves.
        margin: by how much the score may be lower.

    Returns:
        `passed`; `score`, its name, and its values `new` and `former`; `margin`; `against`, the former model's digest.

    Raises:
        WorkloadError: the margin is below 0, or the two are not of the same samples or measure.
    """
    if not 0 <= margin < float("inf"):
        raise WorkloadError(f"--margin: {margin} is not 0 or more; give the points of the score that may be lost")
    if new["data"]["digest"] != former["data"]["digest"]:
        raise WorkloadError(
            f"--against: it was measured on {former['data']['digest']}, this model on {new['data']['digest']}; "
            "evaluate the model that serves on the same data first"
        )
    score = new["score"]
    if former["score"] != score:
        raise WorkloadError(f"--against: it measures {former['score']}, this evaluation {score}; give one of its kind")
    return {
        "passed": bool(new[score] >= former[score] - margin),
        "score": score,
        "new": new[score],
        "former": former[score],
        "margin": margin,
        "against": former["model"]["digest"],
    }


def line(gate: dict[str, Any]) -> str:
    """A decision for people."""
    verdict = "not worse" if gate["passed"] else "WORSE"
    return (
        f"gate: {verdict}: {gate['score']} {gate['new']:.4f}, the model that serves has {gate['former']:.4f}, "
        f"{gate['margin']:g} may be lost"
    )
