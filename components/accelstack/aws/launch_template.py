"""The launch template of a pool: what EC2 is told for each node, as pure data."""

import base64
from collections.abc import Mapping, Sequence

import pulumi
import yaml
from pulumi_aws import ec2

from accelstack.plan.pool import PoolPlan

BOUNDARY = "accelstack"
ROOT_DEVICE = "/dev/xvda"
"""Root volume of Amazon Linux 2023 (https://docs.aws.amazon.com/linux/al2023/ug/ec2.html)."""
TAGGED = ("instance", "volume", "network-interface")
"""What an instance brings with it, and what AWS tags only if the template says so."""


def template(
    pool: PoolPlan,
    groups: Sequence[pulumi.Input[str]],
    placement_group: pulumi.Input[str] | None,
    key_arn: pulumi.Input[str],
    root_gib: int,
    max_pods: int,
    tags: Mapping[str, str],
) -> ec2.LaunchTemplateArgs:
    """The template of a pool's nodes. Image and subnets are the node group's to say, and so is the machine type, except
    that of a capacity block (https://docs.aws.amazon.com/eks/latest/userguide/capacity-blocks-mng.html)."""
    launch = pool.terms.launch
    reservation = launch.get("capacity_reservation_id")
    market = launch.get("market_type")
    interfaces = network_interfaces(pool, groups)
    return ec2.LaunchTemplateArgs(
        description=f"Nodes of pool {pool.name}",
        update_default_version=True,
        user_data=base64.b64encode(user_data(pool, max_pods).encode()).decode(),
        metadata_options=ec2.LaunchTemplateMetadataOptionsArgs(
            http_endpoint="enabled",
            http_tokens="required",
            http_put_response_hop_limit=1,  # pods get no credentials of the node
        ),
        block_device_mappings=[
            ec2.LaunchTemplateBlockDeviceMappingArgs(
                device_name=ROOT_DEVICE,
                ebs=ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                    volume_type="gp3",
                    volume_size=root_gib,
                    encrypted="true",
                    kms_key_id=key_arn,
                    delete_on_termination="true",
                ),
            )
        ],
        # a template has groups in one of the two places
        network_interfaces=interfaces or None,
        vpc_security_group_ids=None if interfaces else [*groups],
        placement=ec2.LaunchTemplatePlacementArgs(group_name=placement_group) if placement_group is not None else None,
        capacity_reservation_specification=ec2.LaunchTemplateCapacityReservationSpecificationArgs(
            capacity_reservation_target=ec2.LaunchTemplateCapacityReservationSpecificationCapacityReservationTargetArgs(
                capacity_reservation_id=reservation
            )
        )
        if reservation
        else None,
        instance_type=pool.machine.name if market else None,
        instance_market_options=ec2.LaunchTemplateInstanceMarketOptionsArgs(market_type=market) if market else None,
        monitoring=ec2.LaunchTemplateMonitoringArgs(enabled=True),
        tag_specifications=[
            ec2.LaunchTemplateTagSpecificationArgs(resource_type=kind, tags=instance_tags(pool, tags))
            for kind in TAGGED
        ],
    )


def network_interfaces(
    pool: PoolPlan, groups: Sequence[pulumi.Input[str]]
) -> list[ec2.LaunchTemplateNetworkInterfaceArgs]:
    """The interfaces of a node on its fabric, the groups inside each; none where the node has its one interface alone.

    The subnet is the node group's to say, and an `efa-only` interface takes nothing that has to do with addresses.
    """
    return [
        ec2.LaunchTemplateNetworkInterfaceArgs(
            network_card_index=interface.card,
            device_index=interface.device,
            interface_type=interface.kind,
            security_groups=[*groups],
            delete_on_termination="true",
            associate_public_ip_address="false" if interface.kind == "interface" else None,
        )
        for interface in pool.fabric.interfaces
    ]


def instance_tags(pool: PoolPlan, tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of what a node brings with it."""
    return {**tags, "Name": pool.name, "accelstack:pool": pool.name}


def user_data(pool: PoolPlan, max_pods: int) -> str:
    """What a node reads when it starts, for EKS to merge with its own: MIME parts for cloud-init.

    Most pods are set as a flag: a flag has precedence over the configuration that EKS writes, in whatever order the two
    are merged (https://awslabs.github.io/amazon-eks-ami/nodeadm/doc/api/).
    """
    part = yaml.safe_dump(node_config(pool, max_pods), sort_keys=False)
    lines = [
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed; boundary="{BOUNDARY}"',
        "",
        f"--{BOUNDARY}",
        "Content-Type: application/node.eks.aws",
        "",
        f"{part}--{BOUNDARY}--",
        "",
    ]
    return "\n".join(lines)


def node_config(pool: PoolPlan, max_pods: int) -> dict[str, object]:
    """nodeadm's configuration of a node. Local NVMe disks, if there are any, become one that holds images and pods.

    The most pods stand twice: memory is reserved by the configuration, and the flag wins over what EKS merges into it.
    """
    spec: dict[str, object] = {"kubelet": {"config": {"maxPods": max_pods}, "flags": [f"--max-pods={max_pods}"]}}
    if pool.machine.local_storage_gib:
        spec["instance"] = {"localStorage": {"strategy": "RAID0"}}
    return {"apiVersion": "node.eks.aws/v1alpha1", "kind": "NodeConfig", "spec": spec}
