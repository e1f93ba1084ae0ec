"""The command line: `python -m accelstack_workloads <step>`. Each step imports what it needs when it runs."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

from accelstack_workloads import sagemaker
from accelstack_workloads.cli.cluster import cluster_app
from accelstack_workloads.cli.compress import compress
from accelstack_workloads.cli.data import prepare
from accelstack_workloads.cli.explain import explain
from accelstack_workloads.cli.export import export
from accelstack_workloads.cli.managed import managed_app
from accelstack_workloads.cli.options import leave, rank
from accelstack_workloads.cli.pipeline import pipeline_app
from accelstack_workloads.cli.serving import predict, serve
from accelstack_workloads.cli.training import evaluate, train
from accelstack_workloads.cli.tune import tune_app
from accelstack_workloads.cli.versions import fetch, register, registry_app
from accelstack_workloads.errors import EXIT_BAD_INPUT, EXIT_NOT_VERIFIED, NotVerifiedError, WorkloadError
from accelstack_workloads.lifeline import watch_parent
from accelstack_workloads.process_settings import start_again

app = typer.Typer(
    help="The bundled workloads, step by step: prepare, train, evaluate, explain, compress, export, register, "
    "predict, serve.\n\n"
    "Exit status: 0 done; 1 an unexpected error; 2 bad input, with one line on stderr; 3 training stopped on "
    "request, after a checkpoint; 4 a model version is missing, changed or not signed by the key; 5 a model is worse "
    "than the one that `evaluate --against` names.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _step in (prepare, train, evaluate, explain, compress, export, register, fetch, predict, serve):
    app.command()(_step)
app.add_typer(registry_app, name="registry")
app.add_typer(cluster_app, name="cluster")
app.add_typer(managed_app, name="managed")
app.add_typer(pipeline_app, name="pipeline")
app.add_typer(tune_app, name="tune")


def main() -> NoReturn:
    """Runs the command line; bad input ends it with one line on stderr and status 2.

    SageMaker calls `train` and `serve` without options and has its own files in place: those then say the rest.
    """
    try:
        if {"train", "tune", "compress", "pipeline"} & {*sys.argv[1:2]}:
            start_again()
        if not {"train", "serve"} & {*sys.argv[1:2]}:  # those two end in their own, orderly way
            watch_parent(lambda: os._exit(1))
        elif sagemaker.asked(sys.argv[1:]):
            leave(sagemaker.run(sys.argv[1]))
        app()
        status = 0
    except NotVerifiedError as error:
        print(f"not verified: {error}", file=sys.stderr)
        status = EXIT_NOT_VERIFIED
    except WorkloadError as error:
        process = f" (process {rank()})" if rank() else ""
        print(f"error{process}: {error}", file=sys.stderr)
        status = EXIT_BAD_INPUT
    except SystemExit as end:  # how typer ends a command
        status = end.code if isinstance(end.code, int) else 1 if end.code else 0
    leave(status)
