"""A plan, its findings and a comparison, as a person reads them."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from accelstack.plan.compare import Option
from accelstack.plan.findings import Finding, Severity, errors
from accelstack.plan.plan import Plan
from accelstack.plan.pool import PoolPlan
from accelstack.plan.pricing import Estimate
from accelstack.plan.quota import Need
from accelstack.report.layout import interfaces, line, money, table


def plan(decided: Plan) -> RenderableType:
    """The whole plan: pools, versions, network, quotas, price, findings and the verdict; one that does not fit is its
    pools and what is wrong."""
    parts: list[RenderableType] = []
    request = decided.request
    if request and decided.pools and not decided.fits:
        parts.append(_pools(f"{request.target} {request.region}", decided.pools))
    elif request and decided.pools:
        parts.append(_pools(f"{request.target} {request.region}", decided.pools))
        for pool in decided.pools:
            parts += [_nodes(pool), *([wiring] if (wiring := _wiring(pool)) else [])]
            if pool.machine.note:
                parts.append(line(f"{pool.machine.name}, note", pool.machine.note))
        if decided.versions:
            parts.append(line("versions", ", ".join(f"{name} {version}" for name, version in decided.versions.items())))
        blocks = [f"{s.name} {s.zone} {s.cidr}".replace("  ", " ") for s in decided.subnets if "-fabric-" not in s.name]
        fabric = sum("-fabric-" in subnet.name for subnet in decided.subnets)
        if blocks:
            parts.append(line("subnets", ", ".join([*blocks, *([f"and {fabric} for fabrics"] if fabric else [])])))
        needs = [_need(need) for need in decided.quotas]
        if needs:
            parts.append(line("quota needed", ", ".join(needs)))
        parts.append(line("price", _price(decided.estimate)))
    parts += findings(decided.findings)
    parts.append(_verdict(decided))
    return Group(*parts)


def _need(need: Need) -> str:
    unit = need.unit if need.amount > 1 else need.unit[:-1]
    return f"{need.amount:,} {unit} of {need.title}{'' if need.title == need.quota else f' ({need.quota})'}"


def findings(found: Iterable[Finding]) -> list[RenderableType]:
    """A paragraph for each finding, errors first."""
    ordered = sorted(found, key=lambda finding: finding.severity is Severity.WARNING)
    style = {Severity.INVALID: "red", Severity.ERROR: "red", Severity.WARNING: "yellow"}
    return [
        Text.assemble((finding.severity.value, style[finding.severity]), f" {finding}", overflow="fold")
        for finding in ordered
    ]


def options(found: Sequence[Option]) -> Table:
    """Places where a pool could be, with their prices."""
    rows = table(None)
    for column in ("target", "region", "machine", "accelerator", "fabric"):
        rows.add_column(column, overflow="fold")
    for column in ("nodes", "USD/h", "USD/month"):
        rows.add_column(column, justify="right")
    rows.add_column("priced", no_wrap=True)
    for option in found:
        facts = option.as_dict()
        rows.add_row(
            option.machine.target,
            option.offer.region,
            option.machine.name,
            f"{option.machine.accelerator}:{option.machine.per_node}",
            interfaces(option.machine.fabric, option.machine.fabric_interfaces),
            str(option.nodes),
            money(option.hourly_usd, 2),
            money(facts["monthly_usd"]),
            str(facts["catalogue_date"] or ""),
        )
    return rows


def _pools(title: str, pools: Sequence[PoolPlan]) -> Table:
    rows = table(title)
    for column in ("pool", "machine", "accelerator"):
        rows.add_column(column, overflow="fold")
    rows.add_column("nodes", justify="right", no_wrap=True)
    for column in ("capacity", "fabric"):
        rows.add_column(column, no_wrap=True)
    for column in ("USD/h", "USD/month"):
        rows.add_column(column, justify="right", no_wrap=True)
    for pool in pools:
        machine = pool.machine
        nodes = str(pool.nodes) if pool.nodes == pool.min_nodes else f"{pool.min_nodes} to {pool.nodes}"
        rows.add_row(
            pool.name,
            machine.name,
            f"{machine.accelerator}:{machine.per_node}",
            nodes,
            pool.terms.capacity,
            interfaces(pool.fabric.name, pool.fabric.count),
            money(pool.hourly_usd, 2),
            money(pool.cost.monthly_usd),
        )
    return rows


def _nodes(pool: PoolPlan) -> RenderableType:
    """Where a pool's nodes start, and with what."""
    machine = pool.machine
    driver = {
        "image": f"driver {pool.driver} is in the image",
        "cloud": f"the cloud installs driver {pool.driver}",
        "operator": f"the GPU Operator installs driver {pool.driver}"
        if pool.driver
        else "its operator installs the driver",
        "none": "no driver",
    }[machine.driver]
    launch = ", ".join(f"{key} {value}" for key, value in pool.terms.launch.items())
    if name := pool.terms.launch.get("instance_type"):
        return line(pool.name, f"{name} of the managed platform")
    parts = [
        f"zones {', '.join(pool.terms.zones)}" if pool.terms.zones else "",
        f"placement {pool.terms.placement}",
        f"image {machine.image} ({machine.architecture}), {driver}" if machine.image else "",
        launch,
        f"taints {', '.join(pool.terms.taints)}" if pool.terms.taints else "",
    ]
    return line(pool.name, "; ".join(part for part in parts if part))


def _wiring(pool: PoolPlan) -> RenderableType | None:
    """What the fabric of a pool asks of its pods and their image."""
    woven = pool.fabric
    if woven.name == "none":
        return None
    requests = ", ".join(f"{name}: {amount}" for name, amount in woven.requests)
    parts = [f"pods ask for {requests}"] if requests else []
    if woven.image:
        parts.append(f"the image holds {', '.join(woven.image)}")
    if woven.claims:
        parts.append(f"pods claim {', '.join(f'{count} of {name}' for name, count in woven.claims)}")
    if woven.shared_memory:
        parts.append(f"{woven.shared_memory} of shared memory")
    if woven.capabilities:
        parts.append(f"capability {', '.join(woven.capabilities)}")
    if woven.sidecar:
        parts.append(f"sidecar {woven.sidecar.name} in every pod")
    for each in woven.networks:
        extra = "1 extra network" if each.networks == 1 else f"{each.networks} extra networks"
        subnets = "1 subnet" if each.subnets == 1 else f"{each.subnets} subnets"
        profile = f", profile {each.profile}" if each.profile else ""
        parts.append(f"{extra} of MTU {each.mtu} with {subnets}{profile}")
    if woven.host:
        parts.append(f"the cluster has {', '.join(woven.host)}")
    if woven.floor:
        parts.append(f"all-reduce of {woven.floor.bus_gbs:g} GB/s or more ({woven.floor.conditions})")
    return line(f"{pool.name} {woven.name}", "; ".join(parts)) if parts else None


def _price(estimate: Estimate) -> str:
    if estimate.monthly_usd is not None:
        parts = [
            f"{money(estimate.hourly_usd, 2)} USD/h, {money(estimate.monthly_usd)} USD a month with all nodes running"
        ]
    else:
        parts = [
            f"unknown: no source gives a price for {', '.join(estimate.unknown)}",
            f"the rest is {money(estimate.known_monthly_usd)} USD a month",
        ]
    services = [item for item in estimate.items if not item.name.startswith("pool ")]
    parts += [f"{item.name} {money(item.monthly_usd)}" for item in services]
    if estimate.catalogue_date:
        dearest = max(estimate.items, key=lambda item: item.monthly_usd or 0)
        parts.append(f"{dearest.name} priced on {dearest.date}, nothing before {estimate.catalogue_date}")
        nat = "" if any(item.name.startswith("NAT") for item in estimate.items) else " NAT,"
        parts.append(f"without disks,{nat} load balancers, traffic, taxes and discounts")
    return "; ".join(parts)


def _verdict(decided: Plan) -> Text:
    count = len(errors(decided.findings))
    if not count:
        return Text("The plan fits.", style="green")
    return Text(f"The plan does not fit: {count} {'error' if count == 1 else 'errors'}.", style="bold red")
