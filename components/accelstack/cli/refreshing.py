"""`accelstack prices refresh`: today's prices through gpuhunt, whose catalogue comes from the clouds' own APIs."""

import csv
import logging
import os
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from accelstack.plan.machines import CLOUDS, PRICE_COLUMNS, machines, offers


def refresh(to: Path) -> int:
    """Writes the prices of the machine types that the tables know; the exit code."""
    try:
        gpuhunt: Any = import_module("gpuhunt")
    except ImportError:
        typer.echo("gpuhunt is not installed; run `pip install 'accelstack[prices]'`", err=True)
        return 1
    logging.getLogger("gpuhunt").setLevel(logging.CRITICAL)  # what matters of its log is in the error below
    try:
        items = gpuhunt.Catalog(balance_resources=False).query(provider=list(CLOUDS))
    except (OSError, gpuhunt.GPUHuntError) as error:
        typer.echo(f"no fresh prices could be had, so the bundled ones stay in use: {error}", err=True)
        return 1
    found = rows(items, datetime.now(UTC).date().isoformat())
    if not found:
        typer.echo("gpuhunt has no price of a machine type in the tables, so nothing was written", err=True)
        return 1
    written = to.with_name(f".{to.name}.{os.getpid()}")  # beside it, so that a good file is never left half written
    try:
        with written.open("w", newline="", encoding="utf-8") as file:
            writer: csv.DictWriter[str] = csv.DictWriter(file, PRICE_COLUMNS)
            writer.writeheader()
            writer.writerows(found)
        written.replace(to)
    except OSError as error:
        written.unlink(missing_ok=True)
        typer.echo(f"--to: {to} cannot be written: {error.strerror}; name a file in a folder that is there", err=True)
        return 2
    typer.echo(
        f"{len(found)} machine types and regions priced in {to}; to use it: export ACCELSTACK_PRICES={to.resolve()}"
    )
    return 0


def rows(items: list[Any], date: str) -> list[dict[str, Any]]:
    """A row for each machine type and region of gpuhunt's items; of a region's zones the dearest counts."""
    known = {
        (target, machine.name): (machine.accelerator, machine.per_node)
        for target in CLOUDS
        for machine in machines(target)
    }
    regions = {target: sorted(offers(target), key=len, reverse=True) for target in CLOUDS}
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for item in items:
        facts = known.get((item.provider, item.instance_name))
        if facts is None or (facts[0] != "cpu" and item.gpu_count != facts[1]):
            continue
        # gpuhunt names zones on Google Cloud, regions elsewhere
        region = next((name for name in regions[item.provider] if item.location.startswith(name)), item.location)
        row = found.setdefault(
            (item.provider, region, item.instance_name),
            {
                "target": item.provider,
                "region": region,
                "machine": item.instance_name,
                "on_demand": None,
                "spot": None,
                "source": "gpuhunt",
                "date": date,
            },
        )
        kind = "spot" if item.spot else "on_demand"
        row[kind] = max(row[kind] or 0, item.price)
    return [found[key] for key in sorted(found)]
