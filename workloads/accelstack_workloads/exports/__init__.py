"""Forms that a model is given to other programs in, one per file."""

FORMATS = {
    "torch": "exports.program",
    "onnx": "exports.onnx_file",
    "triton": "exports.triton",
    "tensorflow": "exports.saved_model",
}
"""What can be written, and the module that does."""
