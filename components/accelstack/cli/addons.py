"""`accelstack addons`: the add-ons of clusters, and a lock of what they and their images are."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Add-ons of clusters: versions, charts, and a lock of digests.")

NEEDED = {
    "gpu_operator": "NVIDIA accelerators whose nodes bring no device plugin",
    "device_plugin": "NVIDIA accelerators on nodes with drivers",
    "amd_gpu_operator": "AMD accelerators",
    "efa_device_plugin": "EFA",
    "network_operator": "InfiniBand or RoCE",
    "dra_driver": "NVLink across nodes",
    "cert_manager": "an issuer of certificates, or the AMD operator",
    "gateway_api": "requests come in through a Gateway",
    "kube_prometheus_stack": "observability",
    "jobset": "training",
    "leader_worker_set": "one copy of a server spans nodes",
    "kueue": "training",
    "keda": "servers scale on requests that wait",
    "dcgm_exporter": "observability of NVIDIA accelerators without their operator",
    "velero": "backup",
}
"""When a stack installs each add-on, for people."""


@app.command("list")
def show(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False) -> None:
    """Add-ons in the order of installation: version, chart, and when a stack installs each."""
    from accelstack.plan import addons
    from accelstack.report import layout

    versions = _versions()
    rows: list[dict[str, Any]] = [
        {
            "component": name,
            "version": versions[name],
            "chart": asdict(addons.chart(name, versions)) if own.chart else None,
            "crds": addons.definitions(name, versions),
            "needed_when": NEEDED[name],
        }
        for name, own in addons.addons().items()
    ]
    if as_json:
        layout.emit(rows)
        return
    table = layout.table(None)
    for column in ("add-on", "version", "chart", "needed when"):
        table.add_column(column, overflow="fold")
    for row in rows:
        chart = row["chart"] or {"repository": "", "chart": "definitions alone"}
        place = "/".join(part for part in (chart["repository"], chart["chart"]) if part)
        table.add_row(row["component"], row["version"], place, row["needed_when"])
    layout.console().print(table)


@app.command()
def lock(
    components: Annotated[
        list[str] | None, typer.Argument(metavar="[ADD-ON]...", help="Add-ons to lock; all if left out.")
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=IMAGE", help="Image to find the digest of, such as engine=ghcr.io/x/server:1.2."),
    ] = None,
    crds: Annotated[str, typer.Option(help="Folder or URL of definitions; their projects' releases if left out.")] = "",
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("stacks/addons.lock.json"),
) -> None:
    """Finds digests of named images and of definitions. Exit code: 1, with nothing written, if one is not found."""
    names, images = _known(components or ()), _images(image or ())
    found: dict[str, dict[str, str]] = {}
    missing: dict[str, str] = {}
    found["images"], wrong = _image_digests(images)
    missing |= wrong
    found["crds"], wrong = _definition_digests(names, crds)
    missing |= wrong
    for what, why in missing.items():
        typer.echo(f"{what}: {why}", err=True)
    if missing:
        typer.echo(f"{len(missing)} could not be found, so nothing was written to {out}", err=True)
        raise typer.Exit(1)
    _write(out, {"date": datetime.now(UTC).date().isoformat(), **found})
    for name, reference in images.items():
        typer.echo(f"images.{name}: {reference.partition('@')[0]}@{found['images'][reference]}")
    typer.echo(f"{len(found['images'])} images and {len(found['crds'])} sets of definitions locked in {out}")


def _image_digests(images: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Digests by reference, and why the others have none."""
    if not images:
        return {}, {}
    try:
        from accelstack.cli import registry_digest
    except ImportError as error:
        return {}, {"--image": f"{error.name} is not installed; run `pip install 'accelstack[kubernetes]'`"}
    from accelstack.plan.images import parse

    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    for reference in dict.fromkeys(images.values()):
        try:
            found[reference] = registry_digest.digest(parse(reference))
        except registry_digest.UnresolvedError as error:
            missing[reference] = str(error)
    return found, missing


def _definition_digests(names: Iterable[str], prefix: str) -> tuple[dict[str, str], dict[str, str]]:
    """Digests by `<component>-<version>`, as `k8s.crds` holds them against what it reads, and why others have none."""
    from pulumi import InputPropertyError

    from accelstack.k8s import crds
    from accelstack.plan import addons

    versions = _versions()
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name in names:
        urls, component = addons.definitions(name, versions, prefix), addons.addons()[name].defined_by
        if not urls:
            continue
        key = f"{component}-{versions[component]}"
        try:
            found[key] = crds.digest(crds.read(component, versions[component], urls, {}))
        except InputPropertyError as error:
            missing[key] = error.reason
    return found, missing


def _versions() -> dict[str, str]:
    """Versions that are installed where nobody fixes others."""
    from accelstack.plan import tables

    return {row["component"]: row["version"] for row in tables.rows("versions")}


def _known(asked: Iterable[str]) -> list[str]:
    from accelstack.plan.addons import addons
    from accelstack.plan.findings import one_of

    for name in asked:
        if wrong := one_of("ADD-ON", name, addons(), "add-on"):
            raise typer.BadParameter(f"{name!r} {wrong.rule}; {wrong.fix}", param_hint="ADD-ON")
    return [name for name in addons() if name in asked or not asked]


def _images(asked: Iterable[str]) -> dict[str, str]:
    """References in full, by name."""
    from accelstack.plan.images import parse

    given: dict[str, str] = {}
    for each in asked:
        name, _, reference = each.partition("=")
        try:
            parsed = parse(reference)
        except ValueError as error:
            raise typer.BadParameter(f"{each!r}: {error}; use NAME=IMAGE", param_hint="--image") from None
        if not name or name in given:
            rule = "names two images" if name else "has no name"
            raise typer.BadParameter(f"{each!r} {rule}; use NAME=IMAGE, each name once", param_hint="--image")
        if not parsed.tag and not parsed.digest:
            raise typer.BadParameter(f"{each!r} has no tag, and may mean any version; add one", param_hint="--image")
        given[name] = str(parsed)
    return given


def _write(out: Path, content: Mapping[str, Any]) -> None:
    written = out.with_name(f".{out.name}.{os.getpid()}")  # beside it, so that a good file is never left half written
    try:
        written.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        written.replace(out)
    except OSError as error:
        written.unlink(missing_ok=True)
        typer.echo(f"--out: {out} cannot be written: {error.strerror}; name a file in a folder that is there", err=True)
        raise typer.Exit(2) from None
