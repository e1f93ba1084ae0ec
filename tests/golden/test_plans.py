"""Ten plans that people really run, as a person and as a program reads them.

Renew them with `pytest tests/golden --snapshot-update`, and read the difference.
"""

from typing import Any

import pytest
from accelstack.plan.export import as_dict
from accelstack.plan.plan import plan
from accelstack.report import layout
from accelstack.report import plans as shown
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

PLANS: dict[str, dict[str, Any]] = {
    "aws-h100-spot-training": {
        "target": "aws",
        "region": "us-east-1",
        "zones": "use1-az2",
        "accelerator": "H100:8",
        "nodes": 4,
        "capacity": "spot",
        "budget": 200_000,
    },
    "aws-h200-capacity-block": {
        "target": "aws",
        "region": "us-east-2",
        "zones": "use2-az3",
        "accelerator": "H200:8",
        "nodes": 16,
        "machine": "p5en.48xlarge",
        "capacity": "block",
        "reservation": "cr-0123456789abcdef0",
    },
    "aws-gb200-ultraserver": {
        "target": "aws",
        "region": "us-east-1",
        "accelerator": "GB200:4",
        "nodes": 9,
        "capacity": "block",
        "reservation": "cr-0123456789abcdef0",
        "architecture": "arm64",
    },
    "aws-l40s-fine-tuning-and-l4-serving": {
        "target": "aws",
        "region": "eu-central-1",
        "budget": 20_000,
        "storage_gib": 2000,
        "egress_gib": 500,
        "pools": {
            "tune": {"accelerator": "L40S:4", "nodes": 2, "min_nodes": 0, "capacity": "spot", "fabric": "efa"},
            "serve": {"accelerator": "L4:1", "nodes": 6, "min_nodes": 2, "fabric": "none"},
        },
    },
    "gcp-h100-tcpxo-reservation": {
        "target": "gcp",
        "region": "us-central1",
        "zones": "us-central1-a",
        "accelerator": "H100:8",
        "nodes": 8,
        "capacity": "reservation",
        "reservation": "h100-mega",
        "fabric": "tcpxo",
    },
    "gcp-b200-spot-training": {
        "target": "gcp",
        "region": "us-central1",
        "zones": "us-central1-b",
        "accelerator": "B200:8",
        "nodes": 2,
        "capacity": "spot",
    },
    "gcp-tpu-v6e-flex-start": {
        "target": "gcp",
        "region": "us-east5",
        "zones": "us-east5-b",
        "accelerator": "TPU-v6e:4",
        "nodes": 4,
        "min_nodes": 0,
        "capacity": "flex_start",
    },
    "gcp-a100-spot-and-l4-serving": {
        "target": "gcp",
        "region": "us-central1",
        "budget": 60_000,
        "pools": {
            "train": {"accelerator": "A100-80:8", "nodes": 2, "min_nodes": 0, "capacity": "spot"},
            "serve": {"accelerator": "L4:1", "nodes": 4, "min_nodes": 0, "fabric": "none"},
        },
    },
    "azure-h100-infiniband-training": {
        "target": "azure",
        "region": "eastus",
        "accelerator": "H100:8",
        "nodes": 4,
        "cidr": "10.20.0.0/16",
    },
    "azure-mi300x-training-and-t4-serving": {
        "target": "azure",
        "region": "francecentral",
        "pools": {
            "train": {"accelerator": "MI300X:8", "nodes": 2},
            "serve": {"accelerator": "T4:1", "nodes": 3, "capacity": "spot"},
        },
    },
}


class TextFile(SingleFileSnapshotExtension):
    """A snapshot as a text file of its own."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_reads_as_before(name: str, snapshot: SnapshotAssertion) -> None:
    decided = plan(PLANS[name])
    assert layout.text(shown.plan(decided)) == snapshot(extension_class=TextFile, name=name)
    assert as_dict(decided) == snapshot(extension_class=JSONSnapshotExtension, name=name)


@pytest.mark.parametrize("name", PLANS)
def test_each_of_them_fits(name: str) -> None:
    assert plan(PLANS[name]).fits


def test_there_are_ten_of_them_on_every_cloud() -> None:
    assert len(PLANS) == 10
    assert {given["target"] for given in PLANS.values()} == {"aws", "gcp", "azure"}
