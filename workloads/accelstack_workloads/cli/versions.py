"""`register`, `registry` and `fetch`: model versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from accelstack_workloads.cli.options import (
    JsonOption,
    ModelOption,
    NameOption,
    PublicKeyOption,
    RegistryOption,
    print_json,
)

VERSION = "version.json"
VersionOption = Annotated[str, typer.Option(help="Version: its number, or an alias such as production.")]

registry_app = typer.Typer(help="Prepares the model registry, and checks what is in it.", no_args_is_help=True)


def register(
    model: ModelOption,
    name: NameOption,
    registry: RegistryOption,
    store: Annotated[str, typer.Option(help="Path or fsspec URI below which the model directory is copied.")],
    evaluation: Annotated[
        Path | None, typer.Option(help="evaluation.json of this model; its score becomes a tag.")
    ] = None,
    signing_key: Annotated[
        Path | None, typer.Option(help="Private key (PEM) that signs the copy; made where there is none.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write into: version.json, which says the same.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Copies a model into the store and registers it as a new version; the same content keeps its version.

    With a signing key the copy is signed. The public key, for `fetch`, `serve` and `registry verify`, is printed.

    Example: register --model run/model --name digits --registry sqlite:///models.db --store models
    """
    from accelstack_workloads import registry as step

    version = step.register(model, name, registry, store, evaluation, signing_key)
    if out:
        from accelstack_workloads.atomic import write_file

        write_file(out / VERSION, (json.dumps(version, indent=2) + "\n").encode())
    if as_json:
        print_json(version)
    else:
        print(f"registered: {name} version {version['version']}, {version['digest']}, at {version['uri']}")
        if signing_key:
            print(f"signed; public key: {version['public_key']}")


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
    version: VersionOption,
    public_key: PublicKeyOption = "",
    as_json: JsonOption = False,
) -> None:
    """Checks that a version is registered and its files still match its digest; exits with status 4 if not.

    Example: registry verify --registry sqlite:///models.db --name digits --version 1
    """
    from accelstack_workloads import registry as step

    found = step.verify(registry, name, version, public_key)
    if as_json:
        print_json(found)
    else:
        print(f"verified: {name} version {found['version']}, {found['digest']}, at {found['uri']}")


@registry_app.command("show")
def registry_show(
    registry: RegistryOption, name: NameOption, version: VersionOption, as_json: JsonOption = False
) -> None:
    """Prints where a version comes from: its data, code, settings and score; exits with status 4 if there is none.

    Example: registry show --registry sqlite:///models.db --name digits --version production
    """
    from accelstack_workloads import registry as step

    about = step.show(registry, name, version)
    if as_json:
        print_json(about)
    else:
        width = max(map(len, about))
        print(*(f"{key:<{width}}  {_plain(value)}" for key, value in about.items()), sep="\n")


@registry_app.command("list")
def registry_list(registry: RegistryOption, name: NameOption, as_json: JsonOption = False) -> None:
    """Prints the versions of a model, oldest first, with their digests and aliases.

    Example: registry list --registry sqlite:///models.db --name digits
    """
    from accelstack_workloads import registry as step

    found = step.versions(registry, name)
    if as_json:
        print_json(found)
    else:
        print(*(f"{of['version']:>4}  {of['digest']}  {_plain(of['aliases'])}".rstrip() for of in found), sep="\n")


@registry_app.command("alias")
def registry_alias(
    registry: RegistryOption,
    name: NameOption,
    version: VersionOption,
    alias: Annotated[str, typer.Option(help="Such as staging or production.")],
    as_json: JsonOption = False,
) -> None:
    """Gives a version the name of its stage, which the version that had it loses.

    Example: registry alias --registry sqlite:///models.db --name digits --version 3 --alias production
    """
    from accelstack_workloads import registry as step

    given = step.set_alias(registry, name, version, alias)
    if as_json:
        print_json(given)
    else:
        before = f", before version {given['before']}" if given["before"] else ""
        print(f"{alias}: {name} version {given['version']}{before}")


def _plain(value: object) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def fetch(
    uri: Annotated[str, typer.Option(help="Path or fsspec URI of a version's directory.")],
    digest: Annotated[str, typer.Option(help="sha256:… of it.")],
    out: Annotated[Path, typer.Option(help="Where the directory shall be.")],
    public_key: PublicKeyOption = "",
) -> None:
    """Copies a model version to where a server reads it; exits with status 4 if its files have another digest.

    Any directory will do: without a model's two files in it, the digest is over all of its files.

    Example: fetch --uri s3://bucket/models/digits/0123456789ab --digest sha256:… --out model
    """
    from accelstack_workloads import fetch as step

    copied = step.fetch(uri, digest, out, public_key)
    print(f"fetched: {digest} into {out}" if copied else f"unchanged: {digest} in {out}")
