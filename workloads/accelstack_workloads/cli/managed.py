"""`managed`: what Vertex AI's and Azure ML's jobs run."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from accelstack_workloads.cli.options import leave
from accelstack_workloads.errors import WorkloadError

managed_app = typer.Typer(help="What Vertex AI's and Azure ML's jobs run.", no_args_is_help=True)


@managed_app.callback()
def _managed() -> None:
    """A group, though it has one command."""


@managed_app.command("train")
def managed_train(
    name: Annotated[str, typer.Option("--workload", help="Bundled workload.")],
    dataset: Annotated[str, typer.Option(help="Dataset: its name, path or URI; the workload's own if empty.")] = "",
    architecture: Annotated[str, typer.Option(help="One of the workload's networks; usual if empty.")] = "",
    epochs: Annotated[int | None, typer.Option(help="Passes over the training samples; usual if left out.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples per step, over all processes together.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest value of the schedule.")] = None,
    seed: Annotated[int, typer.Option(help="Decides first weights, order and how samples are altered.")] = 0,
    processes: Annotated[int, typer.Option(help="Processes on each machine, one for an accelerator.")] = 1,
    store: Annotated[str, typer.Option(help="Path or URI for the run; what the platform names if empty.")] = "",
    run_id: Annotated[str, typer.Option(help="Identity of the run; the platform's job if empty.")] = "",
    model: Annotated[str, typer.Option(help="Name of the model; the workload's if empty.")] = "",
    registry: Annotated[str, typer.Option(help="Model registry that counts versions; none if empty.")] = "",
) -> None:
    """Trains on this machine together with the job's other ones, and goes on from the newest checkpoint in the store.

    Machines, identity and places come from the platform's variables: CLUSTER_SPEC, AIP_MODEL_DIR and CLOUD_ML_JOB_ID of
    Vertex AI; AZUREML_RUN_ID, WORLD_SIZE, NODE_RANK, MASTER_ADDR and MASTER_PORT of Azure ML, which names no place: for
    that give an output that is mounted for writing as --store. Exit status 3 after SIGTERM, with a checkpoint saved.

    Example: managed train --workload vision --dataset /gcs/bucket/pictures --processes 8
    """
    from accelstack_workloads import cluster_job, managed
    from accelstack_workloads.workloads import workload

    usual, place = workload(name), managed.place(os.environ)
    options = {
        "--architecture": architecture or usual.architectures[0],
        "--epochs": str(usual.epochs if epochs is None else epochs),
        "--batch-size": str(usual.batch_size if batch_size is None else batch_size),
        "--learning-rate": str(usual.learning_rate if learning_rate is None else learning_rate),
        "--seed": str(seed),
    }
    store = managed.mounted(store) or place.store
    if not store:
        raise WorkloadError(
            "--store: the platform names no place for the run; give a path or URI that all machines have"
        )
    run_id = run_id or place.run_id
    if not run_id:
        raise WorkloadError("--run-id: the platform names no job; give a name that stays when the job is started again")
    job = cluster_job.Job(
        name,
        managed.mounted(dataset) or usual.dataset,
        options,
        place.nodes,
        place.nodes,
        processes,
        place.rendezvous,
        store,
        run_id,
        model or name,
        registry,
        index=place.index,
        taken_up=place.model,
    )
    leave(cluster_job.train(job))
