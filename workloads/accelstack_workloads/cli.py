"""The command line: `python -m accelstack_workloads <step>`. Each step imports what it needs when it runs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from accelstack_workloads import sagemaker
from accelstack_workloads.errors import EXIT_BAD_INPUT, EXIT_NOT_VERIFIED, EXIT_STOPPED, WorkloadError
from accelstack_workloads.lifeline import watch_parent

app = typer.Typer(
    help="The bundled workloads, step by step: prepare, train, evaluate, register, predict, serve.\n\n"
    "Exit status: 0 done; 1 an unexpected error; 4 `registry verify` found a version missing or changed; "
    "2 bad input, with one line on stderr; 3 training stopped on request, after a checkpoint.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
registry_app = typer.Typer(help="Prepares the model registry, and checks what is in it.", no_args_is_help=True)
app.add_typer(registry_app, name="registry")
cluster_app = typer.Typer(help="What the pods of a cluster's jobs run.", no_args_is_help=True)
app.add_typer(cluster_app, name="cluster")

ModelOption = Annotated[Path, typer.Option("--model", help="Model directory, such as the RUN/model of `train`.")]
DataOption = Annotated[Path, typer.Option("--data", help="Folder that `prepare` wrote.")]
NameOption = Annotated[str, typer.Option("--name", help="Name of the registered model.")]
RegistryOption = Annotated[
    str, typer.Option("--registry", help="SQLAlchemy URI of the database, such as sqlite:////srv/models.db.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON instead of text.")]


@app.command()
def prepare(
    out: Annotated[Path, typer.Option(help="Folder to write: data.safetensors and manifest.json.")],
    dataset: Annotated[
        str, typer.Option(help="'digits', or the path or fsspec URI (s3://, gs://, …) of a picture folder.")
    ] = "digits",
    as_json: JsonOption = False,
) -> None:
    """Decodes and checks every picture of a dataset, and splits it for training and evaluation.

    A picture folder holds <class>/<pictures>, of which a fifth is held out, or {train,test}/<class>/<pictures>.
    Pictures of one size keep it; others get the most common size, at most 64 pixels a side.

    Example: prepare --dataset s3://bucket/birds --out data
    """
    from accelstack_workloads import datasets
    from accelstack_workloads.datasets import prepared

    data = datasets.read(dataset)
    written = prepared.save(data, out)
    manifest = data.manifest()
    if as_json:
        _print_json({"path": str(out), "written": written, **manifest})
        return
    channels, height, width = data.shape
    print(
        f"{'prepared' if written else 'unchanged'}: {out}: {len(data.train_labels)} pictures to train on, "
        f"{len(data.test_labels)} held out, {len(data.classes)} classes, {channels}x{height}x{width}, {data.digest}"
    )


@app.command()
def train(
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder of the run: model/, checkpoints/, metrics.jsonl, training.json.")],
    epochs: Annotated[int, typer.Option(help="Passes over the training pictures.")] = 20,
    batch_size: Annotated[int, typer.Option(help="Pictures per step, over all processes together.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Highest value of the one-cycle schedule.")] = 0.005,
    seed: Annotated[int, typer.Option(help="Decides first weights, order and augmentation.")] = 0,
    then_evaluate: Annotated[bool, typer.Option("--evaluate", help="Then evaluates the model, into --out.")] = False,
) -> None:
    """Trains the convolutional network, alone or under torchrun, and goes on from the newest checkpoint in --out.

    SIGTERM, SIGINT, SIGHUP, or the end of the process named by ACCELSTACK_PARENT_PID make it save a checkpoint and
    exit with status 3; the same command then goes on, to the same weights. A run that is done is not repeated.
    The accuracy shown is the one on the training pictures.

    Example: torchrun --standalone --nproc-per-node 2 -m accelstack_workloads train --data data --out run
    """
    from accelstack_workloads.datasets.prepared import read_manifest
    from accelstack_workloads.run_folder import RunFolder
    from accelstack_workloads.settings import Settings

    settings = Settings(read_manifest(data)["digest"], epochs, batch_size, learning_rate, seed)
    run = RunFolder(out)
    if not run.result(settings):
        from accelstack_workloads.train import train

        if not train(data, run, settings):
            raise typer.Exit(EXIT_STOPPED)
    elif _rank() == 0:
        print(f"already trained: {run.model}, with these settings; give another --out to train again")
    if then_evaluate and _rank() == 0:
        evaluate(run.model, data, out)


@app.command()
def evaluate(
    model: ModelOption,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder to write into: evaluation.json and confusion.png.")],
    as_json: JsonOption = False,
) -> None:
    """Measures a model on the held-out pictures: accuracy, precision, recall, F1 per class, confusion matrix.

    Example: evaluate --model run/model --data data --out run
    """
    from accelstack_workloads import evaluate as step

    evaluation = step.evaluate(model, data, out)
    if as_json:
        _print_json(evaluation)
    else:
        print(step.table(evaluation))


@app.command()
def register(
    model: ModelOption,
    name: NameOption,
    registry: RegistryOption,
    store: Annotated[str, typer.Option(help="Path or fsspec URI below which the model directory is copied.")],
    evaluation: Annotated[
        Path | None, typer.Option(help="evaluation.json of this model; its accuracy becomes a tag.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Copies a model into the store and registers it as a new version; the same content keeps its version.

    Example: register --model run/model --name digits --registry sqlite:///models.db --store models
    """
    from accelstack_workloads import registry as step

    version = step.register(model, name, registry, store, evaluation)
    if as_json:
        _print_json(version)
    else:
        print(f"registered: {name} version {version['version']}, {version['digest']}, at {version['uri']}")


@registry_app.command("init")
def registry_init(registry: RegistryOption) -> None:
    """Makes the registry's tables, which takes some seconds, where they are missing.

    Example: registry init --registry sqlite:///models.db
    """
    from accelstack_workloads import registry as step

    step.init(registry)


@registry_app.command("verify")
def registry_verify(
    registry: RegistryOption,
    name: NameOption,
    version: Annotated[str, typer.Option(help="Version to check.")],
    as_json: JsonOption = False,
) -> None:
    """Checks that a version is registered and its files still match its digest; exits with status 4 if not.

    Example: registry verify --registry sqlite:///models.db --name digits --version 1
    """
    from accelstack_workloads import registry as step
    from accelstack_workloads.errors import NotVerifiedError

    try:
        found = step.verify(registry, name, version)
    except NotVerifiedError as error:
        print(f"not verified: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_NOT_VERIFIED) from error
    if as_json:
        _print_json(found)
    else:
        print(f"verified: {name} version {version}, {found['digest']}, at {found['uri']}")


@app.command()
def fetch(
    uri: Annotated[str, typer.Option(help="Path or fsspec URI of a version's directory.")],
    digest: Annotated[str, typer.Option(help="sha256:… of it.")],
    out: Annotated[Path, typer.Option(help="Where the directory shall be.")],
) -> None:
    """Copies a model version to where a server reads it; exits with status 4 if its files have another digest.

    Any directory will do: without a model's two files in it, the digest is over all of its files.

    Example: fetch --uri s3://bucket/models/digits/0123456789ab --digest sha256:… --out model
    """
    from accelstack_workloads import fetch as step
    from accelstack_workloads.errors import NotVerifiedError

    try:
        copied = step.fetch(uri, digest, out)
    except NotVerifiedError as error:
        print(f"not verified: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_NOT_VERIFIED) from error
    print(f"fetched: {digest} into {out}" if copied else f"unchanged: {digest} in {out}")


@cluster_app.command("train")
def cluster_train(
    dataset: Annotated[str, typer.Option(help="'digits', or the URI of a picture folder.")],
    epochs: Annotated[int, typer.Option(help="Passes over the training pictures.")],
    batch_size: Annotated[int, typer.Option(help="Pictures per step, over all processes together.")],
    learning_rate: Annotated[float, typer.Option(help="Highest value of the one-cycle schedule.")],
    seed: Annotated[int, typer.Option(help="Decides first weights, order and augmentation.")],
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

    Example: cluster train --dataset digits --epochs 20 --batch-size 64 --learning-rate 0.005 --seed 0 --nodes 2
    --processes 8 --rendezvous job-workers-0-0.job:29500 --store s3://bucket --run-id 0123456789ab --model digits
    """
    from accelstack_workloads import cluster_job

    options = {
        "--epochs": str(epochs),
        "--batch-size": str(batch_size),
        "--learning-rate": str(learning_rate),
        "--seed": str(seed),
    }
    least = nodes if min_nodes is None else min_nodes
    job = cluster_job.Job(dataset, options, nodes, least, processes, rendezvous, store, run_id, model, registry)
    _exit(cluster_job.train(job))


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

    _print_json(probe.run(nodes, processes, rendezvous, megabytes))


@app.command()
def predict(
    model: ModelOption,
    pictures: Annotated[list[Path], typer.Argument(help="Picture files.")],
) -> None:
    """Prints the class of each picture and its probability, in 0..1.

    Example: predict --model run/model seven.png
    """
    from accelstack_workloads.predict import predict

    for path, name, probability in predict(model, pictures):
        print(f"{path}  {name}  {probability:.3f}")


@app.command()
def serve(
    model: ModelOption,
    name: NameOption,
    version: Annotated[str, typer.Option(help="Version under which it is served.")] = "1",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    rest_port: Annotated[int, typer.Option(help="TCP port for REST and the page; 0: any free one.")] = 0,
    grpc_port: Annotated[int, typer.Option(help="TCP port for gRPC; 0: any free one.")] = 0,
    share_ports: Annotated[bool, typer.Option("--share-ports", help="Other replicas may use the same ports.")] = False,
    digest: Annotated[str, typer.Option(help="sha256:… of the model; another one is not served.")] = "",
) -> None:
    """Serves a model over the Open Inference Protocol v2, REST and gRPC, with a page for people at /.

    Example: serve --model run/model --name digits --rest-port 8080 --grpc-port 8081
    """
    from accelstack_workloads.model_files import check_digest
    from accelstack_workloads.serve import server

    if digest:
        check_digest(model, digest)
    server.run(model, name, version, host, rest_port, grpc_port, share_ports)


def main() -> NoReturn:
    """Runs the command line; bad input ends it with one line on stderr and status 2.

    SageMaker calls `train` and `serve` without options and has its own files in place: those then say the rest.
    The process ends at once: threads of torch that outlive the interpreter abort it now and then.
    """
    try:
        if not {"train", "serve"} & {*sys.argv[1:2]}:  # those two end in their own, orderly way
            watch_parent(lambda: os._exit(1))
        elif sagemaker.asked(sys.argv[1:]):
            _exit(sagemaker.run(sys.argv[1]))
        app()
        status = 0
    except WorkloadError as error:
        process = f" (process {_rank()})" if _rank() else ""
        print(f"error{process}: {error}", file=sys.stderr)
        status = EXIT_BAD_INPUT
    except SystemExit as end:  # how typer ends a command
        status = end.code if isinstance(end.code, int) else 1 if end.code else 0
    _exit(status)


def _exit(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _rank() -> int:
    """This process's number under torchrun."""
    return int(os.environ.get("RANK", "0"))


def _print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content))
