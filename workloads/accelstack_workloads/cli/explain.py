"""`explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accelstack_workloads.cli.options import DataOption, JsonOption, ModelOption, print_json


def explain(
    model: ModelOption,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder to write into: explanation.json, and a picture of each sample.")],
    samples: Annotated[int, typer.Option(help="Held-out samples to explain.")] = 8,
    as_json: JsonOption = False,
) -> None:
    """Says what answers rest on: how much each pixel, column, frame or token adds to the score of what was answered.

    Attributions are integrated gradients: they add up to the score less that of a baseline, such as a mean row.

    Example: explain --model run/model --data data --out why --samples 8
    """
    from accelstack_workloads import explain as step

    report = step.explain(model, data, out, samples)
    if as_json:
        print_json(report)
    else:
        print(step.table(report))
