"""The steps of a pipeline, as command lines in which the places of files are still open. Nothing here loads torch."""

from __future__ import annotations

from dataclasses import dataclass

from accelstack_workloads.compression.choice import Choice as Compression
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.exports import FORMATS
from accelstack_workloads.settings import Settings
from accelstack_workloads.workloads import workload

OPTIONAL = ("evaluate", "compress", "export", "register")
ONNX_FORMATS = ("onnx", "triton")
"""What a model that is ONNX already can be exported as."""


@dataclass(frozen=True)
class Choice:
    """What a pipeline is to do.

    Attributes:
        workload: a bundled one.
        dataset: its name, path or URI.
        epochs, batch_size, learning_rate, seed: of the training.
        method: of the compression.
        formats: to export.
        name: of the registered model.
        registry: URI of the model registry.
        store: path or URI below which registered models are copied.
        skip: optional steps that are left out.

    Raises:
        WorkloadError: a value breaks its rule.
    """

    workload: str
    dataset: str
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    method: str
    formats: tuple[str, ...]
    name: str
    registry: str
    store: str
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        architecture = workload(self.workload).architectures[0]
        Settings("", self.epochs, self.batch_size, self.learning_rate, self.seed, architecture)
        Compression(self.method, seed=self.seed)
        for step in self.skip:
            if step not in OPTIONAL:
                raise WorkloadError(f"--skip: {step!r} cannot be left out; use some of: {', '.join(OPTIONAL)}")
        for name in self.formats:
            if name not in FORMATS:
                raise WorkloadError(f"--format: {name!r} is not known; use some of: {', '.join(FORMATS)}")
            if name not in ONNX_FORMATS and self.method == "quantize" and not {"compress", "export"} & {*self.skip}:
                raise WorkloadError(
                    f"--format: {name!r} is not made of a quantised model, which is ONNX; "
                    f"use {' or '.join(ONNX_FORMATS)}, --skip compress, or --method prune"
                )


@dataclass(frozen=True)
class Output:
    """The place of what another step wrote: a file or folder in its `--out`."""

    step: str
    path: str = ""


@dataclass(frozen=True)
class Parameter:
    """A value that may differ from run to run of the same pipeline."""

    name: str
    value: str | int


Argument = str | Output | Parameter


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: of the step.
        arguments: of the command line, but for `--out`.
        product: what in its `--out` the steps after it depend on; all of it where empty.
    """

    name: str
    arguments: tuple[Argument, ...]
    product: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the steps that it takes something from, each once."""
        return tuple(dict.fromkeys(each.step for each in self.arguments if isinstance(each, Output)))


def plan(choice: Choice) -> tuple[Step, ...]:
    """The steps in their order; a compressed model takes the trained one's place from there on."""
    data, trained = ("--data", Output("prepare")), ("--model", Output("train", "model"))
    smaller = ("--model", Output("compress", "model"))
    compresses = "compress" not in choice.skip
    last, measure = (smaller, "evaluate-compressed") if compresses else (trained, "evaluate")
    rate = ("--batch-size", str(choice.batch_size), "--learning-rate", repr(choice.learning_rate))
    seed = ("--seed", str(choice.seed))
    formats = tuple(word for name in choice.formats for word in ("--format", name))
    target = (
        *("--name", Parameter("name", choice.name)),
        *("--registry", Parameter("registry", choice.registry)),
        *("--store", Parameter("store", choice.store)),
    )
    measured = () if "evaluate" in choice.skip else ("--evaluation", Output(measure, "evaluation.json"))
    dataset = ("--dataset", Parameter("dataset", choice.dataset))
    epochs = ("--epochs", Parameter("epochs", choice.epochs))
    steps = (
        Step("prepare", ("prepare", "--workload", choice.workload, *dataset)),
        Step("train", ("train", *data, *epochs, *rate, *seed), "model"),
        Step("evaluate", ("evaluate", *trained, *data)),
        Step("compress", ("compress", *trained, *data, "--method", choice.method, *seed), "model"),
        Step("evaluate-compressed", ("evaluate", *smaller, *data)),
        Step("export", ("export", *last, *formats)),
        Step("register", ("register", *last, *target, *measured)),
    )
    left_out = {*choice.skip}
    if {"evaluate", "compress"} & left_out:
        left_out.add("evaluate-compressed")
    return tuple(step for step in steps if step.name not in left_out)
