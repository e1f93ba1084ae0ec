"""`accelstack gpus` and `accelstack prices`: the tables, for people and programs."""

from dataclasses import asdict
from typing import Any

import typer

from accelstack.plan.accelerators import KINDS, NAMES, forms
from accelstack.plan.findings import one_of
from accelstack.plan.machines import CLOUDS, Machine, machines, offers
from accelstack.report import catalogue as shown
from accelstack.report import layout


def gpus(name: str | None, as_json: bool) -> None:
    """Prints the accelerators, or the machines of one.

    Raises:
        typer.BadParameter: no accelerator has that name.
    """
    wanted = forms(_known("NAME", name, NAMES)) if name is not None else tuple(kind for kind in KINDS if kind != "cpu")
    found = [machine for target in CLOUDS for machine in machines(target) if machine.accelerator in wanted]
    order = {kind: index for index, kind in enumerate(KINDS)}
    found.sort(key=lambda machine: (order[machine.accelerator], CLOUDS.index(machine.target), machine.per_node))
    if as_json:
        layout.emit([{**asdict(machine), "regions": _regions(machine)} for machine in found])
        return
    console = layout.console()
    if name is not None:
        for kind in (KINDS[form] for form in wanted):
            memory = f", {kind.memory_gib:g} GiB" if kind.memory_gib else ""
            driver = f", driver {kind.driver} or newer" if kind.driver else ""
            console.print(f"{kind.name}: {kind.vendor} {kind.kind}{memory}{driver}")
        console.print(shown.machines([(machine, len(_regions(machine))) for machine in found]))
        for machine in found:
            if machine.note:
                console.print(f"{machine.name}: {machine.note}")
        return
    console.print(shown.accelerators(found))


def prices(target: str | None, region: str | None, accelerator: str | None, as_json: bool) -> None:
    """Prints the known prices.

    Raises:
        typer.BadParameter: the target, region or accelerator is unknown.
    """
    clouds = (_known("--target", target, CLOUDS),) if target is not None else CLOUDS
    regions = [place for cloud in clouds for place in offers(cloud)]
    if region is not None:
        _known("--region", region, regions)
    wanted = forms(_known("--accelerator", accelerator, NAMES)) if accelerator is not None else tuple(KINDS)
    rows = [
        (machine, offer)
        for cloud in clouds
        for place, here in sorted(offers(cloud).items())
        if region in (None, place)
        for machine in machines(cloud)
        if machine.accelerator in wanted and (accelerator or machine.accelerator != "cpu")
        if (offer := here.get(machine.name))
    ]
    if as_json:
        layout.emit(
            [{"target": m.target, "accelerator": m.accelerator, "per_node": m.per_node, **asdict(o)} for m, o in rows]
        )
        return
    layout.console().print(shown.prices([(m, o.region, o.prices) for m, o in rows]))


def _regions(machine: Machine) -> list[str]:
    return sorted(region for region, here in offers(machine.target).items() if machine.name in here)


def _known(option: str, value: str, known: Any) -> str:
    wrong = one_of(option, value, known, "name here")
    if wrong:
        raise typer.BadParameter(f"{value!r} is unknown; {wrong.fix}", param_hint=option)
    return value
