"""`train` and `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accelstack_workloads.cli.options import DataOption, JsonOption, ModelOption, print_json, rank
from accelstack_workloads.cli.settings_file import SettingsOption, SizesOption, read_sizes
from accelstack_workloads.errors import EXIT_STOPPED, EXIT_WORSE
from accelstack_workloads.settings import PRECISIONS, SCHEDULES, SHARDINGS, Execution


def train(
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder of the run: model/, checkpoints/, metrics.jsonl, training.json.")],
    architecture: Annotated[str, typer.Option(help="One of the workload's networks; its usual one if left out.")] = "",
    epochs: Annotated[int | None, typer.Option(help="Passes over the training samples.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples per step, over all processes together.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest value of the schedule.")] = None,
    seed: Annotated[int, typer.Option(help="Decides first weights, order and how samples are altered.")] = 0,
    schedule: Annotated[str, typer.Option(help="Of the learning rate: one-cycle, cosine or constant.")] = SCHEDULES[0],
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16, or auto: bfloat16 where the hardware has it.")
    ] = PRECISIONS[0],
    accumulate: Annotated[int, typer.Option(help="Parts that a batch is computed in, where memory is short.")] = 1,
    clip: Annotated[float, typer.Option(help="Greatest norm of the gradients; 0 leaves them.")] = 0.0,
    patience: Annotated[
        int, typer.Option(help="Epochs without a lower loss, on a tenth kept apart, that end the run; 0: none do.")
    ] = 0,
    checkpoint_minutes: Annotated[
        float, typer.Option(help="Most between two checkpoints, which each epoch ends with too; 0: those alone.")
    ] = Execution.checkpoint_minutes,
    sharding: Annotated[
        str, typer.Option(help="none: each process has the whole model; full: all have a part of it each.")
    ] = SHARDINGS[0],
    compiles: Annotated[bool, typer.Option("--compile", help="Compiles the network; needs a C++ compiler.")] = False,
    timeout_minutes: Annotated[
        float, typer.Option(help="That a process waits for another before it gives up.")
    ] = Execution.timeout_minutes,
    tracking: Annotated[str, typer.Option(help="URI of an MLflow server or folder that measures go to.")] = "",
    sizes: SizesOption = [],  # noqa: B006 - typer copies it
    settings_file: SettingsOption = None,
    then_evaluate: Annotated[bool, typer.Option("--evaluate", help="Then evaluates the model, into --out.")] = False,
) -> None:
    """Trains the data's workload, alone or under torchrun, and goes on from the newest checkpoint in --out.

    What is left out is what is usual for the workload.

    SIGTERM, SIGINT, SIGHUP, or the end of the process named by ACCELSTACK_PARENT_PID make it save a checkpoint and
    exit with status 3; the same command then goes on, to the same weights. A run that is done is not repeated.
    A process that is killed loses at most the time between two checkpoints, and that which writing one takes.
    The accuracy shown is the one on the training samples.

    Example: torchrun --standalone --nproc-per-node 2 -m accelstack_workloads train --data data --out run
    """
    from accelstack_workloads.datasets.prepared import read_manifest
    from accelstack_workloads.run_folder import RunFolder
    from accelstack_workloads.settings import Settings
    from accelstack_workloads.workloads import workload

    manifest = read_manifest(data)
    usual = workload(manifest["workload"])
    settings = Settings(
        manifest["digest"],
        usual.epochs if epochs is None else epochs,
        usual.batch_size if batch_size is None else batch_size,
        usual.learning_rate if learning_rate is None else learning_rate,
        seed,
        architecture or usual.architectures[0],
        schedule,
        precision,
        accumulate,
        clip,
        patience,
        read_sizes(sizes),
    )
    execution = Execution(checkpoint_minutes, sharding, compiles, timeout_minutes, tracking)
    run = RunFolder(out)
    if not run.result(settings):
        from accelstack_workloads.train import train

        if not train(data, run, settings, execution):
            raise typer.Exit(EXIT_STOPPED)
    elif rank() == 0:
        print(f"already trained: {run.model}, with these settings; give another --out to train again")
    if then_evaluate and rank() == 0:
        evaluate(run.model, data, out)


def evaluate(
    model: ModelOption,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder to write into: evaluation.json, and pictures of it.")],
    against: Annotated[
        Path | None, typer.Option(help="evaluation.json of the model that serves: a worse one exits with status 5.")
    ] = None,
    margin: Annotated[float, typer.Option(help="By how much the score may be lower than that one's.")] = 0.0,
    slice_by: Annotated[str, typer.Option("--slice", help="Column of a table: the score of each of its values.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Measures a model on the held-out samples, with what fits its workload.

    Example: evaluate --model run/model --data data --out run
    """
    from accelstack_workloads import evaluate as step

    evaluation = step.evaluate(model, data, out, against, margin, slice_by)
    if as_json:
        print_json(evaluation)
    else:
        print(step.table(evaluation))
    if against and not evaluation["gate"]["passed"]:
        raise typer.Exit(EXIT_WORSE)
