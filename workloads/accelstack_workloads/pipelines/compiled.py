"""A pipeline as YAML for Kubeflow Pipelines v2, which Vertex AI Pipelines runs too.

Type hints are evaluated here: kfp reads the parameters of a pipeline from them.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelstack_workloads.atomic import write_file
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.image import check_pinned
from accelstack_workloads.pipelines.plan import Argument, Choice, Output, Parameter, Step, plan

RESULT = "out"
"""Name of the one artifact that each step makes."""
UNCACHED = ("prepare", "register")
"""What is run each time: data elsewhere may have changed, and so may a registry."""
COMPUTING = ("train", "compress")
LOCAL = ("sqlite:", "file:")


@dataclass(frozen=True)
class Place:
    """Where a compiled pipeline's steps run.

    Attributes:
        image: container image with this package and its extras, pinned by its digest.
        accelerator: resource that steps which train ask for, such as `nvidia.com/gpu`; empty for none.
        accelerators: how many of it.

    Raises:
        WorkloadError: a value breaks its rule.
    """

    image: str
    accelerator: str = ""
    accelerators: int = 1

    def __post_init__(self) -> None:
        check_pinned(self.image)
        if self.accelerators < 1:
            raise WorkloadError(f"--accelerators: {self.accelerators} is not above 0; give 1 or more")


def compile_to(path: Path, choice: Choice, place: Place) -> dict[str, Any]:
    """Writes the pipeline, and gives its name, steps and parameters.

    Raises:
        WorkloadError: kfp is not installed, the registry or store lies on one machine, or the file cannot be written.
    """
    if path.suffix not in (".yaml", ".yml", ".json"):
        raise WorkloadError(f"--out: {path} is no name that kfp reads; give one that ends in .yaml")
    for option in ("registry", "store"):
        value = getattr(choice, option)
        if "register" not in choice.skip and ("://" not in value or value.startswith(LOCAL)):
            raise WorkloadError(
                f"--{option}: {value!r} is not reached from the pods of a pipeline; give one that is, such as "
                f"{'https://mlflow.example.com' if option == 'registry' else 's3://bucket/models'}, or --skip register"
            )
    if "://" not in choice.dataset and Path(choice.dataset).exists():
        raise WorkloadError(
            f"--dataset: {choice.dataset!r} is not reached from the pods of a pipeline; give a URI such as s3://bucket/data"
        )
    try:
        from kfp import compiler
    except ModuleNotFoundError as error:
        raise WorkloadError("pipeline: kfp is not installed; install accelstack[pipeline]") from error
    steps = plan(choice)
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder, path.name)
        compiler.Compiler().compile(_pipeline(choice, steps, place), str(compiled))
        write_file(path, compiled.read_bytes())
    return {
        "path": str(path),
        "name": _name(choice),
        "steps": [step.name for step in steps],
        "parameters": sorted({of.name for step in steps for of in step.arguments if isinstance(of, Parameter)}),
        "image": place.image,
    }


def component(step: Step, image: str) -> str:
    """A step as a component of its own: the same command line, with kfp's places of its inputs and output."""

    def word(argument: Argument) -> Any:
        if isinstance(argument, Output):
            return f"{{{{$.inputs.artifacts['{_key(argument.step)}'].path}}}}" + (
                f"/{argument.path}" * bool(argument.path)
            )
        return {"inputValue": argument.name} if isinstance(argument, Parameter) else argument

    parameters = [of for of in step.arguments if isinstance(of, Parameter)]
    return json.dumps(
        {
            "name": step.name,
            "inputs": [
                *({"name": _key(name), "type": "system.Artifact"} for name in step.inputs),
                *({"name": of.name, "type": "Integer" if type(of.value) is int else "String"} for of in parameters),
            ],
            "outputs": [{"name": RESULT, "type": "system.Artifact"}],
            "implementation": {
                "container": {
                    "image": image,
                    "command": ["python", "-m", "accelstack_workloads", "pipeline", "step"],
                    "args": ["--out", {"outputPath": RESULT}, "--", *(word(each) for each in step.arguments)],
                }
            },
        }
    )


def _pipeline(choice: Choice, steps: tuple[Step, ...], place: Place) -> Any:
    from kfp import components, dsl

    def graph(values: dict[str, Any]) -> None:
        tasks: dict[str, Any] = {}
        for step in steps:
            taken = {_key(name): tasks[name].outputs[RESULT] for name in step.inputs}
            given = {of.name: values[of.name] for of in step.arguments if isinstance(of, Parameter)}
            task = components.load_component_from_text(component(step, place.image))(**taken, **given)
            if step.name in UNCACHED:
                task.set_caching_options(False)
            if place.accelerator and step.name in COMPUTING:
                task.set_accelerator_type(place.accelerator).set_accelerator_limit(place.accelerators)
            tasks[step.name] = task

    about = f"Workload {choice.workload}: {', '.join(step.name for step in steps)}."
    if "register" in choice.skip:

        @dsl.pipeline(name=_name(choice), description=about)
        def unregistered(dataset: str = choice.dataset, epochs: int = choice.epochs):
            graph({"dataset": dataset, "epochs": epochs})

        return unregistered

    @dsl.pipeline(name=_name(choice), description=about)
    def registered(
        dataset: str = choice.dataset,
        epochs: int = choice.epochs,
        name: str = choice.name,
        registry: str = choice.registry,
        store: str = choice.store,
    ):
        graph({"dataset": dataset, "epochs": epochs, "name": name, "registry": registry, "store": store})

    return registered


def _name(choice: Choice) -> str:
    return f"accelstack-{choice.workload}"


def _key(step: str) -> str:
    """A step's name as kfp takes it for an input."""
    return step.replace("-", "_")
