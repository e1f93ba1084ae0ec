"""Queues on a real control plane: who gets a pool's nodes, who waits, who gives way, and that all of it goes again."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from accelstack.contracts import ClusterPool
from accelstack.k8s import addon_values
from accelstack.k8s.gang import PREFERRED, TRAINING, Gang, job_set, topology
from accelstack.k8s.pools import HOST, ZONE
from accelstack.k8s.queue import Team, portioned
from accelstack.k8s.queue_manifests import flavor_name, manifests

from tests.cluster.admission import admitted, home
from tests.cluster.control_plane import ControlPlane, running
from tests.cluster.launch import DELAY
from tests.cluster.nodes import NEIGHBOURS, cpu_pool, gpu_pool, nodes
from tests.engine import programs
from tests.engine.programs import Program
from tests.unit.k8s_pools import planned, resolved
from tests.unit.test_k8s_pod import FABRICS, IMAGE

HEADER = """
import json
import pulumi
import pulumi_kubernetes as kubernetes
from accelstack.k8s.objects import KubernetesObject
from accelstack.k8s.queue import Queues

"""
BLOCK = "test/block"
POOL = gpu_pool("train", nodes=8, min_nodes=8, zones=["a"], topology=[ZONE, BLOCK, HOST])
"""Two blocks of four nodes."""
OTHER = cpu_pool("other", nodes=2)
OWN = gpu_pool("own", nodes=2, min_nodes=2, zones=["a"])
"""Of the test with the engine."""
TEAMS: list[Team] = [
    {"name": "research", "namespace": "research-jobs", "share": 0.5},
    {"name": "product", "namespace": "product-jobs", "share": 0.25, "borrow": False},
    {"name": "guests", "namespace": "guests-jobs"},
]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """With Kueue configured as it is installed."""
    shipped = addon_values.kueue_configuration()
    settings = {key: shipped[key] for key in ("fairSharing", "resources", "waitForPodsReady")}
    with running(tmp_path_factory.mktemp("plane"), kueue=settings) as made:
        for team in TEAMS:
            home(made, str(team["namespace"]))
        made.apply([*nodes(POOL, 8), *nodes(OWN, 2)])
        made.apply(all_of("lab", [POOL, OTHER], TEAMS))
        yield made


@pytest.fixture
def submit(plane: ControlPlane) -> Iterator[Callable[..., Submitted]]:
    """Submits a gang, which runs until the test ends."""
    names, made = itertools.count(1), list[Submitted]()

    def submitted(team: str, count: int, **more: Any) -> Submitted:
        manifest = gang(f"gang-{next(names)}", f"{team}-jobs", team, POOL, count, **more)
        plane.apply([manifest])
        made.append(Submitted(plane, manifest))
        return made[-1]

    yield submitted
    for each in made:
        plane.kubectl("delete", "jobset", each.name, "--namespace", each.namespace)
    for each in made:
        plane.wait(lambda each=each: each.workload() is None, f"the end of {each.name}")


class Submitted:
    """A gang, as Kueue has it."""

    def __init__(self, plane: ControlPlane, manifest: dict[str, Any]) -> None:
        self.plane, self.manifest = plane, manifest
        self.name, self.namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]

    def workload(self) -> dict[str, Any] | None:
        found = self.plane.kubectl("get", "workloads", "--namespace", self.namespace, "--output", "json")
        owned = [each for each in json.loads(found)["items"] if self._owns(each)]
        return owned[0] if owned else None

    def condition(self, kind: str) -> dict[str, str]:
        conditions = (self.workload() or {}).get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {"status": "Unknown", "message": ""})

    def runs(self) -> Submitted:
        """Waits until it does."""
        self.plane.wait(lambda: self.condition("PodsReady")["status"] == "True", f"{self.name} {self.workload()}", 20)
        return self

    def waits(self, saying: str) -> None:
        """Waits until it is told why it does."""
        self.plane.wait(lambda: saying in self.condition("QuotaReserved")["message"], f"{self.workload()}", 20)
        assert self.condition("QuotaReserved")["status"] == "False"

    def gives_way(self) -> None:
        self.plane.wait(lambda: self.condition("Preempted")["status"] == "True", f"{self.workload()}", 20)

    def places(self) -> list[str]:
        """Nodes of its pods."""
        selector = f"--selector=jobset.sigs.k8s.io/jobset-name={self.name}"
        found = self.plane.kubectl("get", "pods", "--namespace", self.namespace, selector, "--output", "json")
        return [each["spec"]["nodeName"] for each in json.loads(found)["items"]]

    def _owns(self, workload: dict[str, Any]) -> bool:
        return any(each["name"] == self.name for each in workload["metadata"].get("ownerReferences", []))


def all_of(name: str, pools: list[ClusterPool], teams: list[Team]) -> list[dict[str, Any]]:
    return [each for step in manifests(name, pools, portioned(teams)) for each in step.values()]


def gang(
    name: str, namespace: str, queue: str, pool: ClusterPool, count: int, priority: str = "normal"
) -> dict[str, Any]:
    """A training job's gang, whose pods run for an hour."""
    asked: Gang = {
        "name": name,
        "namespace": namespace,
        "role": TRAINING,
        "part_of": name,
        "service_account": "workload",
        "queue": queue,
        "priority": f"lab-{priority}",
        "pool": pool,
        "nodes": count,
        "min_nodes": count,
        "runtime": {"image": IMAGE},
        "program": ["python"],
        "restarts": 0,
    }
    made = resolved(lambda: job_set(asked))
    pod = made["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    pod["metadata"].setdefault("annotations", {})[DELAY] = "1h"
    return made


class TestAdmission:
    def test_queues_over_pools_of_every_fabric_are_admitted(self, plane: ControlPlane, tmp_path: Path) -> None:
        pools: list[ClusterPool] = [{**planned(**each), "name": name} for name, each in FABRICS.items()]
        teams: list[Team] = [{**team, "name": f"other-{team['name']}"} for team in TEAMS]
        found = all_of("every", [*pools, gpu_pool("waits", capacity="flex_start")], teams)
        assert {each["kind"] for each in found} >= {"Topology", "AdmissionCheck", "ProvisioningRequestConfig"}
        assert admitted(plane, tmp_path, found) == len(found)

    def test_kueue_takes_jobs_by_them(self, plane: ControlPlane) -> None:
        for team in TEAMS:
            for kind, name, namespace in (
                ("clusterqueue", f"lab-{team['name']}", ""),
                ("localqueue", team["name"], str(team["namespace"])),
            ):
                plane.wait(lambda asked=(kind, name, namespace): active(plane, *asked), f"{kind} {name}", 20)


class TestEngine:
    """The queues as a user has them: with `pulumi up`."""

    @pytest.fixture
    def program(self, plane: ControlPlane, tmp_path: Path) -> Iterator[Program]:
        with programs.attached(tmp_path / "p", ("kubernetes",), kubernetes=plane.kubeconfig) as made:
            yield made

    def write(self, program: Program, plane: ControlPlane, pool: ClusterPool, **more: Any) -> None:
        teams = [{"name": "crew", "namespace": "research-jobs", **more}]
        program.write(
            f"""
            cluster = kubernetes.Provider("cluster", kubeconfig={str(plane.kubeconfig)!r})
            args = json.loads({json.dumps({"pools": [pool], "teams": teams, "ready": "add-ons"})!r})
            queues = Queues("crews", args, pulumi.ResourceOptions(providers=[cluster]))
            job = json.loads({json.dumps(gang("job", "research-jobs", "", OWN, 2))!r})
            job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = queues.queues["crew"]
            job["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] = queues.priorities["high"]
            KubernetesObject("job", job, pulumi.ResourceOptions(provider=cluster))
            pulumi.export("queues", queues.queues)
            """,
            HEADER,
        )

    def test_they_come_change_and_go_in_one_go_each(self, program: Program, plane: ControlPlane) -> None:
        self.write(program, plane, OWN)
        first = program.up()
        assert first.ok, first.output
        assert program.outputs()["queues"] == {"crew": "crew"}
        job = Submitted(plane, gang("job", "research-jobs", "crew", OWN, 2)).runs()
        assert program.refresh().ok
        again = program.up()
        assert again.steps == [], again.output

        self.write(program, plane, OWN, weight=2)
        changed = program.up()
        assert changed.steps == [("update", "crews-cluster-crew")], changed.output

        elsewhere: ClusterPool = {**OWN, "min_nodes": 0}
        self.write(program, plane, elsewhere, weight=2)
        other = program.up()
        assert other.ok, other.output
        assert other.changes["delete-replaced"] == 1
        assert plane.get("resourceflavor", flavor_name("crews", OWN)) is None
        assert plane.get("topology", flavor_name("crews", OWN)) is None
        assert active(plane, "clusterqueue", "crews-crew")
        assert job.condition("Admitted")["status"] == "True"

        gone = program.destroy()
        assert gone.ok, gone.output
        left = plane.kubectl(
            "get", "clusterqueues,resourceflavors,cohorts,topologies,workloadpriorityclasses", "-o=name"
        )
        assert "crews" not in left


class TestJobs:
    def test_a_gang_is_kept_together(self, submit: Callable[..., Submitted]) -> None:
        assert topology(POOL) == {PREFERRED: BLOCK}
        first, second = submit("research", 3).runs(), submit("research", 3).runs()
        blocks = [{int(each.rpartition("-")[2]) // NEIGHBOURS for each in gang.places()} for gang in (first, second)]
        assert [len(each) for each in blocks] == [1, 1]
        assert blocks[0] != blocks[1]

    def test_one_node_is_a_gang_too(self, submit: Callable[..., Submitted]) -> None:
        assert len(submit("research", 1).runs().places()) == 1

    def test_a_team_that_may_not_borrow_waits_for_its_own(self, submit: Callable[..., Submitted]) -> None:
        submit("product", 2).runs()
        submit("product", 2).waits("insufficient unused quota")
        submit("product", 3).waits("> maximum capacity")

    def test_within_a_team_priority_counts(self, submit: Callable[..., Submitted]) -> None:
        low = submit("product", 2, priority="low").runs()
        normal = submit("product", 2).runs()
        low.gives_way()
        low.waits("insufficient unused quota")
        submit("product", 2).waits("insufficient unused quota")
        assert normal.condition("Admitted")["status"] == "True"

    def test_what_is_borrowed_is_given_back(self, submit: Callable[..., Submitted]) -> None:
        own, borrowed = submit("research", 4).runs(), submit("research", 4, priority="high").runs()
        submit("guests", 2, priority="low").runs()
        states = [each.condition("Admitted")["status"] for each in (own, borrowed)]
        assert sorted(states) == ["False", "True"]

    def test_another_namespaces_jobs_are_not_admitted(self, plane: ControlPlane) -> None:
        theirs = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "LocalQueue", "spec": {"clusterQueue": "lab-guests"}}
        plane.apply([{**theirs, "metadata": {"name": "sly", "namespace": "product-jobs"}}])
        manifest = gang("sly", "product-jobs", "sly", POOL, 2)
        plane.apply([manifest])
        Submitted(plane, manifest).waits("namespace doesn't match")
        plane.kubectl("delete", "jobset/sly", "localqueue/sly", "--namespace", "product-jobs")


def active(plane: ControlPlane, kind: str, name: str, namespace: str = "") -> bool:
    found = plane.get(kind, name, namespace) or {}
    conditions = found.get("status", {}).get("conditions", [])
    return any(each["type"] == "Active" and each["status"] == "True" for each in conditions)
