"""`predict` and `serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accelstack_workloads.cli.options import JsonOption, ModelOption, NameOption, PublicKeyOption, print_json


def predict(
    model: ModelOption,
    files: Annotated[list[Path], typer.Argument(help="Files with a sample each, such as pictures.")],
    as_json: JsonOption = False,
) -> None:
    """Prints the model's answer to each file: a class and its probability in 0..1, a text, or a value.

    Example: predict --model run/model seven.png
    """
    from accelstack_workloads.predict import predict
    from accelstack_workloads.serve.form import line

    for path, answer in predict(model, files):
        if as_json:
            print_json({"file": str(path), **answer})
        else:
            print(f"{path}  {line(answer)}")


def serve(
    model: ModelOption,
    name: NameOption,
    version: Annotated[str, typer.Option(help="Version under which it is served.")] = "1",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    rest_port: Annotated[int, typer.Option(help="TCP port for REST and the page; 0: any free one.")] = 0,
    grpc_port: Annotated[int, typer.Option(help="TCP port for gRPC; 0: any free one.")] = 0,
    share_ports: Annotated[bool, typer.Option("--share-ports", help="Other replicas may use the same ports.")] = False,
    digest: Annotated[str, typer.Option(help="sha256:… of the model; another one is not served.")] = "",
    public_key: PublicKeyOption = "",
) -> None:
    """Serves a model over the Open Inference Protocol v2, REST and gRPC, with a page for people at /.

    Example: serve --model run/model --name digits --rest-port 8080 --grpc-port 8081
    """
    from accelstack_workloads.model_files import check_digest
    from accelstack_workloads.serve import server

    if digest:
        check_digest(model, digest)
    if public_key:
        from accelstack_workloads.signing import verify

        verify(model, public_key)
    server.run(model, name, version, host, rest_port, grpc_port, share_ports)
