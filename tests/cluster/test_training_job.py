"""Training jobs on a real control plane: what it admits, and how gangs wait, end, begin again and fail."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from accelstack.contracts import ClusterPool
from accelstack.k8s import namespace, pod, quantity
from accelstack.k8s.fabric_probe import FabricProbe
from accelstack.k8s.follow import Eyes
from accelstack.k8s.pod_fabric import whole_node
from accelstack.k8s.training_job import TrainingJob
from accelstack.k8s.training_outcome import INDEX, Outcome

from tests.cluster.admission import admitted
from tests.cluster.control_plane import ControlPlane, running
from tests.cluster.nodes import nodes
from tests.engine import programs
from tests.engine.programs import Program
from tests.unit.k8s_engine import run
from tests.unit.k8s_pools import planned
from tests.unit.k8s_secrets import plain
from tests.unit.test_k8s_pod import FABRICS
from tests.unit.test_k8s_training_job import IMAGE, JOB, RESULT

HEADER = """
import json
import pulumi
import pulumi_kubernetes as kubernetes
from accelstack.k8s.training_job import TrainingJob

"""
HOME, STRICT = "training", "training-strict"
POOL = planned("aws", "H100:8")
ELSEWHERE: ClusterPool = {**POOL, "name": "later", "min_nodes": 0, "labels": {"accelstack/pool": "later"}}
"""Of whose nodes there is none, so that its pods stay as they are put here."""
SECONDS = 60.0


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running(tmp_path_factory.mktemp("plane"), components=["dra_driver"]) as made:
        for name, level in ((HOME, "privileged"), (STRICT, "restricted")):
            args: Any = {"level": level, "internal": True, "egress": True}
            made.apply([namespace.manifest(name, args), *namespace.contents(name, args).values()])
        made.apply([*queue(POOL, topology=True), *queue(ELSEWHERE, topology=False), *nodes(POOL, 2)])
        yield made


@pytest.fixture
def submit(plane: ControlPlane) -> Iterator[Callable[..., Gang]]:
    """Submits a training job; it goes when the test ends."""
    made: list[Gang] = []

    def submitted(pool: ClusterPool = ELSEWHERE, **more: Any) -> Gang:
        given: Any = {**JOB, "namespace": HOME, "pool": pool, "queue": pool["name"], "seed": time.time_ns() % 2**40}
        objects = asked(lambda: TrainingJob("train", {**given, **more}).run_id)
        plane.apply(objects)
        made.append(Gang(plane, objects[-1]["metadata"]["name"]))
        return made[-1]

    yield submitted
    for each in made:
        plane.kubectl("delete", "jobset", each.name, "--namespace", HOME)


class Gang:
    """A submitted gang, as the API server has it."""

    def __init__(self, plane: ControlPlane, name: str) -> None:
        self.plane, self.name = plane, name
        self.eyes = Eyes(plane.kubeconfig.read_text(), HOME, name)

    def get(self, kind: str, *more: str) -> dict[str, Any]:
        return json.loads(self.plane.kubectl("get", kind, *more, "--namespace", HOME, "--output", "json"))

    def status(self) -> dict[str, Any]:
        return self.get("jobset", self.name).get("status", {})

    def pods(self) -> list[dict[str, Any]]:
        """Its pods that have not ended, in order."""
        found = self.get("pods", "--selector", f"jobset.sigs.k8s.io/jobset-name={self.name}")["items"]
        there = [each for each in found if each["status"]["phase"] not in ("Failed", "Succeeded")]
        return sorted(there, key=lambda each: each["metadata"]["labels"][INDEX])

    def both(self) -> list[str]:
        """Names of its two pods, once they are there."""
        self.until(lambda: len(self.pods()) == 2)
        return [each["metadata"]["name"] for each in self.pods()]

    def end(self, name: str, code: int, message: str = "", *, lost: bool = False) -> None:
        """Ends the program of a pod, as its kubelet would."""
        ended = {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}
        ended |= dict.fromkeys(("startedAt", "finishedAt"), "2026-01-01T00:00:00Z")
        container = {"name": "program", "image": IMAGE, "imageID": "", "ready": False, "restartCount": 0}
        status: dict[str, Any] = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [{**container, "state": {"terminated": ended}}],
        }
        if lost:
            status["conditions"] = [{"type": "DisruptionTarget", "status": "True", "message": "the node is gone"}]
        patch = ("--subresource=status", "--type=strategic", "--patch", json.dumps({"status": status}))
        self.plane.kubectl("patch", "pod", name, "--namespace", HOME, *patch)

    def until(self, so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not so():
            assert time.monotonic() < deadline, (self.eyes.outcome(), self.status())
            time.sleep(0.2)

    def outcome(self, stage: str) -> Outcome:
        """How it gets on, once it has come to a stage."""
        self.until(lambda: self.eyes.outcome().stage == stage)
        return self.eyes.outcome()


def queue(pool: ClusterPool, *, topology: bool) -> list[dict[str, Any]]:
    """A queue with enough for two of the pool's nodes."""
    name = pool["name"]
    api = {"apiVersion": "kueue.x-k8s.io/v1beta2", "metadata": {"name": name}}
    enough = [
        {"name": resource, "nominalQuota": f"{int(2 * quantity.amount(each)) + 1}"}
        for resource, each in whole_node(pool).items()
    ]
    group = {"coveredResources": [*whole_node(pool)], "flavors": [{"name": name, "resources": enough}]}
    levels = {"levels": [{"nodeLabel": label} for label in pool["topology"]]}
    flavor = {"nodeLabels": pool["labels"], "nodeTaints": pool["taints"]}
    return [
        *([{**api, "kind": "Topology", "spec": levels}] if topology else []),
        {**api, "kind": "ResourceFlavor", "spec": flavor | ({"topologyName": name} if topology else {})},
        {**api, "kind": "ClusterQueue", "spec": {"namespaceSelector": {}, "resourceGroups": [group]}},
        {
            **api,
            "metadata": {"name": name, "namespace": HOME},
            "kind": "LocalQueue",
            "spec": {"clusterQueue": name},
        },
    ]


def asked(program: Callable[[], Any]) -> list[dict[str, Any]]:
    """What components ask the engine to make in the cluster, as the API server is sent it."""
    cluster, _ = run(program)
    return whole([plain(inputs) for _, _, inputs in cluster.made if "apiVersion" in inputs])


def whole(sent: Any) -> Any:
    """The engine's numbers, which are all of one kind, as the API server takes them."""
    if isinstance(sent, dict):
        return {key: whole(each) for key, each in sent.items()}
    if isinstance(sent, list):
        return [whole(each) for each in sent]
    return int(sent) if isinstance(sent, float) and sent.is_integer() else sent


def pod_of(job_set: dict[str, Any], home: str) -> dict[str, Any]:
    """A pod of a JobSet, in a namespace."""
    template = job_set["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    metadata = {**template["metadata"], "name": job_set["metadata"]["name"], "namespace": home}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def fabric_job(fabric: str) -> list[dict[str, Any]]:
    """What a job on a fabric asks for; the JobSet comes last."""
    pool = planned(**FABRICS[fabric])
    access: Any = {"uri": "file:///store", "environment": {"A": "b"}, "secret": "keys", "claim": "data"}
    given: Any = {**JOB, "namespace": HOME, "pool": pool, "batch_size": 16 * pool["per_node"], "store_access": access}
    return asked(lambda: TrainingJob("train", {**given, "daemon_image": IMAGE}).run_id)


class TestAdmission:
    @pytest.mark.parametrize("fabric", FABRICS)
    def test_what_a_job_asks_for_is_admitted(self, plane: ControlPlane, tmp_path: Path, fabric: str) -> None:
        found = fabric_job(fabric)
        found.append(pod_of(found[-1], HOME))
        assert admitted(plane, tmp_path, found) == len(found)

    def test_a_probe_and_a_job_with_its_source_are_too(self, plane: ControlPlane, tmp_path: Path) -> None:
        where: Any = {"namespace": HOME, "service_account": "workload", "pool": POOL, "queue": "gpu"}
        probe: Any = {**where, "image": IMAGE, "kubeconfig": "none"}
        job: Any = {**{key: each for key, each in JOB.items() if key != "image"}, **where, "base_image": IMAGE}
        found = [
            *asked(lambda: FabricProbe("probe", probe).urn),
            *asked(lambda: TrainingJob("train", job).run_id),
        ]
        found += [pod_of(each, HOME) for each in found if each["kind"] == "JobSet"]
        assert admitted(plane, tmp_path, found) == 5

    @pytest.mark.parametrize("fabric", FABRICS)
    def test_a_fabrics_standard_is_the_one_that_its_pods_need(
        self, plane: ControlPlane, tmp_path: Path, fabric: str
    ) -> None:
        made = pod_of(fabric_job(fabric)[-1], STRICT)
        if pod.standard(planned(**FABRICS[fabric])["pod_fabric"]) == "restricted":
            assert admitted(plane, tmp_path, [made]) == 1
        else:
            with pytest.raises(Exception, match="violates PodSecurity"):
                admitted(plane, tmp_path, [made])


class TestGangs:
    def test_one_runs_on_all_its_nodes_to_its_end(self, submit: Callable[..., Gang]) -> None:
        gang = submit(POOL)
        gang.outcome("succeeded")
        selector = f"jobset.sigs.k8s.io/jobset-name={gang.name}"
        placed = {each["spec"]["nodeName"] for each in gang.get("pods", "--selector", selector)["items"]}
        assert len(placed) == 2

    def test_one_whose_queue_is_not_there_says_so(self, submit: Callable[..., Gang]) -> None:
        gang = submit(queue="nowhere")
        gang.until(lambda: "LocalQueue nowhere doesn't exist" in gang.eyes.outcome().stuck)

    def test_one_too_many_waits_for_quota_and_then_runs(self, submit: Callable[..., Gang]) -> None:
        first, second = submit(), submit()
        first.both()
        second.until(lambda: "insufficient unused quota" in second.eyes.outcome().told)
        assert second.eyes.outcome().stuck == ""
        for name in first.both():
            first.end(name, 0)
        first.outcome("succeeded")
        assert len(second.both()) == 2

    def test_the_leaders_last_words_are_the_result(self, submit: Callable[..., Gang]) -> None:
        gang = submit()
        leader, other = gang.both()
        gang.end(leader, 0, '{"metrics": {"accuracy": 0.97}}')
        gang.end(other, 0)
        assert gang.outcome("succeeded").result == {"metrics": {"accuracy": 0.97}}

    @pytest.mark.parametrize(("code", "lost", "counted"), [(3, False, 0), (143, True, 0), (1, False, 1)])
    def test_one_begins_again_as_a_whole(
        self, submit: Callable[..., Gang], code: int, lost: bool, counted: int
    ) -> None:
        gang = submit()
        before = gang.both()
        gang.end(before[1], code, lost=lost)
        gang.until(lambda: gang.status().get("restarts", 0) == 1 and len(gang.pods()) == 2)
        gang.until(lambda: not {each["metadata"]["name"] for each in gang.pods()} & {*before})
        assert gang.status().get("restartsCountTowardsMax", 0) == counted

    def test_an_elastic_one_has_the_lost_pod_replaced_alone(self, submit: Callable[..., Gang]) -> None:
        gang = submit(min_nodes=1)
        leader, other = gang.both()
        gang.end(other, 143, lost=True)
        gang.until(lambda: len(gang.pods()) == 2)
        assert gang.both()[0] == leader
        assert gang.status().get("restarts", 0) == 0

    def test_bad_input_ends_it_with_what_the_program_said(self, submit: Callable[..., Gang]) -> None:
        gang = submit()
        gang.end(gang.both()[0], 2, "dataset: 'x' is missing")
        assert "exit code 2: dataset: 'x' is missing" in gang.outcome("failed").told
        assert gang.status().get("restarts", 0) == 0

    def test_one_that_fails_too_often_fails(self, submit: Callable[..., Gang]) -> None:
        gang = submit(restarts=0)
        gang.end(gang.both()[0], 1)
        assert "exit code 1" in gang.outcome("failed").told


class TestEngine:
    """The job as a user has it: with `pulumi up`."""

    @pytest.fixture
    def program(self, plane: ControlPlane, tmp_path: Path) -> Iterator[Program]:
        with programs.attached(tmp_path / "p", ("kubernetes",), kubernetes=plane.kubeconfig) as made:
            yield made

    def write(self, program: Program, plane: ControlPlane, store: Path, **more: Any) -> None:
        access = {"uri": "s3://ours", "environment": {}}
        where = {"namespace": HOME, "pool": POOL, "queue": "gpu", "store": store.as_uri(), "store_access": access}
        program.write(
            f"""
            cluster = kubernetes.Provider("cluster", kubeconfig={str(plane.kubeconfig)!r})
            args = json.loads({json.dumps({**JOB, **where, **more})!r})
            job = TrainingJob("train", args, pulumi.ResourceOptions(providers=[cluster]))
            for name in ("run_id", "metrics", "model", "job"):
                pulumi.export(name, getattr(job, name))
            """,
            HEADER,
        )

    def jobs(self, plane: ControlPlane) -> list[str]:
        return plane.kubectl("get", "jobsets", "--namespace", HOME, "--output", "name").split()

    def test_a_job_is_submitted_once_followed_replaced_and_stopped(
        self, program: Program, plane: ControlPlane, tmp_path: Path
    ) -> None:
        self.write(program, plane, tmp_path)
        first = program.up()
        assert first.ok, first.output
        told = program.outputs()
        assert self.jobs(plane) == [f"jobset.jobset.x-k8s.io/{told['job'].partition('/')[2]}"]
        assert (told["metrics"], told["model"]["version"]) == ({}, "")
        again = program.up()
        assert again.changes == {}, again.detail("train-job")

        result = tmp_path / "runs" / told["run_id"] / "result.json"
        result.parent.mkdir(parents=True)
        result.write_text(json.dumps(RESULT))
        waiting = {"wait_minutes": 1, "kubeconfig": plane.kubeconfig.read_text()}
        self.write(program, plane, tmp_path, **waiting)
        followed = program.up()
        assert followed.ok, followed.output
        assert followed.steps == [("create", "train-outcome")]
        assert program.outputs()["metrics"] == RESULT["metrics"]
        assert waiting["kubeconfig"] not in json.dumps(program.export())
        assert program.refresh().ok
        same = program.up()
        assert same.changes == {}, same.detail("train-job")

        self.write(program, plane, tmp_path, seed=7, **waiting)
        other = program.up()
        assert not other.ok, "nothing was left of this one"
        assert "its pods and their results are gone" in other.diagnostics
        assert other.steps.index(("delete-replaced", "train-job")) < other.steps.index(
            ("create-replacement", "train-job")
        )
        assert len(self.jobs(plane)) == 1
        assert program.destroy().ok
        assert self.jobs(plane) == []
