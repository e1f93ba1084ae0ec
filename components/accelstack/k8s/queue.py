"""Queues that jobs wait in: Kueue's, one for each team, which share a cluster's pools."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NotRequired, TypedDict

import pulumi

from accelstack.contracts import ClusterPool
from accelstack.k8s.gang import name_of
from accelstack.k8s.names import LABEL, checked_name
from accelstack.k8s.objects import KubernetesObject
from accelstack.k8s.queue_manifests import CHECK, PRIORITIES, Portion, manifests

LONGEST_NAME = LABEL - len(f"-{CHECK}")
LEAST_WEIGHT = 0.001


class Team(TypedDict):
    """Who has a queue, and what of the pools."""

    name: str
    """Of the team and of its local queue."""
    namespace: pulumi.Input[str]
    """Where its jobs run; no other namespace's jobs are admitted."""
    share: NotRequired[float]
    """What it has of every pool, above 0 and up to 1; an equal part of what the others leave if left out. A gang that
    needs more than its share starts only while it can borrow, and may be stopped again for those it borrowed from:
    with half of a single node, for instance, there is nothing that a job of whole nodes could rely on."""
    borrow: NotRequired[bool]
    """Whether it may use what others do not; true if left out."""
    lend: NotRequired[bool]
    """Whether others may use what it does not; true if left out."""
    weight: NotRequired[float]
    """How much it may borrow compared with others that want to; 1 if left out. It counts where Kueue is set to share
    fairly, as the one of `AddOns` is."""


class QueuesArgs(TypedDict):
    """Args of `k8s.Queues`."""

    pools: list[ClusterPool]
    """The pools whose nodes are given out, one or more. Pods on other pools, such as a system pool, do not queue."""
    teams: list[Team]
    """Who gets them, one or more."""
    ready: NotRequired[pulumi.Input[str]]
    """Known when Kueue serves, such as `AddOns.ready`; left out where it is in the cluster already."""


class Queues(pulumi.ComponentResource):
    """A queue for each team, a quota of each pool behind it, and three priorities.

    A job is admitted when there is quota for all its pods, never for some of them. What a team leaves unused others
    borrow, each in proportion to its weight, and give back when it wants it: their jobs are then stopped, newest and
    least of priority first, and queued again. Within a team a job of higher priority stops those of lower ones.

    Raises:
        pulumi.InputPropertyError: a name is none of Kubernetes objects, there are no pools or teams, two of one name,
            or the shares cannot be.
    """

    queues: dict[str, pulumi.Output[str]]
    """Local queue by team, for `TrainingJob.queue`; known when Kueue admits jobs by it."""
    priorities: dict[str, pulumi.Output[str]]
    """Kueue's priority class by `low`, `normal` and `high`, for `TrainingJob.priority`."""

    def __init__(self, name: str, args: QueuesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        checked_name(name, LONGEST_NAME)
        _distinct("pools", [pool["name"] for pool in args["pools"]])
        portions = portioned(args["teams"])
        super().__init__("accelstack:index:K8sQueues", name, None, opts)
        made: dict[str, KubernetesObject] = {}
        before: list[pulumi.Resource] = []
        for step in manifests(name, args["pools"], portions):
            if "ready" in args and not before:
                for each in step.values():
                    each["metadata"]["annotations"]["accelstack/ready"] = args["ready"]
            # what is referred to cannot go before what refers to it
            after = pulumi.ResourceOptions(parent=self, depends_on=before)
            layer = {key: KubernetesObject(f"{name}-{key}", each, after) for key, each in step.items()}
            made |= layer
            before = [*before, *layer.values()]
        self.queues = {each.team: name_of(made[f"local-{each.team}"]) for each in portions}
        self.priorities = {each: name_of(made[f"priority-{each}"]) for each in PRIORITIES}
        self.register_outputs({"queues": self.queues, "priorities": self.priorities})


def portioned(teams: Sequence[Team]) -> list[Portion]:
    """What each team has.

    Raises:
        pulumi.InputPropertyError: see `Queues`.
    """
    _distinct("teams", [team["name"] for team in teams])
    for index, team in enumerate(teams):
        _check(f"teams[{index}]", team)
    # as written, so that 0.1, 0.2 and 0.7 are a whole
    stated = {team["name"]: Fraction(str(team["share"])) for team in teams if "share" in team}
    rest = 1 - sum(stated.values(), Fraction())
    if rest < 0:
        added = " + ".join(str(team["share"]) for team in teams if "share" in team)
        raise pulumi.InputPropertyError("teams", f"shares of {added} are more than all there is; let them sum up to 1")
    equal = rest / max(1, len(teams) - len(stated))
    for index, team in enumerate(teams):
        if "share" not in team and not equal and not team.get("borrow", True):
            reason = "is left out, while the others have all there is and this team may not borrow; give it a share"
            raise pulumi.InputPropertyError(f"teams[{index}].share", reason)
    return [
        Portion(
            team=team["name"],
            namespace=team["namespace"],
            share=stated.get(team["name"], equal),
            borrow=team.get("borrow", True),
            lend=team.get("lend", True),
            weight=team.get("weight", 1.0),
        )
        for team in teams
    ]


def _distinct(path: str, names: Sequence[str]) -> None:
    if not names:
        raise pulumi.InputPropertyError(path, "is empty, so that no job could ever start; give one or more")
    for index, name in enumerate(names):
        if name in names[:index]:
            raise pulumi.InputPropertyError(f"{path}[{index}].name", f"{name!r} is given twice; use each name once")


def _check(path: str, team: Team) -> None:
    try:
        checked_name(team["name"])
    except pulumi.InputPropertyError as wrong:
        raise pulumi.InputPropertyError(f"{path}.name", wrong.reason) from None
    share, weight = (_number(f"{path}.{key}", team.get(key, 1.0)) for key in ("share", "weight"))
    if not 0 < share <= 1:
        reason = f"{share} is no part of the pools; use a number above 0, up to 1, or leave it out for an equal share"
        raise pulumi.InputPropertyError(f"{path}.share", reason)
    if not weight >= LEAST_WEIGHT:
        reason = f"{weight} is too little: the team would never borrow; use {LEAST_WEIGHT} or more, or borrow: false"
        raise pulumi.InputPropertyError(f"{path}.weight", reason)


def _number(path: str, value: object) -> float:
    """Settings come as they were written."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise pulumi.InputPropertyError(path, f"{value!r} is no number; use one such as 0.5")
    return value
