"""Models whose network is not torch's: a whole `model.onnx`, which ONNX Runtime runs.

It holds weights and operators of ONNX alone: none of it is executed as code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.models.model import Model

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class OnnxNetwork(nn.Module):
    """Stands where torch's network was, since there is none: preprocessing is in the ONNX form too.

    Args:
        content: of the `model.onnx`.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = content

    def forward(self, *_: Any) -> torch.Tensor:
        """Refuses.

        Raises:
            WorkloadError: always.
        """
        raise WorkloadError("model: it is an ONNX form without weights of torch; give the model that it was made from")


def session(content: bytes) -> InferenceSession:
    """ONNX Runtime with the content of a `model.onnx`, on as many threads as torch has.

    Raises:
        WorkloadError: onnxruntime is not installed, or refuses the content.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise WorkloadError("model: a model.onnx needs onnxruntime; install accelstack[export]") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors alone
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it has a kind of its own for each reason
        reason = str(error).splitlines()[0]
        raise WorkloadError(f"model: the model.onnx cannot be loaded ({reason}); make or fetch it again") from error


def run_by_onnx(model: Model, content: bytes) -> Model:
    """The model, in evaluation mode, with ONNX Runtime in place of its network.

    Raises:
        WorkloadError: the content is not ONNX, or takes and gives other tensors than the model.
    """
    runtime = session(content)
    for kind, tensors, specs in (
        ("takes", runtime.get_inputs(), model.inputs),
        ("gives", runtime.get_outputs(), model.outputs),
    ):
        ours, theirs = [spec.name for spec in specs], [tensor.name for tensor in tensors]
        if ours != theirs:
            raise WorkloadError(f"model: the model.onnx {kind} {theirs}, its description {ours}; fetch it again")

    def forward(*inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        named = {spec.name: tensor.numpy() for spec, tensor in zip(model.inputs, inputs, strict=True)}
        outputs = tuple(torch.from_numpy(output) for output in runtime.run(None, named))
        return outputs[0] if len(outputs) == 1 else outputs

    model.network = OnnxNetwork(content)
    model.forward = forward
    return model.eval()
