"""What the NVIDIA Network Operator is to do: drivers for InfiniBand cards, and their devices offered to pods."""

import json
from collections.abc import Mapping
from typing import Any

from accelstack.k8s.addon_values import EVERYWHERE
from accelstack.k8s.pod import labels
from accelstack.plan import images

MELLANOX = "15b3"
"""The cards' vendor on PCI."""
REPOSITORY = "nvcr.io/nvidia/mellanox"
PREFIX, RESOURCE = "rdma", "ib"
"""Pods ask for `rdma/ib`, one for each card, as the fabric's table says."""
BLACKLIST = "/host/etc/modprobe.d/blacklist-ofed-modules.conf"
"""Keeps the nodes' own modules from being loaded first (https://github.com/Mellanox/doca-driver-build/issues/52)."""


def nic_cluster_policy(part_of: str, versions: Mapping[str, str], mirror: str = "") -> dict[str, Any]:
    """The operator's one object, without which it does nothing. It gives each pod cards of its own, as one pod has all
    of a node.

    As on AKS's InfiniBand machines (https://github.com/Azure/aks-rdma-infiniband).

    Args:
        versions: with `network_operator` and `doca_driver`, as `plan.addons.pins` gives them.
        mirror: registry and path that images come from; empty for their own.

    Raises:
        KeyError: a version is missing.
    """
    repository = images.mirrored(REPOSITORY, mirror)
    cards = {"vendors": [MELLANOX], "linkTypes": ["infiniband"], "isRdma": True}
    offered = {"resourceList": [{"resourcePrefix": PREFIX, "resourceName": RESOURCE, "selectors": cards}]}
    has_cards = {"key": f"feature.node.kubernetes.io/pci-{MELLANOX}.present", "operator": "In", "values": ["true"]}
    return {
        "apiVersion": "mellanox.com/v1alpha1",
        "kind": "NicClusterPolicy",
        "metadata": {"name": "nic-cluster-policy", "labels": labels(part_of)},
        "spec": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [has_cards]}]
                }
            },
            "tolerations": EVERYWHERE,
            "ofedDriver": {
                "repository": repository,
                "image": "doca-driver",
                "version": f"doca{versions['doca_driver']}",
                "env": [{"name": "OFED_BLACKLIST_MODULES_FILE", "value": BLACKLIST}],
                # a new driver waits until people drain the nodes: training is not stopped for it
                "upgradePolicy": {"autoUpgrade": False},
            },
            "sriovDevicePlugin": {
                "repository": repository,
                "image": "sriov-network-device-plugin",
                "version": f"network-operator-v{versions['network_operator']}",
                "config": json.dumps(offered),
            },
        },
    }
