"""A model repository for Triton Inference Server, with its ONNX Runtime backend.

https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/model_repository.html
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from accelstack_workloads.atomic import write_file
from accelstack_workloads.exports import onnx_file
from accelstack_workloads.model_files import ONNX
from accelstack_workloads.models.model import Model
from accelstack_workloads.tensors import TensorSpec

triton: Any = model_config_pb2  # its classes are made when it is imported

FOLDER = "triton"
LARGEST_BATCH = 64
LONGEST_WAIT = 1000  # microseconds that a request may wait for others to share its batch
DATATYPES = {"FP32": triton.TYPE_FP32, "INT64": triton.TYPE_INT64}


def config(model: Model, name: str) -> Any:
    """The `ModelConfig` of a `config.pbtxt`: requests that come together are answered as one batch."""
    return triton.ModelConfig(
        name=name,
        backend="onnxruntime",
        max_batch_size=LARGEST_BATCH,
        input=[_tensor(spec, triton.ModelInput) for spec in model.inputs],
        output=[_tensor(spec, triton.ModelOutput) for spec in model.outputs],
        dynamic_batching=triton.ModelDynamicBatching(max_queue_delay_microseconds=LONGEST_WAIT),
    )


def write(model: Model, folder: Path) -> float:
    """Writes `triton/<workload>/config.pbtxt` and `1/model.onnx` beside it, and gives the latter's largest difference
    from the model.

    Raises:
        WorkloadError: the model cannot be exported, the result differs from it, or cannot be written.
    """
    content = onnx_file.onnx(model)
    largest = onnx_file.run(content, model)
    name = model.description.workload
    target = folder / FOLDER / name
    write_file(target / "config.pbtxt", text_format.MessageToString(config(model, name)).encode())
    write_file(target / "1" / ONNX, content)
    return largest


def _tensor(spec: TensorSpec, kind: Any) -> Any:
    tensor = kind(name=spec.name, data_type=DATATYPES[spec.datatype], dims=spec.shape or (1,))
    if not spec.shape:  # Triton wants a size where there is none but the batch's, and takes it out again
        tensor.reshape.CopyFrom(triton.ModelTensorReshape())
    return tensor
