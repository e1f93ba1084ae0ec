"""What holds for every plan, whatever is asked."""

from ipaddress import IPv4Network
from itertools import combinations
from typing import Any

import pytest
from accelstack.plan import accelerators, compatibility, network
from accelstack.plan.export import as_dict
from accelstack.plan.findings import Severity, errors
from accelstack.plan.machines import CLOUDS, machines, offers
from accelstack.plan.machines import zones as sold
from accelstack.plan.plan import Plan, plan
from accelstack.plan.pricing import HOURS_A_MONTH
from accelstack.plan.request import ARCHITECTURES, CAPACITY, FABRICS
from hypothesis import assume, given
from hypothesis import strategies as st

IDS = {
    "aws": "cr-0123456789abcdef0",
    "gcp": "mine",
    "azure": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/capacityReservationGroups/mine",
}
POOL = st.fixed_dictionaries(
    {
        "accelerator": st.sampled_from(accelerators.NAMES),
        "per_node": st.sampled_from([0, 1, 2, 4, 8, 3]),
        "nodes": st.integers(1, 80),
        "capacity": st.sampled_from(CAPACITY),
    },
    optional={
        "fabric": st.sampled_from(FABRICS),
        "architecture": st.sampled_from(ARCHITECTURES),
        "vcpus": st.integers(0, 200),
        "reservation": st.sampled_from(["", "cr-0123456789abcdef0"]),
        "min_nodes": st.integers(0, 3),
    },
)


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    target = draw(st.sampled_from(CLOUDS))
    return {
        "target": target,
        "region": draw(st.sampled_from(sorted(offers(target)))),
        "pools": draw(st.dictionaries(st.sampled_from(["train", "serve", "tune"]), POOL, min_size=1, max_size=3)),
        "cidr": draw(st.sampled_from(["10.0.0.0/16", "10.0.0.0/26"])),
        "budget": draw(st.sampled_from([0, 1e5])),
    }


@st.composite
def likely(draw: st.DrawFn) -> dict[str, Any]:
    """A request for a machine that the region has, so that most of these fit."""
    target = draw(st.sampled_from(CLOUDS))
    machine = draw(st.sampled_from(machines(target)))
    regions = sorted(region for region, here in offers(target).items() if machine.name in here)
    assume(regions)
    region = draw(st.sampled_from(regions))
    capacity = draw(st.sampled_from(machine.capacity))
    offer = offers(target)[region][machine.name]
    zones = sold(machine, offer, capacity)
    assume(zones or not offer.zones)
    return {
        "target": target,
        "region": region,
        "accelerator": machine.accelerator,
        "per_node": machine.per_node,
        "nodes": 9 if machine.name == "p6e-gb200.36xlarge" else draw(st.sampled_from([1, 2, 4, 8, 16])),
        "capacity": capacity,
        "fabric": draw(st.sampled_from(["auto", "none"])),
        "zones": zones[:1],
        **({"reservation": IDS[target], "machine": machine.name} if capacity in ("reservation", "block") else {}),
    }


def holds(decided: Plan) -> None:
    """All that every accepted plan promises."""
    assert decided.request is not None
    for pool in decided.pools:
        assert pool.terms.capacity in pool.machine.capacity
        assert pool.machine.name in offers(decided.request.target)[decided.request.region]
        assert pool.machine.architecture in ("x86_64", "arm64")
        assert pool.fabric.name in ("none", pool.machine.fabric)
        assert pool.terms.placement not in ("cluster", "compact") or pool.terms.capacity not in ("reservation", "block")
        facts = {"target": decided.request.target, "accelerator": pool.machine.accelerator}
        wrong = compatibility.check({**facts, "fabric": pool.fabric.name}, {**decided.versions, "driver": pool.driver})
        assert not errors(wrong)
    assert all(need.amount > 0 for need in decided.quotas)
    outside = 2 if decided.request.target == "azure" else 0  # pods and services
    networks = [IPv4Network(subnet.cidr) for subnet in decided.subnets]
    assert not any(one.overlaps(other) for one, other in combinations(networks, 2))
    assert all(network.subnet_of(IPv4Network(decided.request.cidr)) for network in networks[: len(networks) - outside])
    nodes = [network.PoolNodes(pool.name, pool.terms.zones, pool.nodes, pool.fabric, False) for pool in decided.pools]
    wanted = [] if decided.request.target == "aws" else list(network.wants(decided.request.target, nodes))
    for want, subnet in zip(wanted, decided.subnets, strict=False):
        assert subnet.addresses >= want.addresses
    if decided.request.target == "aws":
        rooms = {(subnet.name, subnet.zone): subnet.addresses for subnet in decided.subnets}
        for pool in decided.pools:
            gpu = pool.machine.accelerator != "cpu"
            for zone in pool.terms.zones:
                assert rooms["gpu" if gpu else "private", zone] >= pool.nodes * network.addresses_of_node(gpu)
    estimate = decided.estimate
    assert estimate.known_monthly_usd == pytest.approx(sum(item.monthly_usd or 0 for item in estimate.items))
    for pool in decided.pools:
        if pool.hourly_usd is None:
            assert f"pool {pool.name}" in estimate.unknown
        else:
            assert pool.hourly_usd > 0
            assert pool.cost.monthly_usd == pytest.approx(pool.hourly_usd * HOURS_A_MONTH)
            assert pool.cost.source
            assert pool.cost.date
    if decided.request.budget and estimate.known_monthly_usd > decided.request.budget:
        raise AssertionError("a plan above its budget was accepted")


@given(requests())
def test_a_plan_is_deterministic_and_an_accepted_one_keeps_every_rule(given_: dict[str, Any]) -> None:
    decided = plan(given_)
    assert as_dict(plan(given_)) == as_dict(decided)
    assert decided.fits == (not errors(decided.findings))
    for finding in decided.findings:
        assert finding.property
        assert finding.rule
        assert finding.fix
    assert decided.fits or any(finding.severity is not Severity.WARNING for finding in decided.findings)


@given(likely())
def test_what_a_machine_is_sold_as_can_be_planned(given_: dict[str, Any]) -> None:
    decided = plan(given_)
    assert [str(f) for f in errors(decided.findings) if not f.property.startswith("cidr")] == []
    if decided.fits:
        holds(decided)
        assert decided.pools[0].machine.accelerator == given_["accelerator"]


@pytest.mark.parametrize("target", CLOUDS)
def test_the_default_versions_satisfy_every_rule_for_every_machine(target: str) -> None:
    """So no rule contradicts another: where two apply, the defaults are in the ranges of both."""
    for machine in machines(target):
        for capacity in machine.capacity:
            region = next((region for region, here in offers(target).items() if machine.name in here), None)
            if region is None:
                continue
            decided = plan(
                {
                    "target": target,
                    "region": region,
                    "accelerator": machine.accelerator,
                    "per_node": machine.per_node,
                    "machine": machine.name,
                    "nodes": 2,
                    "capacity": capacity,
                    "reservation": IDS[target] if capacity in ("reservation", "block") else "",
                    "zones": offers(target)[region][machine.name].zones[:1],
                }
            )
            wrong = [
                str(f) for f in decided.findings if "versions." in f.property and f.severity is not Severity.WARNING
            ]
            assert wrong == [], machine.name
