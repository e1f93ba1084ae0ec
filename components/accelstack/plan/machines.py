"""Machine types of each cloud: what they have, and in which regions and zones they are offered."""

import csv
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from accelstack.plan import tables

CLOUDS = ("aws", "gcp", "azure")
PRICE_COLUMNS = ("target", "region", "machine", "on_demand", "spot", "source", "date")
"""Columns of a file of fresh prices."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine type."""

    target: str
    name: str
    accelerator: str
    """Neutral name, in its full form."""
    per_node: int
    """Accelerators of one machine; for `cpu`, its vCPUs."""
    vcpus: int
    memory_gib: float
    architecture: str
    """`x86_64` or `arm64`."""
    local_storage_gib: float | None
    """Local NVMe; None where no source says."""
    network_gbps: float | None
    """Bandwidth of all network cards together."""
    network_cards: int | None
    """AWS: network cards; elsewhere network interfaces, as the vendor counts them; None where no source says."""
    fabric: str
    """What joins accelerators between machines of this type, or `none`."""
    fabric_interfaces: int
    fabric_cards: tuple[int, ...]
    """Cards that carry the fabric, where that is not every card, or every card but the first."""
    nvlink_domain: int | None
    """Accelerators in one multi-node NVLink domain; None where NVLink ends at the machine."""
    placement: str
    """How its nodes are placed, where that is not the cloud's usual way: `workload policy`."""
    family: str
    """Key of its quotas."""
    vendor_accelerator: str
    """The cloud's own name of the accelerator, where nodes are asked for by it."""
    image: str
    """Node image, in the cloud's words."""
    driver: str
    """Where the driver comes from: `image`, `cloud`, `operator`, or `none`."""
    capacity: tuple[str, ...]
    """Capacity types under which it is sold."""
    note: str
    source: str
    date: str

    def gpus(self, nodes: int) -> int:
        """Accelerators of so many machines; none of a `cpu` machine."""
        return 0 if self.accelerator == "cpu" else self.per_node * nodes


@dataclass(frozen=True, slots=True)
class Price:
    """USD an hour of one machine."""

    usd: float
    source: str
    date: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A machine type in one region, with the prices that a source gives."""

    machine: str
    region: str
    zones: tuple[str, ...]
    prices: dict[str, Price]
    """By capacity type, without `reservation`: an on-demand reservation is billed as on-demand, used or not."""

    def price(self, capacity: str) -> Price | None:
        """The price under a capacity type; None where no source gives one."""
        return self.prices.get("on_demand" if capacity == "reservation" else capacity)


@cache
def machines(target: str) -> tuple[Machine, ...]:
    """Every machine type of a cloud, smallest first."""
    found = [
        Machine(
            target=target,
            name=row["machine"],
            accelerator=row["accelerator"],
            per_node=int(row["per_node"]),
            vcpus=int(row["vcpus"]),
            memory_gib=float(row["memory_gib"]),
            architecture=row["architecture"],
            local_storage_gib=tables.number(row["local_storage_gib"]),
            network_gbps=tables.number(row["network_gbps"]),
            network_cards=int(row["network_cards"]) if row["network_cards"] else None,
            fabric=row["fabric"],
            fabric_interfaces=int(row["fabric_interfaces"]),
            fabric_cards=tuple(map(int, row["fabric_cards"].split())),
            nvlink_domain=int(row["nvlink_domain"]) if row["nvlink_domain"] else None,
            placement=row["placement"],
            family=row["family"],
            vendor_accelerator=row["vendor_accelerator"],
            image=row["image"],
            driver=row["driver"],
            capacity=tuple(row["capacity"].split()),
            note=row["note"],
            source=row["source"],
            date=row["date"],
        )
        for row in tables.rows(f"machines_{target}")
    ]
    return tuple(sorted(found, key=lambda machine: (machine.vcpus, machine.memory_gib, machine.name)))


@cache
def offers(target: str) -> dict[str, dict[str, Offer]]:
    """The offers of a cloud, by region and machine."""
    found: dict[str, dict[str, Offer]] = defaultdict(dict)
    for row in tables.rows(f"offers_{target}"):
        offer = Offer(row["machine"], row["region"], tuple(row["zones"].split()), _prices(row))
        found[offer.region][offer.machine] = offer
    for row in (*tables.rows("special_prices"), *_fresh):
        offer = found[row["region"]].get(row["machine"]) if row["target"] == target else None
        if offer:
            found[row["region"]][offer.machine] = replace(offer, prices={**offer.prices, **_prices(row)})
    return {region: place for region, place in found.items() if place}


def zones(machine: Machine, offer: Offer, capacity: str) -> tuple[str, ...]:
    """The zones of an offer in which a machine type is sold under a capacity type; fewer than all for some TPUs."""
    for row in tables.rows("capacity_zones"):
        if (row["target"], row["machine"], row["capacity"]) == (machine.target, machine.name, capacity):
            return tuple(zone for zone in offer.zones if zone in row["zones"].split())
    return offer.zones


_fresh: list[dict[str, str]] = []


def use_prices(path: Path | None) -> None:
    """Lets the prices of a file stand in for the bundled ones in every plan from now on; None forgets them.

    Raises:
        ValueError: the file cannot be read, or is none that `accelstack prices refresh` writes.
    """
    _fresh.clear()
    offers.cache_clear()
    if path is None:
        return
    fix = "write it anew with `accelstack prices refresh`"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: the prices cannot be read: {error}; {fix}") from None
    for number, row in enumerate(rows, start=2):
        if missing := [column for column in PRICE_COLUMNS if row.get(column) is None]:
            raise ValueError(f"{path}: line {number} has no {', '.join(missing)}; {fix}")
        for column in ("on_demand", "spot"):
            if row[column] and not re.fullmatch(r"\d*[1-9]\d*(\.\d+)?|0?\.\d*[1-9]\d*", row[column]):
                raise ValueError(f"{path}: line {number}: {column}: {row[column]!r} is no price above 0; {fix}")
    _fresh.extend(rows)


def _prices(row: dict[str, str]) -> dict[str, Price]:
    return {
        capacity: Price(float(row[capacity]), row["source"], row["date"])
        for capacity in ("on_demand", "spot", "block", "flex_start")
        if row.get(capacity)
    }
