"""What EC2 and EKS refuse of machines although their models do not say so: interfaces, capacity, placement, offers.

Sources: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/efa-acc-inst-types.html,
https://docs.aws.amazon.com/eks/latest/userguide/launch-templates.html,
https://docs.aws.amazon.com/eks/latest/userguide/capacity-blocks-mng.html,
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/cr-cpg.html.
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.engine.double.aws import facts
from tests.engine.double.types import Inputs, Problem, Situation, values
from tests.engine.double.wire import UNKNOWN

_TEMPLATE, _RESERVATION = "aws:ec2/launchTemplate:LaunchTemplate", "aws:ec2/capacityReservation:CapacityReservation"
_SUBNET, _GROUP = "aws:ec2/subnet:Subnet", "aws:ec2/securityGroup:SecurityGroup"
_PLACEMENT = "aws:ec2/placementGroup:PlacementGroup"
_ADDRESSES = (
    "ipv4AddressCount", "ipv4Addresses", "ipv4PrefixCount", "ipv4Prefixes", "ipv6AddressCount", "ipv6Addresses",
    "ipv6PrefixCount", "ipv6Prefixes", "privateIpAddress", "associatePublicIpAddress",
)  # fmt: skip
_TARGET = "capacityReservationSpecification.capacityReservationTarget"


def interfaces(inputs: Inputs) -> Iterator[Problem]:
    """A launch template's interfaces, against the cards of its machine type where that is known."""
    given = inputs.get("networkInterfaces", [])
    if given is UNKNOWN or not given:
        return
    if "vpcSecurityGroupIds" in inputs or "securityGroupNames" in inputs:
        reason = "InvalidParameterCombination: with network interfaces, security groups go inside each interface"
        yield Problem("vpcSecurityGroupIds", reason)
    places = Counter((one.get("networkCardIndex", 0), one.get("deviceIndex")) for one in given)
    for (card, device), count in places.items():
        if count > 1:
            yield Problem("networkInterfaces", f"card {card} has device {device} {count} times")
    if (0, 0) not in places:
        yield Problem("networkInterfaces", "there is no primary interface: card 0, device 0")
    public = [one for one in given if str(one.get("associatePublicIpAddress", "")).lower() == "true"]
    if public and len(given) > 1:
        yield Problem("networkInterfaces", "a public address is only given to a machine with a single interface")
    for index, one in enumerate(given):
        if one.get("interfaceType") == "efa-only":
            path = f"networkInterfaces[{index}]"
            if (one.get("networkCardIndex", 0), one.get("deviceIndex")) == (0, 0):
                yield Problem(path, "the primary interface carries addresses: it cannot be efa-only")
            if addressed := [name for name in _ADDRESSES if name in one]:
                yield Problem(path, f"an efa-only interface takes no addresses: {', '.join(addressed)}")
    machine = inputs.get("instanceType", UNKNOWN)
    if machine is not UNKNOWN:
        yield from (Problem("networkInterfaces", reason) for reason in layout(given, machine))


def layout(given: list[dict[str, Any]], machine: str) -> Iterator[str]:
    """What the machine's network cards do not allow of these interfaces. Machines that moto does not carry pass."""
    known = facts.machines().get(machine, {}).get("NetworkInfo")
    if known is None:
        return
    cards = {card["NetworkCardIndex"]: card for card in known["NetworkCards"]}
    kinds = Counter[int]()
    fabric = [one for one in given if one.get("interfaceType") in ("efa", "efa-only")]
    for one in given:
        index, kind = one.get("networkCardIndex", 0), one.get("interfaceType", "interface")
        kinds[index] += 1
        if index not in cards:
            yield f"{machine} has no network card {index}, only {len(cards)} of them"
        elif kind not in cards[index].get("InterfaceTypes", ["interface", "efa", "efa-only"]):
            yield f"card {index} of {machine} takes no {kind} interface"
    for index, count in kinds.items():
        if index in cards and count > cards[index]["MaximumNetworkInterfaces"]:
            yield f"card {index} of {machine} takes {cards[index]['MaximumNetworkInterfaces']} interfaces, not {count}"
    most = known.get("EfaInfo", {}).get("MaximumEfaInterfaces", 0) if known.get("EfaSupported") else 0
    if len(fabric) > most:
        yield f"{machine} takes {most} EFA interfaces, not {len(fabric)}"
    for index, count in Counter(one.get("networkCardIndex", 0) for one in fabric).items():
        if count > 1:
            yield f"a network card takes one EFA interface, card {index} has {count}"


def user_data(inputs: Inputs) -> Iterator[Problem]:
    """User data is base64 of at most 16 KiB."""
    given = inputs.get("userData", UNKNOWN)
    if given is UNKNOWN:
        return
    try:
        raw = base64.b64decode(given, validate=True)
    except (binascii.Error, TypeError, ValueError):
        yield Problem("userData", "InvalidUserData.Malformed: it is not base64")
        return
    if len(raw) > 16 * 1024:
        yield Problem("userData", f"InvalidUserData.Malformed: at most 16 KiB, not {len(raw)} bytes")


def market(inputs: Inputs) -> Iterator[Problem]:
    """A capacity block is bought by its reservation."""
    kinds = values(inputs, "instanceMarketOptions.marketType")
    target = inputs.get("capacityReservationSpecification", {})
    if "capacity-block" in kinds and target is not UNKNOWN and not target.get("capacityReservationTarget"):
        path = "capacityReservationSpecification"
        yield Problem(path, "marketType capacity-block needs the block's reservation as capacityReservationTarget")


def known_machine(inputs: Inputs) -> Iterator[Problem]:
    """A reservation's machine type is one that EC2 has: the API takes any text."""
    machine = inputs.get("instanceType", UNKNOWN)
    if machine is not UNKNOWN and machine not in facts.machines():
        yield Problem("instanceType", f"EC2 has no {machine}")


def reservation_in_group(situation: Situation) -> Iterator[Problem]:
    """A placement group and a reservation that was not made in it never launch anything together."""
    for group in values(situation.inputs, "placement.groupName"):
        for named in values(situation.inputs, f"{_TARGET}.capacityReservationId"):
            found = situation.cloud.find(_RESERVATION, named)
            placement = situation.cloud.find(_PLACEMENT, group)
            arn = found.inputs.get("placementGroupArn") if found else None
            if placement is None or arn != placement.outputs["arn"]:
                yield Problem(
                    "placement.groupName", f"{named} was not reserved in {group}: every launch would lack capacity"
                )


def sizes(inputs: Inputs) -> Iterator[Problem]:
    """Smallest, wanted and greatest number of nodes, in that order."""
    scaling = inputs.get("scalingConfig", UNKNOWN)
    found = [] if scaling is UNKNOWN else [scaling.get(name) for name in ("minSize", "desiredSize", "maxSize")]
    known = [one for one in found if isinstance(one, int)]
    if known != sorted(known):
        yield Problem("scalingConfig", f"minSize ≤ desiredSize ≤ maxSize does not hold: {scaling}")
    if found and found[2] == 0:
        yield Problem("scalingConfig.maxSize", "a node group has a maxSize of at least 1")


def node_group(inputs: Inputs) -> Iterator[Problem]:
    """What a node group may not say beside a launch template, and must say for a capacity block."""
    if "launchTemplate" in inputs:
        for name in ("diskSize", "remoteAccess"):
            if name in inputs:
                yield Problem(name, "InvalidParameterException: belongs into the launch template where there is one")
    elif inputs.get("capacityType") == "CAPACITY_BLOCK":
        yield Problem("capacityType", "CAPACITY_BLOCK needs a launch template with the block's reservation")
    if inputs.get("amiType") == "CUSTOM" and {"version", "releaseVersion"} & set(inputs):
        yield Problem("amiType", "with an image of one's own neither version nor releaseVersion is given")


def node_group_template(situation: Situation) -> Iterator[Problem]:
    """What EKS does not allow in the launch template of a managed node group."""
    template = _template(situation)
    if template is None:
        return
    inputs, data = situation.inputs, template.inputs
    if "version" not in inputs["launchTemplate"]:
        yield Problem("launchTemplate.version", "is required")
    for name in (
        "iamInstanceProfile",
        "hibernationOptions",
        "instanceInitiatedShutdownBehavior",
        "instanceRequirements",
    ):
        if name in data:
            yield Problem("launchTemplate", f"EKS does not allow {name} in the launch template of a managed node group")
    if values(data, "networkInterfaces.subnetId"):
        yield Problem(
            "launchTemplate", "EKS places nodes by subnetIds: the template's interfaces may not name a subnet"
        )
    if "instanceType" in data and inputs.get("instanceTypes"):
        yield Problem("instanceTypes", "the machine type is given in the launch template already")
    kinds, capacity = values(data, "instanceMarketOptions.marketType"), inputs.get("capacityType", "ON_DEMAND")
    if "spot" in kinds:
        yield Problem("launchTemplate", "spot is asked for by capacityType, not in the launch template")
    if ("capacity-block" in kinds) != (capacity == "CAPACITY_BLOCK"):
        yield Problem(
            "capacityType", f"CAPACITY_BLOCK and marketType capacity-block go together, not {capacity} and {kinds}"
        )
    if capacity == "CAPACITY_BLOCK" and "instanceType" not in data:
        yield Problem("launchTemplate", "a capacity block's machine type is given in the launch template")
    if capacity == "SPOT" and values(data, _TARGET):
        yield Problem("capacityType", "spot machines take no reservation")
    if "imageId" not in data and "userData" in data and "BOTTLEROCKET" not in inputs.get("amiType", ""):
        text = base64.b64decode(data["userData"]).decode(errors="replace").lower()
        if "multipart/mixed" not in text or not text.startswith(("mime-version", "content-type")):
            yield Problem("launchTemplate", "EKS merges user data, which has to be a MIME multipart document")
    for machine in inputs.get("instanceTypes", []):
        yield from (Problem("instanceTypes", reason) for reason in layout(data.get("networkInterfaces", []), machine))


def offered(situation: Situation) -> Iterator[Problem]:
    """Every zone of a node group's subnets has its machine types; what moto does not carry passes."""
    template, sold = _template(situation), facts.offered(situation.config["region"])
    machines = situation.inputs.get("instanceTypes") or (values(template.inputs, "instanceType") if template else [])
    for named in situation.inputs["subnetIds"]:
        subnet = situation.cloud.find(_SUBNET, named)
        zone = subnet.outputs["availabilityZoneId"] if subnet else ""
        for machine in machines:
            if sold and machine in facts.machines() and machine not in sold.get(zone, frozenset()):
                yield Problem("subnetIds", f"Unsupported: {zone} of {named} has no {machine}")


def reserved(situation: Situation) -> Iterator[Problem]:
    """A reservation exists, in the one zone of the node group, for its machine type."""
    template = _template(situation)
    target = values(template.inputs, f"{_TARGET}.capacityReservationId") if template else []
    found = [situation.cloud.find(_SUBNET, named) for named in situation.inputs["subnetIds"]]
    zones = {subnet.outputs["availabilityZone"] for subnet in found if subnet}
    if target and len(zones) != 1:
        yield Problem("subnetIds", f"a reservation is in one zone, the subnets are in {sorted(zones)}")
    for named in target:
        reservation = situation.cloud.find(_RESERVATION, named)
        if reservation is None:
            yield Problem("launchTemplate", f"InvalidCapacityReservationId.NotFound: {named}")
            continue
        if zones != {reservation.inputs["availabilityZone"]}:
            yield Problem("subnetIds", f"{named} is in {reservation.inputs['availabilityZone']}, not {sorted(zones)}")
        machines = situation.inputs.get("instanceTypes") or values(template.inputs, "instanceType") if template else []
        if machines != [reservation.inputs["instanceType"]]:
            yield Problem("instanceTypes", f"{named} is for {reservation.inputs['instanceType']}, not {machines}")


def joins(situation: Situation) -> Iterator[Problem]:
    """Nodes become ready only where a network plug-in is: EKS's own, or the add-on where the cluster came without."""
    wanted = situation.inputs.get("scalingConfig", {}).get("desiredSize", 0)
    cluster = situation.cloud.find("aws:eks/cluster:Cluster", situation.inputs["clusterName"])
    if not wanted or cluster is None or cluster.inputs.get("bootstrapSelfManagedAddons", True):
        return
    addons = [one.inputs for one in situation.cloud.of("aws:eks/addon:Addon")]
    if not any(one["clusterName"] in cluster.handles and one["addonName"] == "vpc-cni" for one in addons):
        yield Problem("", "NodeCreationFailure: Unhealthy nodes in the kubernetes cluster: there is no vpc-cni")


def _template(situation: Situation) -> Any:
    named = situation.inputs.get("launchTemplate", {})
    return situation.cloud.find(_TEMPLATE, named.get("id") or named.get("name") or "")
