"""`compress`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accelstack_workloads.cli.options import DataOption, JsonOption, ModelOption, print_json


def compress(
    model: ModelOption,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder to write into: model/ and compression.json.")],
    method: Annotated[str, typer.Option(help="prune, quantize or distill.")],
    ratio: Annotated[float, typer.Option(help="Share of the channels and hidden units to take away, in 0..1.")] = 0.5,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training samples after that; usual if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the order and choice of samples.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Makes a trained model smaller, and measures size, latency and accuracy beside the original's.

    prune: takes the channels and units with the smallest weights away, and trains on. distill: trains a smaller
    student to answer as the model does. quantize: int8, which ONNX Runtime runs. All are served as any other model.
    Latency is that of one thread; the fastest forms are compared.

    Example: compress --model run/model --data data --out small --method quantize
    """
    from accelstack_workloads.compression.choice import Choice

    choice = Choice(method, ratio, epochs, seed)
    from accelstack_workloads import compress as step

    report = step.compress(model, data, out, choice, shows=not as_json)
    if as_json:
        print_json(report)
    else:
        print(step.table(report))
