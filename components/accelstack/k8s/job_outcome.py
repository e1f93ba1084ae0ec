"""What a gang left, as resources that wait for its end."""

import importlib
import json
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from accelstack.dynamic import DynamicProvider, UserError, changed
from accelstack.k8s.follow import Eyes, follow

BELOW = (
    "this is what TCP gives where a fabric's devices, plug-ins or security group are missing: look for 'NET/' in the "
    "probe's log, and at the pool's nodes"
)


class OutcomeProvider(DynamicProvider):
    """Waits for a gang's end and keeps what it left. A JobSet that was made anew is waited for again."""

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=changed(_olds, _news, ["uid"]))

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult("outcome", {**props, **self.outcome(props, self.wait(props))})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult({**_news, **self.outcome(_news, self.wait(_news))})

    def wait(self, props: dict[str, Any]) -> dict[str, Any]:
        """Follows the gang; gives what its program left.

        Raises:
            UserError: it did not end well, or left nothing.
        """
        namespace, job = props["namespace"], props["job"]
        eyes = Eyes(props["kubeconfig"], namespace, job)
        found = follow(eyes.outcome, eyes.log, job, props["wait_minutes"]) or stored(props.get("uri", ""))
        if found is None:
            raise UserError(
                f"{job} succeeded, and its pods and their results are gone with their nodes; run it again with "
                f"`kubectl delete jobset {job} -n {namespace}` and `pulumi up --refresh`, which ends at once where the "
                "store has the results"
            )
        return found

    def outcome(self, props: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
        """What is kept of it."""
        return {"metrics": result["metrics"], "model": result["model"]}


class ProbeProvider(OutcomeProvider):
    """Holds what a probe measured against the floor."""

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=changed(_olds, _news, ["uid", "floor_gbs", "gate"]))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        same = _olds["uid"] == _news["uid"]
        result = {"bus_gbs": _olds["bus_gbs"]} if same else self.wait(_news)
        return UpdateResult({**_news, **self.outcome(_news, result)})

    def outcome(self, props: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
        bus, floor = float(result["bus_gbs"]), float(props["floor_gbs"])
        told = f"{props['fabric']} on {props['pool']}: all-reduce at {bus:.1f} GB/s"
        if bus >= floor:
            print(f"{told}, {f'at least {floor:g} as it must be' if floor else 'which no floor is known for'}")
            return {"bus_gbs": bus, "passed": told}
        missed = f"{told}, below the floor of {floor:g} ({props['source']}); {BELOW}"
        if props["gate"]:
            raise UserError(
                f"{missed}. Once mended, probe again with `pulumi up --replace '{props['urn']}'`; to train all the "
                "same, set gate to false"
            )
        print(f"warning: {missed}", flush=True)
        return {"bus_gbs": bus, "passed": missed}


def stored(uri: str) -> dict[str, Any] | None:
    """A result that the program left in the store; None where there is none, or the store is out of reach from here."""
    fsspec: Any = importlib.import_module("fsspec")
    try:
        with fsspec.open(uri, "r") as file:
            return json.load(file)
    except Exception:  # each storage library raises its own kinds, and a missing one ImportError or ValueError
        return None


class TrainingOutcome(Resource, module="accelstack", name="K8sTrainingOutcome"):
    """What a training job left."""

    metrics: pulumi.Output[dict[str, Any]]
    """Figures of the evaluation and the run."""
    model: pulumi.Output[dict[str, str]]
    """The model version that came of it."""

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(OutcomeProvider(), name, {**props, **dict.fromkeys(["metrics", "model"])}, _hiding(opts))


class ProbeOutcome(Resource, module="accelstack", name="K8sProbeOutcome"):
    """What a probe measured."""

    bus_gbs: pulumi.Output[float]
    """Bus bandwidth of its all-reduce, in GB/s."""
    passed: pulumi.Output[str]
    """What was measured, in words."""

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(ProbeProvider(), name, {**props, **dict.fromkeys(["bus_gbs", "passed"])}, _hiding(opts))


def _hiding(opts: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=["kubeconfig"]))
