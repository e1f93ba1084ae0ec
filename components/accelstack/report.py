"""Plans and tables as a person likes to read them, in a terminal or in an engine's log."""

import sys
from collections.abc import Iterable, Sequence
from io import StringIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from accelstack.checks import Check, State
from accelstack.plan.accelerators import KINDS
from accelstack.plan.compare import Option
from accelstack.plan.findings import Finding, Severity, errors
from accelstack.plan.machines import Machine, Price
from accelstack.plan.plan import Plan, PoolPlan
from accelstack.plan.pricing import Estimate

WIDTH = 118


def console() -> Console:
    """The terminal, or lines of a fixed width where the output goes elsewhere."""
    return Console() if sys.stdout.isatty() else Console(width=WIDTH)


def text(renderable: RenderableType, width: int = WIDTH) -> str:
    """What a terminal without colours would show."""
    buffer = StringIO()
    Console(file=buffer, width=width, no_color=True, force_terminal=False).print(renderable)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def plan(decided: Plan) -> RenderableType:
    """The whole plan: pools, versions, network, quotas, price, findings and the verdict."""
    parts: list[RenderableType] = []
    request = decided.request
    if request and decided.pools:
        parts.append(_pools(f"{request.target} {request.region}", decided.pools))
        for pool in decided.pools:
            parts += [_nodes(pool), *([line] if (line := _wiring(pool)) else [])]
        if decided.versions:
            parts.append(
                _line("versions", ", ".join(f"{name} {version}" for name, version in decided.versions.items()))
            )
        blocks = [f"{s.name} {s.zone} {s.cidr}".replace("  ", " ") for s in decided.subnets if "-fabric-" not in s.name]
        fabric = sum("-fabric-" in subnet.name for subnet in decided.subnets)
        if blocks:
            parts.append(_line("subnets", ", ".join([*blocks, *([f"and {fabric} for fabrics"] if fabric else [])])))
        needs = [
            f"{need.amount:,} {need.unit} of {need.title}{'' if need.title == need.quota else f' ({need.quota})'}"
            for need in decided.quotas
        ]
        if needs:
            parts.append(_line("quota needed", ", ".join(needs)))
        parts.append(_line("price", _price(decided.estimate)))
    parts += findings(decided.findings)
    parts.append(_verdict(decided))
    return Group(*parts)


def findings(found: Iterable[Finding]) -> list[RenderableType]:
    """A paragraph for each finding, errors first."""
    ordered = sorted(found, key=lambda finding: finding.severity is Severity.WARNING)
    style = {Severity.INVALID: "red", Severity.ERROR: "red", Severity.WARNING: "yellow"}
    return [
        Text.assemble((finding.severity.value, style[finding.severity]), f" {finding}", overflow="fold")
        for finding in ordered
    ]


def machines(found: Sequence[tuple[Machine, int]]) -> Table:
    """Machine types, with the number of regions that offer each."""
    table = _table(None)
    for column in ("accelerator", "target", "machine"):
        table.add_column(column, overflow="fold")
    for column in ("per node", "vCPUs", "GiB"):
        table.add_column(column, justify="right")
    for column in ("arch", "fabric", "capacity"):
        table.add_column(column, overflow="fold")
    table.add_column("regions", justify="right")
    for machine, regions in found:
        table.add_row(
            machine.accelerator,
            machine.target,
            machine.name,
            str(machine.per_node),
            str(machine.vcpus),
            f"{machine.memory_gib:g}",
            machine.architecture,
            _interfaces(machine.fabric, machine.fabric_interfaces),
            " ".join(machine.capacity),
            str(regions),
        )
    return table


def accelerators(found: Sequence[Machine]) -> Table:
    """Accelerators, with what each target has of them."""
    table = _table(None)
    table.add_column("accelerator")
    table.add_column("GiB", justify="right")
    targets = list(dict.fromkeys(machine.target for machine in found))
    for target in targets:
        table.add_column(f"per node on {target}")
    for name in dict.fromkeys(machine.accelerator for machine in found):
        counts = [
            sorted({machine.per_node for machine in found if (machine.accelerator, machine.target) == (name, target)})
            for target in targets
        ]
        memory = KINDS[name].memory_gib
        table.add_row(name, f"{memory:g}" if memory else "", *(" ".join(map(str, each)) or "-" for each in counts))
    return table


def options(found: Sequence[Option]) -> Table:
    """Places where a pool could be, with their prices."""
    table = _table(None)
    for column in ("target", "region", "machine", "accelerator", "fabric"):
        table.add_column(column, overflow="fold")
    for column in ("nodes", "USD/h", "USD/month"):
        table.add_column(column, justify="right")
    table.add_column("priced", no_wrap=True)
    for option in found:
        facts = option.as_dict()
        table.add_row(
            option.machine.target,
            option.offer.region,
            option.machine.name,
            f"{option.machine.accelerator}:{option.per_node}",
            _interfaces(option.machine.fabric, option.machine.fabric_interfaces),
            str(option.nodes),
            money(option.hourly_usd, 2),
            money(facts["monthly_usd"]),
            str(facts["catalogue_date"] or ""),
        )
    return table


def prices(found: Sequence[tuple[Machine, str, dict[str, Price]]]) -> Table:
    """Prices of machine types by region and capacity type, with the date of the oldest."""
    table = _table("USD an hour of one machine")
    for column in ("target", "region", "machine", "accelerator"):
        table.add_column(column, overflow="fold")
    kinds = ("on_demand", "spot", "block", "flex_start")
    for kind in kinds:
        table.add_column(kind, justify="right", no_wrap=True)
    table.add_column("dated", no_wrap=True)
    for machine, region, known in found:
        cells = [money(known[kind].usd if kind in known else None, 2) for kind in kinds]
        dated = min((price.date for price in known.values()), default="")
        table.add_row(machine.target, region, machine.name, f"{machine.accelerator}:{machine.per_node}", *cells, dated)
    return table


def checks(found: Sequence[Check]) -> RenderableType:
    """What a doctor found, a line each, with what mends it."""
    style = {State.OK: "green", State.FAILED: "red", State.UNCHECKED: "yellow"}
    lines: list[RenderableType] = []
    for check in found:
        lines.append(
            Text.assemble((f"{check.state.value} ", style[check.state]), (check.name, "bold"), f": {check.detail}")
        )
        if check.fix:
            lines.append(Text(f"    mend it: {check.fix}", overflow="fold"))
    return Group(*lines)


def money(amount: object, digits: int = 0) -> str:
    """An amount of USD; a price that no source gives is `unknown`."""
    return f"{amount:,.{digits}f}" if isinstance(amount, (int, float)) else "unknown"


def _pools(title: str, pools: Sequence[PoolPlan]) -> Table:
    table = _table(title)
    for column in ("pool", "machine", "accelerator"):
        table.add_column(column, overflow="fold")
    table.add_column("nodes", justify="right", no_wrap=True)
    for column in ("capacity", "fabric"):
        table.add_column(column, no_wrap=True)
    for column in ("USD/h", "USD/month"):
        table.add_column(column, justify="right", no_wrap=True)
    for pool in pools:
        machine = pool.machine
        nodes = str(pool.nodes) if pool.nodes == pool.min_nodes else f"{pool.min_nodes} to {pool.nodes}"
        table.add_row(
            pool.name,
            machine.name,
            f"{machine.accelerator}:{machine.per_node}",
            nodes,
            pool.terms.capacity,
            _interfaces(pool.fabric.name, pool.fabric.count),
            money(pool.hourly_usd, 2),
            money(pool.cost.monthly_usd),
        )
    return table


def _nodes(pool: PoolPlan) -> RenderableType:
    """Where a pool's nodes start, and with what."""
    machine = pool.machine
    driver = {
        "image": f"driver {pool.driver} is in the image",
        "cloud": f"the cloud installs driver {pool.driver}",
        "operator": f"the GPU Operator installs driver {pool.driver}".rstrip(),
        "none": "no driver",
    }[machine.driver]
    launch = ", ".join(f"{key} {value}" for key, value in pool.terms.launch.items())
    parts = [
        f"zones {', '.join(pool.terms.zones)}" if pool.terms.zones else "",
        f"placement {pool.terms.placement}",
        f"image {machine.image} ({machine.architecture}), {driver}" if machine.image else "",
        launch,
        machine.note.rstrip("."),
    ]
    return _line(pool.name, "; ".join(part for part in parts if part))


def _wiring(pool: PoolPlan) -> RenderableType | None:
    """What the fabric of a pool asks of its pods and their image."""
    woven = pool.fabric
    if woven.name == "none":
        return None
    requests = ", ".join(f"{name}: {amount}" for name, amount in woven.requests)
    parts = [f"pods ask for {requests}"] if requests else []
    if woven.image:
        parts.append(f"the image holds {', '.join(woven.image)}")
    if woven.networks:
        extra = "1 extra network" if woven.networks.networks == 1 else f"{woven.networks.networks} extra networks"
        parts.append(f"{extra} of MTU {woven.networks.mtu} with {woven.networks.subnets} subnets")
    if woven.host:
        parts.append(f"the cluster has {', '.join(woven.host)}")
    if woven.floor:
        parts.append(f"all-reduce of {woven.floor.bus_gbs:g} GB/s or more ({woven.floor.conditions})")
    return _line(f"{pool.name} {woven.name}", "; ".join(parts)) if parts else None


def _interfaces(fabric: str, count: int) -> str:
    return f"{fabric} x{count}" if count else fabric


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
        parts.append(f"prices of {estimate.catalogue_date} or later, without taxes, traffic and discounts")
    return "; ".join(parts)


def _verdict(decided: Plan) -> Text:
    count = len(errors(decided.findings))
    if not count:
        return Text("The plan fits.", style="green")
    return Text(f"The plan does not fit: {count} {'error' if count == 1 else 'errors'}.", style="bold red")


def _line(title: str, content: str) -> Text:
    return Text.assemble((f"{title}: ", "bold"), content, overflow="fold")


def _table(title: str | None) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False, header_style="bold")
