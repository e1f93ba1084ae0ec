"""A model as a SavedModel for TensorFlow Serving, by way of JAX: torchax, then jax2tf.

It is made in a process of its own, `python -m accelstack_workloads.exports.saved_model MODEL OUT`: TensorFlow and torch
each bring an LLVM, and the one that comes second ends the process when torch's comes second.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from accelstack_workloads import model_format
from accelstack_workloads.errors import EXIT_BAD_INPUT, WorkloadError
from accelstack_workloads.exports import trial
from accelstack_workloads.exports.program import program
from accelstack_workloads.models.model import Model
from accelstack_workloads.tensors import Arrays

FOLDER = Path("tensorflow", "1")
PACKAGES = ("jax", "tensorflow", "torchax")
LONGEST = 500  # seconds


def write(model_folder: Path, folder: Path) -> float:
    """Writes the SavedModel at `tensorflow/1`, version 1 for TensorFlow Serving, and gives its largest difference from
    the model.

    Raises:
        WorkloadError: packages are missing, the model cannot be exported, or the result differs from it.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise WorkloadError(
            f"--format: tensorflow needs {', '.join(missing)}; install accelstack[tensorflow], or leave it out"
        )
    command = [sys.executable, "-m", __name__, str(model_folder), str(folder / FOLDER)]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=quiet, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired as error:
        raise WorkloadError(f"--format: tensorflow took over {LONGEST} s; leave it out") from error
    said = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    if done.returncode == EXIT_BAD_INPUT:
        raise WorkloadError(said[-1])
    if done.returncode:
        raise WorkloadError(f"--format: tensorflow cannot be made ({said[-1] if said else 'no reason'}); leave it out")
    return float(said[-1])


def make(model: Model, target: Path) -> float:
    """What `write` does, in this process, which must not have loaded TensorFlow yet."""
    traced = program(model)
    torchax, jax2tf, tensorflow = map(
        importlib.import_module, ("torchax.export", "jax.experimental.jax2tf", "tensorflow")
    )
    weights, function = torchax.exported_program_to_jax(traced)

    def call(*tensors: object) -> object:
        return function(weights, tensors)

    convert = jax2tf.convert(
        call, polymorphic_shapes=_shapes(model), native_serialization_platforms=("cpu", "cuda"), with_gradient=False
    )
    types = {"FP32": tensorflow.float32, "INT64": tensorflow.int64}
    signature = [
        tensorflow.TensorSpec([None, *(None if size < 0 else size for size in spec.shape)], types[spec.datatype], name)
        for spec in model.inputs
        for name in [spec.name]
    ]
    names = [spec.name for spec in model.outputs]

    @tensorflow.function(autograph=False, input_signature=signature)
    def serve(*tensors: object) -> dict[str, object]:
        return dict(zip(names, convert(*tensors), strict=True))

    tensorflow.saved_model.save(tensorflow.Module(), str(target), signatures={"serving_default": serve})
    served = tensorflow.saved_model.load(str(target)).signatures["serving_default"]

    def form(inputs: Arrays) -> Arrays:
        outputs = served(**{name: tensorflow.constant(array) for name, array in inputs.items()})
        return {name: outputs[name].numpy() for name in names}

    return trial.differences(model, form, "tensorflow")


def _shapes(model: Model) -> list[str]:
    """Each input's axes for jax2tf: the batch is `b`, and a length that varies has a letter of its own."""
    return [
        "(b, " + ", ".join(f"n{place}_{axis}" if size < 0 else str(size) for axis, size in enumerate(spec.shape)) + ")"
        for place, spec in enumerate(model.inputs)
    ]


if __name__ == "__main__":
    try:
        print(make(model_format.load(Path(sys.argv[1])), Path(sys.argv[2])))
    except WorkloadError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
