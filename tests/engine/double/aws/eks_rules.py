"""What EKS refuses although its model does not say so.

Sources: https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html, …/cluster-endpoint.html,
…/access-entries.html, …/eks-add-ons.html, …/update-cluster.html, https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html.
"""

from __future__ import annotations

import ipaddress
import json
import re
import secrets
from collections.abc import Iterator
from typing import Any

from tests.engine.double.types import Inputs, Problem, Refusal, Situation, values
from tests.engine.double.wire import UNKNOWN

_CLUSTER, _SUBNET, _ENTRY = "aws:eks/cluster:Cluster", "aws:ec2/subnet:Subnet", "aws:eks/accessEntry:AccessEntry"
_NODES, _ATTACHED = "aws:eks/nodeGroup:NodeGroup", "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
_NO_CONTROL_PLANE = {"use1-az3", "usw1-az2", "cac1-az3"}
_RESERVED = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16")
_EVERY_NODE = {
    "adot",
    "amazon-cloudwatch-observability",
    "eks-node-monitoring-agent",
    "eks-pod-identity-agent",
    "kube-proxy",
    "vpc-cni",
}
_WITH_PODS = {
    "aws-ebs-csi-driver",
    "aws-efs-csi-driver",
    "aws-fsx-csi-driver",
    "coredns",
    "metrics-server",
    "snapshot-controller",
}


def drawn(digits: int) -> str:
    """Hexadecimal digits, new each time: what replaces a cluster differs from it."""
    return secrets.token_hex(digits)[:digits]


def endpoints(inputs: Inputs) -> Iterator[Problem]:
    """A cluster can be reached somewhere, and its public endpoint is for public addresses."""
    network = inputs.get("vpcConfig", UNKNOWN)
    if network is UNKNOWN:
        return
    public, private = network.get("endpointPublicAccess", True), network.get("endpointPrivateAccess", False)
    if public is False and private is False:
        yield Problem("vpcConfig", "InvalidParameterException: private and public endpoint access cannot both be off")
    for text in network.get("publicAccessCidrs") or []:
        if not isinstance(text, str):
            continue
        block = ipaddress.ip_network(text)
        if any(block.version == 4 and block.subnet_of(ipaddress.ip_network(each)) for each in _RESERVED):
            reason = f"InvalidParameterException: {text} is a private range, which public access does not take"
            yield Problem("vpcConfig.publicAccessCidrs", reason)


def version(inputs: Inputs) -> Iterator[Problem]:
    """A version is a minor one."""
    given = inputs.get("version")
    if isinstance(given, str) and not re.fullmatch(r"1\.\d\d", given):
        yield Problem("version", f"InvalidParameterException: unsupported Kubernetes version {given}")


def zones(situation: Situation) -> Iterator[Problem]:
    """The subnets lie in two zones or more of one VPC, in which EKS puts control planes; these zones never change."""
    found = [situation.cloud.find(_SUBNET, each) for each in situation.inputs["vpcConfig"]["subnetIds"]]
    subnets = [each for each in found if each]
    places = {each.outputs["availabilityZoneId"] for each in subnets}
    if len(places) < 2:
        yield Problem(
            "vpcConfig.subnetIds", f"InvalidParameterException: subnets in two zones or more, not in {places}"
        )
    if closed := places & _NO_CONTROL_PLANE:
        yield Problem("vpcConfig.subnetIds", f"UnsupportedAvailabilityZoneException: {closed}")
    if len({each.inputs["vpcId"] for each in subnets}) > 1:
        yield Problem("vpcConfig.subnetIds", "InvalidParameterException: subnets of more than one VPC")
    if situation.old:
        before = [situation.cloud.find(_SUBNET, each) for each in situation.old.inputs["vpcConfig"]["subnetIds"]]
        if places != {each.outputs["availabilityZoneId"] for each in before if each}:
            yield Problem("vpcConfig.subnetIds", "InvalidParameterException: the set of zones cannot change")


def role(situation: Situation) -> Iterator[Problem]:
    """The role may be taken on by EKS and can do what a control plane does."""
    found = situation.cloud.find("aws:iam/role:Role", situation.inputs["roleArn"])
    if found is None:
        return
    if "eks.amazonaws.com" not in json.dumps(found.inputs["assumeRolePolicy"]):
        yield Problem("roleArn", "InvalidParameterException: eks.amazonaws.com may not take the role on")
    attached = [
        each.inputs["policyArn"] for each in situation.cloud.of(_ATTACHED) if each.inputs["role"] in found.handles
    ]
    if not any(arn.endswith(":policy/AmazonEKSClusterPolicy") for arn in attached):
        yield Problem("roleArn", "InvalidParameterException: the role lacks AmazonEKSClusterPolicy")


def one_minor_up(situation: Situation) -> Iterator[Problem]:
    """A control plane goes one minor version up at a time, and never down."""
    if situation.old is None or "version" not in situation.inputs:
        return
    old = int(situation.old.outputs.get("version", situation.inputs["version"]).split(".")[1])
    new = int(situation.inputs["version"].split(".")[1])
    if new not in (old, old + 1):
        yield Problem("version", f"InvalidParameterException: Unsupported Kubernetes minor version update from 1.{old}")


def addon(inputs: Inputs) -> Iterator[Problem]:
    """The add-on exists, its settings are JSON, and its creation keeps nothing of what was there."""
    name = inputs.get("addonName")
    if isinstance(name, str) and name not in _EVERY_NODE | _WITH_PODS:
        yield Problem("addonName", f"InvalidParameterException: Addon {name} is not supported")
    if inputs.get("resolveConflictsOnCreate") == "PRESERVE":
        yield Problem("resolveConflictsOnCreate", "is NONE or OVERWRITE")
    settings = inputs.get("configurationValues")
    if isinstance(settings, str):
        try:
            json.loads(settings)
        except ValueError as error:
            yield Problem("configurationValues", f"InvalidParameterException: {error}")


def has_nodes(situation: Situation) -> Iterator[Problem]:
    """An add-on with pods of its own is active only where there are nodes: the provider waits 20 minutes and fails."""
    cluster, name = situation.inputs["clusterName"], situation.inputs["addonName"]
    groups = [each for each in situation.cloud.of(_NODES) if each.inputs["clusterName"] == cluster]
    nodes = sum(each.inputs["scalingConfig"]["desiredSize"] for each in groups if not each.inputs.get("taints"))
    if name in _WITH_PODS and not nodes and situation.old is None:
        raise Refusal("DEGRADED", f"InsufficientNumberOfReplicas: {name} has no node to run on; timeout after 20m")
    return
    yield


def principal(inputs: Inputs) -> Iterator[Problem]:
    """An access entry is for a role or user, not for a session."""
    arn: Any = inputs.get("principalArn")
    if isinstance(arn, str) and not re.fullmatch(r"arn:aws[\w-]*:iam::\d{12}:(role|user)/.+", arn):
        yield Problem(
            "principalArn", f"InvalidParameterException: The principalArn parameter format is not valid: {arn}"
        )


def not_the_creator(situation: Situation) -> Iterator[Problem]:
    """Who made the cluster has an entry already, if it was made so."""
    cluster = situation.cloud.find(_CLUSTER, situation.inputs["clusterName"])
    creator = f"arn:{situation.config['partition']}:iam::{situation.config['account']}:user/deployer"
    access = cluster.outputs["accessConfig"] if cluster else {}
    if access.get("authenticationMode") == "CONFIG_MAP":
        yield Problem(
            "clusterName", "InvalidRequestException: the cluster's authentication mode takes no access entries"
        )
    own = access.get("bootstrapClusterCreatorAdminPermissions", True)
    if situation.old is None and own and situation.inputs["principalArn"] == creator:
        raise Refusal("ResourceInUseException", f"the specified access entry resource is already in use: {creator}")


def access_policy(inputs: Inputs) -> Iterator[Problem]:
    """The policy is one of EKS's own, and namespaces go with the scope of that name."""
    arn = inputs.get("policyArn")
    if isinstance(arn, str) and not re.fullmatch(r"arn:aws[\w-]*:eks::aws:cluster-access-policy/Amazon\w+", arn):
        yield Problem("policyArn", f"InvalidParameterException: {arn} is no access policy")
    kinds, spaces = values(inputs, "accessScope.type"), values(inputs, "accessScope.namespaces")
    if kinds == ["cluster"] and spaces:
        yield Problem("accessScope.namespaces", "InvalidRequestException: namespaces with a scope of the whole cluster")


def has_entry(situation: Situation) -> Iterator[Problem]:
    """A policy is given to whom the cluster has an access entry for."""
    given = situation.inputs
    entries = [each.inputs for each in situation.cloud.of(_ENTRY)]
    if not any(all(each[name] == given[name] for name in ("clusterName", "principalArn")) for each in entries):
        raise Refusal("ResourceNotFoundException", f"there is no access entry of {given['principalArn']}")
    return
    yield
