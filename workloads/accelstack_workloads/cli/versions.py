"""`register`, `registry` and `fetch`: model versions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from accelstack_workloads.cli.options import JsonOption, ModelOption, NameOption, RegistryOption, print_json
from accelstack_workloads.errors import EXIT_NOT_VERIFIED

VERSION = "version.json"

registry_app = typer.Typer(help="Prepares the model registry, and checks what is in it.", no_args_is_help=True)


def register(
    model: ModelOption,
    name: NameOption,
    registry: RegistryOption,
    store: Annotated[str, typer.Option(help="Path or fsspec URI below which the model directory is copied.")],
    evaluation: Annotated[
        Path | None, typer.Option(help="evaluation.json of this model; its score becomes a tag.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write into: version.json, which says the same.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Copies a model into the store and registers it as a new version; the same content keeps its version.

    Example: register --model run/model --name digits --registry sqlite:///models.db --store models
    """
    from accelstack_workloads import registry as step

    version = step.register(model, name, registry, store, evaluation)
    if out:
        from accelstack_workloads.atomic import write_file

        write_file(out / VERSION, (json.dumps(version, indent=2) + "\n").encode())
    if as_json:
        print_json(version)
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
        print_json(found)
    else:
        print(f"verified: {name} version {version}, {found['digest']}, at {found['uri']}")


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
