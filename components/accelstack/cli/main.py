"""The commands and their options. What a command needs is imported when it runs, so that each starts at once."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from accelstack.cli.addons import app as addons_app

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Plans AI cloud stacks: machines, fabric, price and quota, before the first resource.",
)
prices_app = typer.Typer(help="Dated prices, known without the internet, and fresh ones with it.")
app.add_typer(prices_app, name="prices")
app.add_typer(addons_app, name="addons")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Target = Annotated[str | None, typer.Option(help="aws, gcp, azure, private or local.")]
Kubeconfig = Annotated[str | None, typer.Option(help="Kubeconfig of an existing cluster; kubectl's own if left out.")]
Context = Annotated[str | None, typer.Option("--context", help="Its context; the current one if left out.")]
Region = Annotated[str | None, typer.Option(help="The cloud's region, such as us-east-1.")]
Stack = Annotated[str | None, typer.Option(help="Take the settings of this Pulumi stack; options override them.")]
Project = Annotated[Path, typer.Option(help="Folder of the Pulumi project.")]


@app.command()
def gpus(
    name: Annotated[str | None, typer.Argument(help="An accelerator, such as H100.")] = None,
    as_json: Json = False,
) -> None:
    """Accelerators and the machines that have them; with a NAME, each of its machines."""
    from accelstack.cli import catalogue

    catalogue.gpus(name, as_json)


@app.command()
def plan(
    context: typer.Context,
    stack: Stack = None,
    project: Project = Path(),
    target: Target = None,
    region: Region = None,
    accelerator: Annotated[str | None, typer.Option(help="Neutral name, such as H100 or H100:8.")] = None,
    per_node: Annotated[int | None, typer.Option(help="Accelerators on each node.")] = None,
    nodes: Annotated[int | None, typer.Option(help="Most nodes.")] = None,
    min_nodes: Annotated[int | None, typer.Option(help="Fewest nodes; as many as --nodes if left out.")] = None,
    capacity: Annotated[str | None, typer.Option(help="on_demand, spot, reservation, block or flex_start.")] = None,
    zones: Annotated[str | None, typer.Option(help="Zones to use, with commas; AWS: ids such as use1-az1.")] = None,
    fabric: Annotated[str | None, typer.Option(help="auto, none, or the fabric that the machine must have.")] = None,
    architecture: Annotated[str | None, typer.Option(help="What images are built for: x86_64 or arm64.")] = None,
    machine: Annotated[str | None, typer.Option(help="The machine type that a reservation is of.")] = None,
    vcpus: Annotated[int | None, typer.Option(help="Least vCPUs of a node.")] = None,
    memory_gib: Annotated[float | None, typer.Option(help="Least main memory of a node.")] = None,
    reservation: Annotated[str | None, typer.Option(help="Id or name of a reservation or block.")] = None,
    placement_group: Annotated[str | None, typer.Option(help="Existing AWS placement group to start in.")] = None,
    kubernetes: Annotated[str | None, typer.Option(help="Kubernetes version.")] = None,
    driver: Annotated[str | None, typer.Option(help="NVIDIA driver version.")] = None,
    cidr: Annotated[str | None, typer.Option(help="Address range of the network.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the cluster.")] = None,
    budget: Annotated[float | None, typer.Option(help="Most USD a month.")] = None,
    storage_gib: Annotated[float | None, typer.Option(help="GiB in object storage, for the estimate.")] = None,
    egress_gib: Annotated[float | None, typer.Option(help="GiB to the internet a month, for the estimate.")] = None,
    kubeconfig: Kubeconfig = None,
    cluster_context: Context = None,
    store: Annotated[str | None, typer.Option(help="Object store of an existing cluster, such as s3://bucket.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="List every target and region that fits.")] = False,
    account: Annotated[bool, typer.Option("--account", help="Hold it against the account's quotas.")] = False,
    as_json: Json = False,
) -> None:
    """What a stack comes to, and whether it fits. Exit code: 0 it fits, 1 it does not, 2 the request is no request."""
    from accelstack.cli import planning
    from accelstack.plan.request import KEYS

    _use_prices()
    options = {key: value for key, value in context.params.items() if value is not None and key in KEYS}
    options |= {"context": cluster_context} if cluster_context else {}
    versions = {key: value for key, value in (("kubernetes", kubernetes), ("driver", driver)) if value is not None}
    given = planning.settings(stack, project, options, versions)
    raise typer.Exit(planning.compare(given, as_json) if compare else planning.plan(given, account, as_json))


@prices_app.callback(invoke_without_command=True)
def prices(
    context: typer.Context,
    target: Target = None,
    region: Region = None,
    accelerator: Annotated[str | None, typer.Option(help="Neutral name, such as H100.")] = None,
    as_json: Json = False,
) -> None:
    """Prices of GPU machines by region, each with its date and source."""
    if context.invoked_subcommand is None:
        from accelstack.cli import catalogue

        _use_prices()
        catalogue.prices(target, region, accelerator, as_json)


@prices_app.command()
def refresh(
    to: Annotated[Path, typer.Option(help="File to write; name it in ACCELSTACK_PRICES to use it.")] = Path(
        "prices.csv"
    ),
) -> None:
    """Takes today's prices through gpuhunt; needs the internet and `accelstack[prices]`."""
    from accelstack.cli import refreshing

    raise typer.Exit(refreshing.refresh(to))


@app.command()
def doctor(
    target: Target = None,
    region: Region = None,
    stack: Stack = None,
    project: Project = Path(),
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_json: Json = False,
) -> None:
    """What is in a target's way: credentials, permissions, quota, features, reachability; and what mends each."""
    from accelstack.cli import checking, planning

    _use_prices()
    given = (("target", target), ("region", region), ("kubeconfig", kubeconfig), ("context", context))
    options: dict[str, Any] = {key: value for key, value in given if value is not None}
    raise typer.Exit(checking.doctor(planning.settings(stack, project, options, {}), as_json))


@app.command()
def status(
    job: Annotated[
        str | None, typer.Argument(help="NAMESPACE/NAME, as the output training.job; all if left out.")
    ] = None,
    stack: Stack = None,
    project: Project = Path(),
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_json: Json = False,
) -> None:
    """How training jobs in a cluster get on, and what came of them. Exit code: 1 if one failed or is not there."""
    from accelstack.cli import jobs, planning

    given = (("kubeconfig", kubeconfig), ("context", context))
    options: dict[str, Any] = {key: value for key, value in given if value is not None}
    raise typer.Exit(jobs.status(planning.settings(stack, project, options, {}), job, as_json))


def _use_prices() -> None:
    """Takes the prices of the file that ACCELSTACK_PRICES names, if it names one."""
    from accelstack.plan import machines

    named = os.environ.get("ACCELSTACK_PRICES")
    try:
        machines.use_prices(Path(named) if named else None)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="ACCELSTACK_PRICES") from None
