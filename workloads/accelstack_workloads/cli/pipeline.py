"""`pipeline`: all steps of a workload as one."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accelstack_workloads.cli.options import JsonOption, print_json

if TYPE_CHECKING:
    from accelstack_workloads.pipelines.plan import Choice

pipeline_app = typer.Typer(help="All steps of a workload as one pipeline.", no_args_is_help=True)

WorkloadOption = Annotated[str, typer.Option("--workload", help="Bundled workload.")]
DatasetOption = Annotated[str, typer.Option("--dataset", help="Its name, path or URI; the workload's own if empty.")]
EpochsOption = Annotated[
    int | None, typer.Option("--epochs", help="Passes over the training samples; usual if left out.")
]
BatchOption = Annotated[int | None, typer.Option("--batch-size", help="Samples per step; usual if left out.")]
RateOption = Annotated[float | None, typer.Option("--learning-rate", help="Highest value of the schedule.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Decides first weights, order and choice of samples.")]
MethodOption = Annotated[str, typer.Option("--method", help="Of the compression: prune, quantize or distill.")]
FormatOption = Annotated[
    list[str], typer.Option("--format", help="To export: torch, onnx, triton or tensorflow; more than once for more.")
]
SkipOption = Annotated[
    list[str], typer.Option("--skip", help="evaluate, compress, export or register; more than once for more.")
]
NameOption = Annotated[str, typer.Option("--name", help="Name of the registered model; the workload's if empty.")]


@pipeline_app.command("run")
def pipeline_run(
    name: WorkloadOption,
    out: Annotated[Path, typer.Option(help="Folder of the pipeline: pipeline.json, and a folder for each step.")],
    dataset: DatasetOption = "",
    epochs: EpochsOption = None,
    batch_size: BatchOption = None,
    learning_rate: RateOption = None,
    seed: SeedOption = 0,
    method: MethodOption = "quantize",
    formats: FormatOption = ["onnx"],  # noqa: B006 - typer copies it
    model: NameOption = "",
    registry: Annotated[str, typer.Option(help="URI of the model registry; models.db in --out if empty.")] = "",
    store: Annotated[str, typer.Option(help="Path or URI for registered models; models/ in --out if empty.")] = "",
    skip: SkipOption = [],  # noqa: B006 - typer copies it
    as_json: JsonOption = False,
) -> None:
    """Runs prepare, train, evaluate, compress, evaluate again, export and register, and only what is not done yet.

    A step is run again where its code, its settings or the content of its inputs differ; one that failed or was killed
    goes on. SIGTERM ends it with status 3, and the same command goes on.

    Example: pipeline run --workload vision --out pipeline --skip compress
    """
    from accelstack_workloads import pipeline as step

    here = out.resolve()
    registry = registry or f"sqlite:///{here / 'models.db'}"
    options = (dataset, epochs, batch_size, learning_rate, seed, method, formats, model)
    choice = _choice(name, *options, registry, store or str(here / "models"), skip)
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        status, report = step.run(out, choice)
    if as_json:
        print_json(report)
    raise typer.Exit(status)


@pipeline_app.command("compile")
def pipeline_compile(
    name: WorkloadOption,
    image: Annotated[str, typer.Option(help="Image with this package and its extras, as NAME@sha256:DIGEST.")],
    out: Annotated[Path, typer.Option(help="YAML file to write.")],
    dataset: DatasetOption = "",
    epochs: EpochsOption = None,
    batch_size: BatchOption = None,
    learning_rate: RateOption = None,
    seed: SeedOption = 0,
    method: MethodOption = "quantize",
    formats: FormatOption = ["onnx"],  # noqa: B006 - typer copies it
    model: NameOption = "",
    registry: Annotated[str, typer.Option(help="URI of the model registry, as pods reach it.")] = "",
    store: Annotated[str, typer.Option(help="URI below which registered models are copied.")] = "",
    skip: SkipOption = [],  # noqa: B006 - typer copies it
    accelerator: Annotated[str, typer.Option(help="What training asks for, such as nvidia.com/gpu.")] = "",
    accelerators: Annotated[int, typer.Option(help="How many of it.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Writes the same pipeline for Kubeflow Pipelines v2 or Vertex AI Pipelines, to be submitted there.

    Dataset, epochs, name, registry and store are its parameters, with the given values as defaults.

    Example: pipeline compile --workload vision --image registry.example.com/accelstack@sha256:… --out pipeline.yaml
    --registry https://mlflow.example.com --store s3://bucket/models
    """
    from accelstack_workloads.pipelines.compiled import Place, compile_to

    place = Place(image, accelerator, accelerators)
    options = (dataset, epochs, batch_size, learning_rate, seed, method, formats, model)
    report = compile_to(out, _choice(name, *options, registry, store, skip), place)
    if as_json:
        print_json(report)
    else:
        print(f"compiled: {out}: {report['name']}: {', '.join(report['steps'])}")


@pipeline_app.command("step")
def pipeline_step(
    out: Annotated[Path, typer.Option(help="Where the step's results shall be.")],
    arguments: Annotated[list[str], typer.Argument(help="The step and its options, but for --out.")],
) -> None:
    """Runs one step of a compiled pipeline in its pod, and copies its results to --out, which may be a mounted bucket.

    Example: pipeline step --out /gcs/bucket/data -- prepare --workload vision --dataset digits
    """
    from accelstack_workloads.pipelines import isolated

    raise typer.Exit(isolated.run(out, arguments))


def _choice(
    name: str,
    dataset: str,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    seed: int,
    method: str,
    formats: list[str],
    model: str,
    registry: str,
    store: str,
    skip: list[str],
) -> Choice:
    """What is left out is what is usual for the workload."""
    from accelstack_workloads.pipelines.plan import Choice
    from accelstack_workloads.workloads import workload

    usual = workload(name)
    return Choice(
        workload=name,
        dataset=dataset or usual.dataset,
        epochs=usual.epochs if epochs is None else epochs,
        batch_size=usual.batch_size if batch_size is None else batch_size,
        learning_rate=usual.learning_rate if learning_rate is None else learning_rate,
        seed=seed,
        method=method,
        formats=tuple(dict.fromkeys(formats)),
        name=model or name,
        registry=registry,
        store=store,
        skip=tuple(skip),
    )
