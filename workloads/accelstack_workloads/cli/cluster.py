"""`cluster`: what the pods of a cluster's jobs run."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from accelstack_workloads.cli.options import leave, print_json

cluster_app = typer.Typer(help="What the pods of a cluster's jobs run.", no_args_is_help=True)


@cluster_app.command("train")
def cluster_train(
    name: Annotated[str, typer.Option("--workload", help="Bundled workload.")],
    architecture: Annotated[str, typer.Option(help="One of the workload's networks.")],
    dataset: Annotated[str, typer.Option(help="Dataset: its name, or its URI.")],
    epochs: Annotated[int, typer.Option(help="Passes over the training samples.")],
    batch_size: Annotated[int, typer.Option(help="Samples per step, over all processes together.")],
    learning_rate: Annotated[float, typer.Option(help="Highest value of the one-cycle schedule.")],
    seed: Annotated[int, typer.Option(help="Decides first weights, order and how samples are altered.")],
    nodes: Annotated[int, typer.Option(help="Pods that train together.")],
    processes: Annotated[int, typer.Option(help="Processes in each.")],
    rendezvous: Annotated[str, typer.Option(help="HOST:PORT at which they meet, in the first pod.")],
    store: Annotated[str, typer.Option(help="fsspec URI of the object store.")],
    run_id: Annotated[str, typer.Option(help="Identity of the run: what is done is not repeated.")],
    model: Annotated[str, typer.Option(help="Name of the model.")],
    registry: Annotated[str, typer.Option(help="Model registry that counts versions; none if left out.")] = "",
    min_nodes: Annotated[int | None, typer.Option(help="Pods that go on while a lost one is replaced.")] = None,
) -> None:
    """Trains in one pod of a gang, and goes on from the newest checkpoint in the store.

    The pod's number is JOB_COMPLETION_INDEX. The first pod leaves the result in the file named by
    ACCELSTACK_RESULT_FILE, else in /dev/termination-log. Exit status 3 after SIGTERM, with a checkpoint saved.

    Example: cluster train --workload vision --architecture cnn --dataset digits --epochs 20 --batch-size 64
    --learning-rate 0.005 --seed 0 --nodes 2 --processes 8 --rendezvous job-workers-0-0.job:29500
    --store s3://bucket --run-id 0123456789ab --model digits
    """
    from accelstack_workloads import cluster_job
    from accelstack_workloads.probe import INDEX_VARIABLE

    options = {
        "--architecture": architecture,
        "--epochs": str(epochs),
        "--batch-size": str(batch_size),
        "--learning-rate": str(learning_rate),
        "--seed": str(seed),
    }
    least = nodes if min_nodes is None else min_nodes
    index = int(os.environ.get(INDEX_VARIABLE, "0"))
    job = cluster_job.Job(
        name, dataset, options, nodes, least, processes, rendezvous, store, run_id, model, registry, index=index
    )
    leave(cluster_job.train(job))


@cluster_app.command("probe")
def cluster_probe(
    nodes: Annotated[int, typer.Option(help="Pods that measure together.")],
    processes: Annotated[int, typer.Option(help="Processes in each, one for an accelerator.")],
    rendezvous: Annotated[str, typer.Option(help="HOST:PORT at which they meet, in the first pod.")],
    megabytes: Annotated[int | None, typer.Option(help="Largest tensor, in MiB; else 1024, or 64 on CPUs.")] = None,
) -> None:
    """Measures how fast the pods of a job all-reduce a tensor; prints one line of JSON, the same in each.

    The first pod also leaves it in the file named by ACCELSTACK_RESULT_FILE, else in /dev/termination-log.

    Example: cluster probe --nodes 2 --processes 8 --rendezvous job-workers-0-0.job:29500
    """
    from accelstack_workloads import probe

    print_json(probe.run(nodes, processes, rendezvous, megabytes))
