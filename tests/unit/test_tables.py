"""The dated tables: complete, sourced, and accepted by the vendors' own published models."""

import gzip
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import boto3
import pytest
from accelstack.plan import accelerators, compatibility, fabric, naming, tables
from accelstack.plan.machines import CLOUDS, Machine, machines, offers
from accelstack.plan.request import CAPACITY, FABRICS

EVERY = [machine for target in CLOUDS for machine in machines(target)]
CSV = sorted(path.stem for path in tables.FOLDER.glob("*.csv"))
SOURCES = {row["source"] for row in tables.rows("sources")}
DATE = re.compile(r"20\d\d-\d\d-\d\d")


def entries() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row of every table, with a name to find it by."""
    for name in CSV:
        for row in tables.rows(name):
            yield f"{name}: {next(iter(row.values()))} {row.get('region', '')}", row
    for rule in tables.document("compatibility")["rule"]:
        yield f"compatibility: {rule['id']}", rule
    for name, facts in tables.document("fabrics").items():
        yield f"fabrics: {name}", facts


def test_each_row_has_a_source_that_is_described_and_a_date() -> None:
    wrong = [
        where
        for where, row in entries()
        if not where.startswith("sources")
        and (row["source"] not in SOURCES or not DATE.fullmatch(str(row["date"])) or None in row.values())
    ]
    assert wrong == []


def test_each_source_is_public_and_used() -> None:
    assert all(row["url"].startswith("https://") and row["title"] for row in tables.rows("sources"))
    assert {row["source"] for where, row in entries() if not where.startswith("sources")} == SOURCES


def test_the_clouds_current_accelerators_are_there() -> None:
    names = {machine.accelerator for machine in EVERY}
    asked = "T4 A10G L4 L40S A100-40 A100-80 H100-80 H100-94 H200 B200 B300 GB200 GB300 TPU-v5e TPU-v6e MI300X cpu"
    assert set(asked.split()) <= names
    assert any(name.startswith("RTX-PRO") for name in names)


@pytest.mark.parametrize("machine", EVERY, ids=lambda machine: f"{machine.target} {machine.name}")
def test_each_machine_is_whole(machine: Machine) -> None:
    kind = accelerators.KINDS[machine.accelerator]
    assert machine.per_node >= 1
    assert machine.vcpus >= 1
    assert machine.memory_gib > 0
    assert machine.architecture in ("x86_64", "arm64")
    assert machine.fabric in FABRICS
    assert machine.fabric != "auto"
    assert (machine.fabric_interfaces > 0) == (machine.fabric not in ("none", "ici"))
    assert machine.capacity
    assert set(machine.capacity) <= set(CAPACITY)
    assert machine.image
    assert machine.driver in (("none",) if kind.kind != "gpu" else ("image", "cloud", "operator"))
    if machine.accelerator == "cpu":
        assert machine.per_node == machine.vcpus
    assert machine.family


@pytest.mark.parametrize("target", CLOUDS)
def test_each_offer_is_of_a_known_machine_and_no_price_is_0(target: str) -> None:
    known = {machine.name for machine in machines(target)}
    assert len(known) == len(machines(target))
    for region, here in offers(target).items():
        for offer in here.values():
            assert offer.machine in known
            assert all(price.usd > 0 for price in offer.prices.values()), (region, offer)
            on_demand, spot = offer.price("on_demand"), offer.price("spot")
            assert not (on_demand and spot) or spot.usd <= on_demand.usd, (region, offer)


def test_the_stale_price_of_p5_is_not_there() -> None:
    """facts.md: still listed at 98.3 USD an hour in places, after a cut of about 45 %."""
    price = offers("aws")["us-east-1"]["p5.48xlarge"].price("on_demand")
    assert price
    assert price.usd < 60


def test_aws_accepts_each_machine_type_and_image() -> None:
    session = boto3.Session(region_name="us-east-1")
    types = session.client("ec2").meta.service_model.shape_for("InstanceType").enum
    images = session.client("eks").meta.service_model.shape_for("AMITypes").enum
    assert {machine.name for machine in machines("aws")} <= set(types)
    assert {machine.image for machine in machines("aws")} <= set(images)


def test_aws_answers_describe_the_same_machines() -> None:
    """moto carries what EC2's DescribeInstanceTypes answered."""
    answers = json.loads(gzip.decompress((files("moto.ec2") / "resources" / "instance_types.json.gz").read_bytes()))
    compared = 0
    for machine in machines("aws"):
        facts = answers.get(machine.name)
        if facts is None:
            continue
        compared += 1
        network = facts["NetworkInfo"]
        gpus = sum(gpu["Count"] for gpu in facts.get("GpuInfo", {}).get("Gpus", []))
        assert machine.vcpus == facts["VCpuInfo"]["DefaultVCpus"], machine.name
        assert machine.memory_gib == facts["MemoryInfo"]["SizeInMiB"] / 1024, machine.name
        assert machine.architecture in facts["ProcessorInfo"]["SupportedArchitectures"], machine.name
        assert machine.per_node == (gpus or machine.vcpus), machine.name
        assert machine.network_cards == len(network["NetworkCards"]), machine.name
        assert (machine.fabric == "efa") == network["EfaSupported"] or machine.accelerator == "cpu", machine.name
        if machine.fabric == "efa":
            assert machine.fabric_interfaces == network["EfaInfo"]["MaximumEfaInterfaces"], machine.name
            allowed = {
                card["NetworkCardIndex"]: (set(card["InterfaceTypes"]), card["MaximumNetworkInterfaces"])
                for card in network["NetworkCards"]
            }
            for interface in fabric.interfaces(machine):
                kinds, most = allowed[interface.card]
                assert interface.kind in kinds, (machine.name, interface)
                assert interface.device < most, (machine.name, interface)
    assert compared > 50


def test_the_general_names_stand_for_forms() -> None:
    assert accelerators.forms("A100") == ("A100-40", "A100-80")
    assert set(accelerators.forms("H100")) == {"H100-80", "H100-94"}
    assert accelerators.forms("L4") == ("L4",)
    assert len(set(accelerators.NAMES)) == len(accelerators.NAMES)


def test_each_fabric_of_a_machine_is_described() -> None:
    described = tables.document("fabrics")
    assert {machine.fabric for machine in EVERY} - {"none"} <= described.keys()
    for machine in EVERY:
        woven = fabric.resolve(machine, 2)
        if woven.name not in ("none", "ici"):
            assert woven.count == machine.fabric_interfaces
            assert woven.image
        components = set(woven.components)
        assert components <= set(compatibility.components())


def test_each_floor_is_of_a_machine_with_a_fabric() -> None:
    joined = {machine.name for machine in EVERY if machine.fabric not in ("none", "ici")}
    assert {row["machine"] for row in tables.rows("floors")} <= joined


@pytest.mark.parametrize("row", tables.rows("names"), ids=lambda row: f"{row['target']} {row['kind']}")
def test_each_name_rule_allows_its_own_names(row: dict[str, str]) -> None:
    rule = naming.rule(row["target"], row["kind"])
    assert rule.least <= rule.most
    assert (
        naming.check(row["target"], row["kind"], naming.physical(row["target"], row["kind"], "a", "b"), "name") is None
    )
