"""This machine as a cluster of one node."""

from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from accelstack.contracts import Pool
from accelstack.local import machine, processes
from accelstack.local.provider import LocalProvider, changed, clear_errors, failed


class ClusterArgs(TypedDict):
    """Args of `local.Cluster`."""

    folder: str
    """Folder for what runs: service settings and logs. It is removed with the cluster."""
    accelerator: NotRequired[str]
    """`auto` (what this machine has), `cpu`, `cpu:N` for N training processes, or a GPU's name and count; `auto` if
    left out."""


class MachineProvider(LocalProvider):
    """Reads the machine. Its inputs hold what was found, so that a change of the machine is a change of the cluster."""

    @clear_errors
    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        found = machine.find()
        try:
            accelerator = machine.resolve(news["request"], found)
        except ValueError as error:
            return failed(news, {"accelerator": str(error)})
        pool = Pool(
            accelerator=accelerator.name,
            per_node=accelerator.per_node or 1,
            nodes=1,
            fabric="none",
            cores=found["cores"],
            memory_gib=found["memory_gib"],
        )
        return CheckResult({**news, "pools": [pool], "processes": pool["per_node"]}, [])

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        replaces = ["folder"] if changed(_olds, _news, ["folder"]) else []
        return DiffResult(changes=changed(_olds, _news, ["folder", "request", "pools"]), replaces=replaces)

    @clear_errors
    def create(self, props: dict[str, Any]) -> CreateResult:
        Path(props["folder"]).mkdir(parents=True, exist_ok=True)
        return CreateResult(props["folder"], props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_news)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_ if Path(props["folder"]).is_dir() else "", props)

    @clear_errors
    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        # also what a killed engine started and never wrote down
        processes.stop_all_below(Path(_props["folder"]))
        processes.remove_folder(Path(_props["folder"]))


class _Machine(Resource, module="accelstack", name="LocalMachine"):
    pools: pulumi.Output[list[dict[str, Any]]]
    processes: pulumi.Output[int]
    folder: pulumi.Output[str]

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(MachineProvider(), name, props, opts)


class Cluster(pulumi.ComponentResource):
    """This machine as a cluster of one node: its cores, memory and GPUs are offered as a pool.

    Works from Python programs alone, since it stands on a dynamic resource.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule.
    """

    name: pulumi.Output[str]
    """The component's name."""
    kubeconfig: pulumi.Output[str | None]
    """None: this is no Kubernetes cluster."""
    pools: pulumi.Output[list[Pool]]
    """One pool of one node."""
    processes: pulumi.Output[int]
    """Training processes that fit: one for each GPU, or the count asked for."""
    folder: pulumi.Output[str]
    """Where services keep their settings and logs."""

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("accelstack:index:LocalCluster", name, None, opts)
        props = {"folder": args["folder"], "request": args.get("accelerator", "auto"), "pools": None, "processes": None}
        found = _Machine(name, props, pulumi.ResourceOptions(parent=self))
        self.name = pulumi.Output.from_input(name)
        self.kubeconfig = pulumi.Output[str | None].from_input(None)
        self.pools = cast(pulumi.Output[list[Pool]], found.pools)
        self.processes = found.processes
        self.folder = found.folder
        self.register_outputs(
            {
                "name": self.name,
                "kubeconfig": self.kubeconfig,
                "pools": self.pools,
                "processes": self.processes,
                "folder": self.folder,
            }
        )
