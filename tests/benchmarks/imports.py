"""What importing the package costs over importing Pulumi."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from tests.benchmarks.measure import Figure, medians, timed

RUNS = 15
UNWANTED = ("torch", "pulumi_aws", "pulumi_gcp", "pulumi_azure_native", "sagemaker", "boto3", "mlflow")


def figures() -> Iterator[Figure]:
    """The ratio of the two imports, each in a fresh interpreter, in turn."""
    base, ours = [sys.executable, "-c", "import pulumi"], [sys.executable, "-c", "import pulumi, accelstack"]
    pairs = [(timed(base), timed(ours)) for _ in range(RUNS)]
    first, second = medians([a for a, _ in pairs]), medians([b for _, b in pairs])
    note = f"{second.seconds:.3f} s against {first.seconds:.3f} s"
    yield Figure("import accelstack / import pulumi", second.seconds / first.seconds, 1.1, note=note)
    program = f"import sys, accelstack; print(sum(name in sys.modules for name in {UNWANTED!r}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    yield Figure("cloud SDKs and torch loaded by import accelstack", float(loaded), 0, unit="")
