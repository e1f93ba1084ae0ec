"""What the steps' command lines share."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

ModelOption = Annotated[Path, typer.Option("--model", help="Model directory, such as the RUN/model of `train`.")]
DataOption = Annotated[Path, typer.Option("--data", help="Folder that `prepare` wrote.")]
NameOption = Annotated[str, typer.Option("--name", help="Name of the registered model.")]
RegistryOption = Annotated[
    str, typer.Option("--registry", help="SQLAlchemy URI of the database, such as sqlite:////srv/models.db.")
]
PublicKeyOption = Annotated[
    str,
    typer.Option("--public-key", help="Key that must have signed the model, as `register` prints it; none if empty."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON instead of text.")]


def rank() -> int:
    """This process's number under torchrun."""
    return int(os.environ.get("RANK", "0"))


def print_json(content: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Prints a result on one line."""
    print(json.dumps(content))


def leave(status: int) -> NoReturn:
    """Ends the process at once: threads of torch that outlive the interpreter abort it now and then."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
