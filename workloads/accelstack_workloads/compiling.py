"""`torch.compile` of a network, and what to do where it cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from accelstack_workloads.errors import WorkloadError


@contextmanager
def compiling() -> Iterator[None]:
    """A block in which compiled networks run; they are compiled when they first do, for each form of input.

    Raises:
        WorkloadError: a network cannot be compiled, such as for want of a C++ compiler.
    """
    from torch._dynamo.exc import TorchDynamoException  # slow to load, and of no use without --compile
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

    try:
        yield
    except (TorchDynamoException, CppCompileError, InvalidCxxCompiler) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise WorkloadError(
            f"--compile: the network cannot be compiled ({reason}); install a C++ compiler such as g++, name it in "
            "CXX, or leave --compile out"
        ) from error
