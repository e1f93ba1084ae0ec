"""`export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accelstack_workloads.cli.options import JsonOption, ModelOption, print_json


def export(
    model: ModelOption,
    out: Annotated[Path, typer.Option(help="Folder to write; it appears whole, or not at all.")],
    formats: Annotated[
        list[str], typer.Option("--format", help="torch, onnx, triton or tensorflow; give it more than once for more.")
    ] = ["onnx"],  # noqa: B006 - typer copies it
    as_json: JsonOption = False,
) -> None:
    """Writes a model in forms that other programs run: each is run beside the model, and kept if the outputs agree.

    torch: model.pt2 for torch.export.load, which may run code from files of others. onnx: model.onnx.
    triton: a model repository for Triton Inference Server. tensorflow: a SavedModel for TensorFlow Serving.

    Example: export --model run/model --out exported --format onnx --format triton
    """
    from accelstack_workloads import export as step

    report = step.export(model, out, formats)
    if as_json:
        print_json(report)
    else:
        print(step.table(report))
