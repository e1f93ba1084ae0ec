"""What a step's result depends on: its code, its settings, and the contents of its inputs."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from accelstack_workloads.model_files import folder_digest
from accelstack_workloads.pipelines.plan import Argument, Output, Parameter, Step

PACKAGES = ("numpy", "onnx", "onnxruntime", "scikit-learn", "torch", "torchao")
"""Whose versions results depend on."""
FILE_HASH = "sha256"


def code() -> str:
    """`sha256:<hex>` over this package's modules, and the versions of Python and of what computes."""
    root = Path(__file__).parents[1]
    total = hashlib.sha256(
        json.dumps({"python": platform.python_version()} | {n: _version(n) for n in PACKAGES}).encode()
    )
    for path in sorted(root.rglob("*.py")):
        total.update(f"{path.relative_to(root).as_posix()}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return f"sha256:{total.hexdigest()}"


def dataset(name: str) -> str | None:
    """What identifies a dataset's content: the digest of a file or folder here, the name of a bundled one; None for
    one that lies elsewhere, which only reading can tell.

    Raises:
        WorkloadError: a file cannot be read.
    """
    if "://" in name:
        return None
    path = Path(name)
    if path.is_file():
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, FILE_HASH).hexdigest()}"
    return folder_digest(path) if path.is_dir() else name


def key(step: Step, products: Mapping[str, str], of_code: str, of_dataset: str | None) -> str:
    """`sha256:<hex>` of all that a step's result depends on.

    Args:
        step: it.
        products: digests of what the steps before it made, by their names.
        of_code: the code's digest.
        of_dataset: the dataset's.
    """

    def content(argument: Argument) -> object:
        if isinstance(argument, Output):
            return [products[argument.step], argument.path]
        return [argument.name, argument.value] if isinstance(argument, Parameter) else argument

    parts = [step.name, [content(each) for each in step.arguments], of_code, of_dataset if not step.inputs else None]
    return f"sha256:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
