"""`tune`: the search for settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accelstack_workloads.cli.options import DataOption, JsonOption, print_json
from accelstack_workloads.errors import WorkloadError

tune_app = typer.Typer(invoke_without_command=True)

ArchitectureOption = Annotated[
    str, typer.Option("--architecture", help="One of the workload's networks; its usual one if left out.")
]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="Of each trial; usual if left out.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Of each training, and of what is tried.")]
StudyOption = Annotated[
    str,
    typer.Option(
        "--study", help="SQLAlchemy URI that processes elsewhere share the study by.", envvar="ACCELSTACK_STUDY"
    ),
]
TrialsOption = Annotated[int, typer.Option("--trials", help="That shall have ended, those of earlier runs included.")]


@tune_app.callback()
def tune(
    context: typer.Context,
    data: Annotated[Path | None, typer.Option(help="Folder that `prepare` wrote.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write into: study, best.json and pictures.")] = None,
    trials: TrialsOption = 20,
    jobs: Annotated[int, typer.Option(help="Trials at once, each in a process.")] = 1,
    epochs: EpochsOption = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which no trial goes on.")] = None,
    architecture: ArchitectureOption = "",
    seed: SeedOption = 0,
    study: StudyOption = "",
    as_json: JsonOption = False,
) -> None:
    """Searches for learning rate, batch size, schedule, and widths and depth where the network has them.

    Each trial trains on nine tenths of the training samples; its loss on the last tenth counts. The held-out samples
    are not seen. The usual settings are the first trial. Those that are worse than the median after an epoch end early.
    The same command goes on with a study; trials whose process was killed are tried again. `train --settings
    OUT/best.json` takes the result.

    Example: tune --data data --out tuned --trials 20 --jobs 2
    """
    if context.invoked_subcommand:
        return
    import sys
    from contextlib import nullcontext, redirect_stdout

    if data is None or out is None:
        option = "--data" if data is None else "--out"
        raise WorkloadError(f"{option}: is left out; give a folder, or a command: worker, learning-rate, manifest")
    from accelstack_workloads.tuning.effort import Effort
    from accelstack_workloads.tuning.search import search

    effort, wanted = Effort(trials, jobs, timeout), search(data, out, architecture, epochs, seed, study)
    step = _load()
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        status, report = step.tune(wanted, out, effort)
    if as_json:
        print_json(report)
    elif report:
        print(step.table(report))
    raise typer.Exit(status)


@tune_app.command("worker")
def tune_worker(
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder for what the training writes meanwhile.")],
    trials: TrialsOption,
    epochs: EpochsOption = None,
    architecture: ArchitectureOption = "",
    seed: SeedOption = 0,
    study: StudyOption = "",
    journal: Annotated[str, typer.Option(help="File of the study, where there is no --study.")] = "",
) -> None:
    """Runs one trial of a study, unless enough have ended: what the processes and pods of a search run.

    Example: tune worker --data data --out /scratch --trials 20 --study postgresql://host/tune
    """
    if bool(study) == bool(journal):
        raise WorkloadError("--study: give one of it and --journal, which say where the study is")
    from dataclasses import replace

    from accelstack_workloads.tuning.effort import Effort
    from accelstack_workloads.tuning.search import search

    Effort(trials)
    wanted = search(data, out, architecture, epochs, seed, study)
    _load()
    from accelstack_workloads.tuning import worker

    print(worker.work(replace(wanted, storage=journal) if journal else wanted, out, trials))


@tune_app.command("learning-rate")
def tune_learning_rate(
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder to write into: learning-rate.json and learning-rate.png.")],
    batch_size: Annotated[int | None, typer.Option(help="Samples per step; usual if left out.")] = None,
    architecture: ArchitectureOption = "",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Suggests a learning rate: it rises from step to step, and where the loss falls fastest is a good one.

    Example: tune learning-rate --data data --out rate
    """
    from dataclasses import replace

    from accelstack_workloads.tuning.search import search

    wanted = search(data, out, architecture, 1, seed, "")
    settings = wanted.settings(wanted.usual.learning_rate, wanted.usual.batch_size, "constant", {})
    if batch_size is not None:
        settings = replace(settings, batch_size=batch_size)
    _load()
    from accelstack_workloads.tuning import range_test

    report = range_test.find(data, out, settings)
    if as_json:
        print_json(report)
    else:
        print(f"suggested: --learning-rate {report['suggestion']:g}  (curve: {out / range_test.PICTURE})")


@tune_app.command("manifest")
def tune_manifest(
    workload: Annotated[str, typer.Option(help="Bundled workload.")],
    image: Annotated[str, typer.Option(help="Image with this package and its extras, as NAME@sha256:DIGEST.")],
    namespace: Annotated[str, typer.Option(help="Of the Job.")],
    queue: Annotated[str, typer.Option(help="Kueue's LocalQueue in that namespace.")],
    trials: TrialsOption,
    dataset: Annotated[str, typer.Option(help="Its name or URI, as pods reach it; the workload's own if empty.")] = "",
    name: Annotated[str, typer.Option(help="Of the Job.")] = "tune",
    parallelism: Annotated[int, typer.Option(help="Trials at once.")] = 1,
    epochs: EpochsOption = None,
    architecture: ArchitectureOption = "",
    seed: SeedOption = 0,
    study: StudyOption = "",
    study_secret: Annotated[str, typer.Option(help="Secret with the URI in its entry uri, in place of --study.")] = "",
    cpu: Annotated[str, typer.Option(help="Processors of a pod.")] = "2",
    memory: Annotated[str, typer.Option(help="Memory of a pod.")] = "4Gi",
    accelerator: Annotated[str, typer.Option(help="What a pod asks for, such as nvidia.com/gpu.")] = "",
    accelerators: Annotated[int, typer.Option(help="How many of it.")] = 1,
) -> None:
    """Prints the Job that runs a search's trials as pods, which Kueue admits. `tune` with the same --study reads it.

    Example: tune manifest --workload vision --image registry.example.com/accelstack@sha256:… --namespace team
    --queue team --trials 20 --parallelism 4 --study-secret tune
    """
    import sys

    import yaml

    from accelstack_workloads import workloads
    from accelstack_workloads.tuning.manifest import TrialsJob, manifest

    usual = workloads.workload(workload)
    options = ("--epochs", str(usual.epochs if epochs is None else epochs), "--seed", str(seed))
    options += ("--architecture", architecture or usual.architectures[0])
    job = TrialsJob(
        *(name, namespace, queue, image, workload, dataset or usual.dataset, options, trials, parallelism),
        *(study, study_secret, cpu, memory, accelerator, accelerators),
    )
    yaml.safe_dump(manifest(job), sys.stdout, sort_keys=False)


def _load():
    """The search, where optuna and matplotlib are installed.

    Raises:
        WorkloadError: they are not.
    """
    try:
        from accelstack_workloads import tune
    except ModuleNotFoundError as error:
        raise WorkloadError(f"tune: {error.name} is not installed; install accelstack[tune]") from error
    return tune
