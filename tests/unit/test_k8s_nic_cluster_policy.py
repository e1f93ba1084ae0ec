"""What the Network Operator is told: cards with InfiniBand, offered under the name that pods ask for."""

import json

import pytest
from accelstack.k8s.nic_cluster_policy import nic_cluster_policy
from accelstack.plan import addons, tables

VERSIONS = addons.pins(["network_operator"], "private", {})


def test_pods_ask_for_what_it_offers() -> None:
    policy = nic_cluster_policy("lab", VERSIONS)
    (offered,) = json.loads(policy["spec"]["sriovDevicePlugin"]["config"])["resourceList"]
    assert (
        f"{offered['resourcePrefix']}/{offered['resourceName']}" in tables.document("fabrics")["infiniband"]["requests"]
    )
    assert offered["selectors"] == {"vendors": ["15b3"], "linkTypes": ["infiniband"], "isRdma": True}
    assert policy["spec"]["tolerations"] == [{"operator": "Exists"}]


def test_its_images_go_with_the_operator_and_come_from_a_mirror() -> None:
    spec = nic_cluster_policy("lab", VERSIONS, "own.example/m")["spec"]
    assert spec["ofedDriver"]["version"] == f"doca{VERSIONS['doca_driver']}"
    assert spec["sriovDevicePlugin"]["version"] == f"network-operator-v{VERSIONS['network_operator']}"
    assert {spec[each]["repository"] for each in ("ofedDriver", "sriovDevicePlugin")} == {
        "own.example/m/nvcr.io/nvidia/mellanox"
    }


def test_a_version_that_is_missing_is_named() -> None:
    with pytest.raises(KeyError, match="doca_driver"):
        nic_cluster_policy("lab", {"network_operator": "26.4.1"})
