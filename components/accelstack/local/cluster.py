"""This machine as a cluster of one node."""

from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from accelstack.contracts import Pool
from accelstack.dynamic import DynamicProvider, changed, child_of, failed
from accelstack.local import folders, machine


class ClusterArgs(TypedDict):
    """Args of `local.Cluster`."""

    folder: str
    """Absolute path of a folder for what runs: service settings and logs. It is made, and removed with the cluster. One
    with foreign content is refused."""
    accelerator: NotRequired[str]
    """`auto` (what this machine has), `cpu`, `cpu:N` for N training processes, or a GPU's name and count; `auto` if
    left out."""


class MachineProvider(DynamicProvider):
    """Reads the machine. Its inputs hold what was found, so that a change of the machine is a change of the cluster."""

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        found = machine.find()
        try:
            accelerator = machine.resolve(news["request"], found)
        except ValueError as error:
            return failed(news, {"accelerator": str(error)})
        problems = folders.problems(Path(news["folder"]), news["owner"])
        pool = Pool(
            accelerator=accelerator.name,
            per_node=accelerator.per_node or 1,
            nodes=1,
            fabric="none",
            cores=found["cores"],
            memory_gib=found["memory_gib"],
        )
        return failed(
            {**news, "pools": [pool], "accelerator": pool["accelerator"], "processes": pool["per_node"]}, problems
        )

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        replaces = ["folder"] if changed(_olds, _news, ["folder"]) else []
        return DiffResult(changes=changed(_olds, _news, ["folder", "request", "pools"]), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        folders.claim(Path(props["folder"]), props["owner"])
        return CreateResult(props["folder"], props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_news)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_ if folders.owned(Path(props["folder"]), props["owner"]) else "", props)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        folders.give_up(Path(_props["folder"]), _props["owner"])


class _Machine(Resource, module="accelstack", name="LocalMachine"):
    pools: pulumi.Output[list[dict[str, Any]]]
    accelerator: pulumi.Output[str]
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
    accelerator: pulumi.Output[str]
    """Neutral name of what the pool offers."""
    processes: pulumi.Output[int]
    """Training processes that fit: one for each GPU, or the count asked for."""
    folder: pulumi.Output[str]
    """Where services keep their settings and logs."""

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        folders.refuse_relative(args["folder"])
        super().__init__("accelstack:index:LocalCluster", name, None, opts)
        owner = folders.owner("cluster", name)
        props = {
            "folder": args["folder"],
            "owner": owner,
            "request": args.get("accelerator", "auto"),
            "pools": None,
            "accelerator": None,
            "processes": None,
        }
        found = _Machine(name, props, child_of(self))
        self.name = pulumi.Output.from_input(name)
        self.kubeconfig = pulumi.Output[str | None].from_input(None)
        self.pools = cast(pulumi.Output[list[Pool]], found.pools)
        self.accelerator = found.accelerator
        self.processes = found.processes
        self.folder = found.folder
        self.register_outputs(
            {
                "name": self.name,
                "kubeconfig": self.kubeconfig,
                "pools": self.pools,
                "accelerator": self.accelerator,
                "processes": self.processes,
                "folder": self.folder,
            }
        )
