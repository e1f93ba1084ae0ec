"""Accelerators, machine types and prices, as tables."""

from collections.abc import Sequence

from rich.table import Table

from accelstack.plan.accelerators import KINDS
from accelstack.plan.machines import Machine, Price
from accelstack.report.layout import interfaces, money, table


def accelerators(found: Sequence[Machine]) -> Table:
    """Accelerators, with what each target has of them."""
    rows = table(None)
    rows.add_column("accelerator")
    rows.add_column("GiB", justify="right")
    targets = list(dict.fromkeys(machine.target for machine in found))
    for target in targets:
        rows.add_column(f"per node on {target}")
    for name in dict.fromkeys(machine.accelerator for machine in found):
        counts = [
            sorted({machine.per_node for machine in found if (machine.accelerator, machine.target) == (name, target)})
            for target in targets
        ]
        memory = KINDS[name].memory_gib
        rows.add_row(name, f"{memory:g}" if memory else "", *(" ".join(map(str, each)) or "-" for each in counts))
    return rows


def machines(found: Sequence[tuple[Machine, int]]) -> Table:
    """Machine types, with the number of regions that offer each."""
    rows = table(None)
    for column in ("accelerator", "target", "machine"):
        rows.add_column(column, overflow="fold")
    for column in ("per node", "vCPUs", "GiB"):
        rows.add_column(column, justify="right")
    for column in ("arch", "fabric", "capacity"):
        rows.add_column(column, overflow="fold")
    rows.add_column("regions", justify="right")
    for machine, regions in found:
        rows.add_row(
            machine.accelerator,
            machine.target,
            machine.name,
            str(machine.per_node),
            str(machine.vcpus),
            f"{machine.memory_gib:g}",
            machine.architecture,
            interfaces(machine.fabric, machine.fabric_interfaces),
            " ".join(machine.capacity),
            str(regions),
        )
    return rows


def prices(found: Sequence[tuple[Machine, str, dict[str, Price]]]) -> Table:
    """Prices of machine types by region and capacity type, with the date of the oldest."""
    rows = table("USD an hour of one machine")
    for column in ("target", "region", "machine", "accelerator"):
        rows.add_column(column, overflow="fold")
    kinds = ("on_demand", "spot", "block", "flex_start")
    for kind in kinds:
        rows.add_column(kind, justify="right", no_wrap=True)
    rows.add_column("dated", no_wrap=True)
    for machine, region, known in found:
        cells = [money(known[kind].usd if kind in known else None, 2) for kind in kinds]
        dated = min((price.date for price in known.values()), default="")
        rows.add_row(machine.target, region, machine.name, f"{machine.accelerator}:{machine.per_node}", *cells, dated)
    return rows
