"""What joins the accelerators of an existing cluster's nodes, by the devices that the nodes offer."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from accelstack.plan import tables
from accelstack.plan.accelerators import KINDS
from accelstack.plan.fabric import NONE, Fabric, Interface, resolve
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.node_groups import Group
from accelstack.plan.request import PoolRequest

EFA = "vpc.amazonaws.com/efa"
DEVICES = {
    "efa": EFA,
    "tcpx": "networking.gke.io.networks/",
    "tcpxo": "networking.gke.io.networks/",
    "roce": "networking.gke.io.networks/",
    "infiniband": "rdma/",
}
"""What the names of a fabric's resources on a node begin with; fabrics whose devices are claimed have none."""
OF_AZURE = ("NCCL_TOPO_FILE",)
"""Variables that name a file which a stack on Azure puts into its pods; here nothing does."""
WITHOUT_HUGE_PAGES = ("FI_EFA_USE_HUGE_PAGE", "0")
"""Of libfabric's EFA provider, where nodes set no huge pages aside
(https://github.com/ofiwg/libfabric/blob/main/man/fi_efa.7.md)."""


def woven(pool: PoolRequest, group: Group) -> tuple[Fabric, list[Finding]]:
    """The fabric of a pool on such nodes, and why it is none or not the one asked for."""
    path = f"{pool.path}fabric"
    if group.accelerator == "cpu" or pool.nodes < 2 or pool.fabric == "none":
        return NONE, []
    machine = group.machine
    usual = machine.fabric if machine else "none"
    seen = _seen(group, usual)
    if pool.fabric not in ("auto", seen or usual):
        has = seen or (f"{usual}, by their machine type" if usual != "none" else "none")
        reason = f"the nodes' fabric is {has}"
        return NONE, [Finding(Severity.ERROR, path, pool.fabric, reason, "leave fabric out, which takes what is there")]
    if machine and usual != "none" and (seen or pool.fabric == usual or usual not in DEVICES):
        fabric = _as_offered(resolve(machine, pool.nodes), group)
    elif seen:
        fabric = _of_devices(seen, group)
    else:
        return NONE, [_tcp(path, pool, group, usual)]
    found: list[Finding] = []
    if not seen and usual in DEVICES:
        reason = f"no node offers {DEVICES[usual]}… yet: pods wait until a device plug-in does"
        fix = "nothing need be done if the nodes were started with it; else leave fabric out"
        found.append(Finding(Severity.WARNING, path, usual, reason, fix))
    if fabric.name != "ici" and fabric.floor is None:
        reason = "no source gives an all-reduce floor for these nodes: the probe measures and warns, but never gates"
        fix = "set probe_floor to the bus bandwidth in GB/s that you expect, if it is to gate"
        found.append(Finding(Severity.WARNING, path, fabric.name, reason, fix))
    return fabric, found


def _seen(group: Group, usual: str) -> str:
    """The fabric that the nodes' devices are of; empty where they offer none."""
    names = [name for name, _ in group.fabric]
    if usual in DEVICES and any(name.startswith(DEVICES[usual]) for name in names):
        return usual
    return next((fabric for fabric in ("efa", "infiniband") if any(n.startswith(DEVICES[fabric]) for n in names)), "")


def _as_offered(fabric: Fabric, group: Group) -> Fabric:
    """A machine type's fabric, under the names and counts with which the nodes offer its devices."""
    devices = dict(group.fabric)
    fabric = replace(fabric, environment=_here(fabric.environment))
    if fabric.name == "infiniband" and devices:
        return replace(fabric, requests=_requests(group, DEVICES["infiniband"]))
    if fabric.name != "efa" or EFA not in devices:
        return fabric
    return _huge_pages(replace(fabric, requests=(*_without(fabric.requests, EFA), (EFA, str(devices[EFA])))), group)


def _of_devices(name: str, group: Group) -> Fabric:
    """A fabric of devices on machines that no table has, without what is true of a cloud's machines alone."""
    facts: dict[str, Any] = tables.document("fabrics")[name]
    devices = _requests(group, DEVICES[name])
    kind = "efa-only" if name == "efa" else "infiniband"
    collectives = "RCCL" if KINDS[group.accelerator].vendor == "amd" else "NCCL"
    others = [(key, value) for key, value in facts.get("requests", {}).items() if not key.startswith(DEVICES[name])]
    fabric = Fabric(
        name=name,
        interfaces=tuple(Interface(card, 0, kind) for card in range(sum(int(count) for _, count in devices))),
        requests=(*others, *devices),
        environment=_here(facts["environment"].items()),
        shared_memory=facts["shared_memory"],
        capabilities=tuple(facts["capabilities"]),
        image=tuple(each.format(collectives=collectives) for each in facts["image"]),
        source=facts["source"],
        date=str(facts["date"]),
    )
    return _huge_pages(fabric, group)


def _here(environment: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Variables whose files are there in an existing cluster."""
    return tuple(each for each in environment if each[0] not in OF_AZURE)


def _requests(group: Group, prefix: str) -> tuple[tuple[str, str], ...]:
    """All of a node's devices where each is one; one where there cannot be so many, which are shares of the same."""
    most = max(group.per_node, 1)
    return tuple((name, str(n if n <= most else 1)) for name, n in group.fabric if name.startswith(prefix))


def _huge_pages(fabric: Fabric, group: Group) -> Fabric:
    """The fabric, without huge pages where a node has none to give: its pods would wait for ever."""
    pages = [name for name, _ in fabric.requests if name.startswith("hugepages-")]
    if all(node.allocatable.get(name) for node in group.nodes for name in pages):
        return fabric
    environment = (*fabric.environment, WITHOUT_HUGE_PAGES)
    return replace(fabric, requests=_without(fabric.requests, *pages), environment=environment)


def _without(requests: tuple[tuple[str, str], ...], *names: str) -> tuple[tuple[str, str], ...]:
    return tuple(each for each in requests if each[0] not in names)


def _tcp(path: str, pool: PoolRequest, group: Group, usual: str) -> Finding:
    reason = "no node offers network devices for accelerators: training between nodes uses TCP"
    fix = "set fabric: none to say that this is meant, or install the device plug-in of the nodes' network"
    if usual != "none" and group.machine:
        reason = f"{group.machine.name} can have {usual}, but no node offers {DEVICES[usual]}…: training uses TCP"
        fix = f"set fabric: {usual} if the nodes were started with it, or fabric: none to say that TCP is meant"
    return Finding(Severity.WARNING, path, pool.fabric, reason, fix)
