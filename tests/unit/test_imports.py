"""Importing the package is cheap and opens nothing."""

import subprocess
import sys

HEAVY = (
    *("torch", "mlflow", "pulumi_aws", "pulumi_gcp", "pulumi_azure_native", "pulumi_kubernetes"),
    *("sagemaker", "google.cloud", "boto3", "azure"),
)


def modules_after(statement: str) -> set[str]:
    program = f"import sys; {statement}; print(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


def test_importing_accelstack_loads_no_cloud_sdk_and_no_torch() -> None:
    loaded = modules_after("import accelstack")
    assert "accelstack" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_importing_the_local_target_loads_no_cloud_sdk_and_no_torch() -> None:
    loaded = modules_after("from accelstack import local")
    assert "accelstack.local.cluster" in loaded
    assert loaded.isdisjoint([*HEAVY, "accelstack_workloads", "fsspec", "pynvml"])
