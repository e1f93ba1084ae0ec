"""`prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accelstack_workloads.cli.options import JsonOption, print_json


def prepare(
    out: Annotated[Path, typer.Option(help="Folder to write: manifest.json, and an .npy file for each array.")],
    name: Annotated[str, typer.Option("--workload", help="Bundled workload that the data is for.")] = "vision",
    dataset: Annotated[
        str,
        typer.Option(help="Path or fsspec URI (s3://, gs://, …), or a bundled dataset; the workload's own if empty."),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Reads and checks every sample of a dataset, and splits it for training and evaluation.

    Workload vision takes 'digits' or a picture folder, which holds <class>/<pictures>, of which a fifth is held out,
    or {train,test}/<class>/<pictures>.
    Pictures of one size keep it; others get the most common size, at most 64 pixels a side.

    Example: prepare --dataset s3://bucket/birds --out data
    """
    from accelstack_workloads.datasets import prepared
    from accelstack_workloads.workloads import workload

    data = workload(name).read(dataset or workload(name).dataset)
    written = prepared.save(data, out)
    if as_json:
        print_json({"path": str(out), "written": written, **data.manifest()})
        return
    print(f"{'prepared' if written else 'unchanged'}: {out}: {data.summary}, {data.digest}")
