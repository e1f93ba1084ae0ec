"""A training job on a cluster: what is submitted, what makes it another run, and what is said of it."""

from __future__ import annotations

import sys
from typing import Any

import pulumi
import pytest
from accelstack.dynamic import UserError
from accelstack.k8s import follow as following
from accelstack.k8s import gang
from accelstack.k8s.follow import follow
from accelstack.k8s.job_outcome import OutcomeProvider
from accelstack.k8s.training_job import TrainingJob
from accelstack.k8s.training_outcome import Outcome, read

from tests.unit.k8s_engine import Cluster, run
from tests.unit.k8s_pools import planned

IMAGE = f"registry.example/workloads@sha256:{'a' * 64}"
POOL = planned("aws", "H100:8")
JOB: dict[str, Any] = {
    "workload": "vision",
    "dataset": "digits",
    "epochs": 2,
    "batch_size": 64,
    "learning_rate": 0.01,
    "seed": 0,
    "model": "digits",
    "store": "s3://ours",
    "namespace": "team",
    "service_account": "workload",
    "queue": "team-queue",
    "pool": POOL,
    "image": IMAGE,
}
RESULT = {"run_id": "0123", "metrics": {"accuracy": 0.97}, "model": {"name": "digits", "version": "3"}}


def given(**more: Any) -> Any:
    return {key: value for key, value in {**JOB, **more}.items() if value is not None}


def submitted(**more: Any) -> tuple[Cluster, dict[str, Any], TrainingJob]:
    """The cluster, the JobSet and the component."""
    made: list[TrainingJob] = []

    def program() -> Any:
        made.append(TrainingJob("train", given(**more)))
        return [made[0].run_id, made[0].model, made[0].metrics]

    cluster, _ = run(program)
    (job_set,) = cluster.objects("JobSet")
    return cluster, job_set, made[0]


def outputs(**more: Any) -> tuple[str, dict[str, str], dict[str, Any]]:
    def program() -> Any:
        job = TrainingJob("train", given(**more))
        return [job.run_id, job.model, job.metrics]

    return tuple(run(program)[1])


def template(job_set: dict[str, Any]) -> dict[str, Any]:
    return job_set["spec"]["replicatedJobs"][0]["template"]["spec"]


class TestJobSet:
    def test_is_one_gang_in_a_queue(self) -> None:
        _, made, _ = submitted(priority="queues-high")
        assert made["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
        assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-queue"
        assert made["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "queues-high"
        (workers,) = made["spec"]["replicatedJobs"]
        assert (workers["name"], workers["replicas"]) == ("workers", 1)
        job = template(made)
        assert (job["parallelism"], job["completions"], job["completionMode"]) == (2, 2, "Indexed")
        assert "suspend" not in made["spec"], "Kueue decides it"

    def test_stays_when_it_is_finished(self) -> None:
        assert "ttlSecondsAfterFinished" not in submitted()[1]["spec"]

    def test_pods_run_the_workloads_command(self) -> None:
        _, made, _ = submitted()
        (program,) = template(made)["template"]["spec"]["containers"]
        name = made["metadata"]["name"]
        words = program["command"]
        assert words[:5] == ["python", "-m", "accelstack_workloads", "cluster", "train"]
        options = dict(zip(words[5::2], words[6::2], strict=True))
        assert options["--rendezvous"] == f"{name}-workers-0-0.{name}:29500"
        assert made["spec"]["network"]["subdomain"] == name
        assert (options["--nodes"], options["--processes"]) == ("2", "8")
        assert (options["--dataset"], options["--batch-size"], options["--seed"]) == ("digits", "64", "0")
        assert options["--store"] == "s3://ours"
        assert name.endswith(options["--run-id"][:8])
        assert not {"--registry", "--min-nodes"} & options.keys()

    def test_begins_again_after_a_loss_without_counting_and_never_on_bad_input(self) -> None:
        _, made, _ = submitted(restarts=4)
        policy = made["spec"]["failurePolicy"]
        assert policy["maxRestarts"] == 4
        bad, lost = policy["rules"]
        assert (bad["action"], bad["onJobFailureMessagePatterns"]) == ("FailJobSet", ["exit code 2 "])
        assert lost["action"] == "RestartJobSetAndIgnoreMaxRestarts"
        job = template(made)
        assert job["backoffLimit"] == 0
        disrupted, codes = job["podFailurePolicy"]["rules"]
        assert (disrupted["action"], disrupted["onPodConditions"][0]["type"]) == ("FailJob", "DisruptionTarget")
        assert codes["onExitCodes"]["values"] == [2, 3]

    def test_an_elastic_one_goes_on_while_a_lost_pod_is_replaced(self) -> None:
        _, made, _ = submitted(min_nodes=1)
        job = template(made)
        assert job["podFailurePolicy"]["rules"][0]["action"] == "Ignore"
        assert job["template"]["spec"]["containers"][0]["command"][-2:] == ["--min-nodes", "1"]

    def test_has_time_for_a_checkpoint_and_gives_up_lost_nodes_soon(self) -> None:
        spec = template(submitted()[1])["template"]["spec"]
        assert spec["terminationGracePeriodSeconds"] == 120
        assert spec["restartPolicy"] == "Never"
        lost = {each["key"]: each["tolerationSeconds"] for each in spec["tolerations"] if "tolerationSeconds" in each}
        assert lost == {"node.kubernetes.io/not-ready": 60, "node.kubernetes.io/unreachable": 60}

    def test_asks_for_the_fabric_in_full(self) -> None:
        (program,) = template(submitted()[1])["template"]["spec"]["containers"]
        assert program["resources"]["limits"]["vpc.amazonaws.com/efa"] == "32"

    def test_nodes_are_near_each_other(self) -> None:
        annotations = template(submitted()[1])["template"]["metadata"]["annotations"]
        assert annotations == {"kueue.x-k8s.io/podset-preferred-topology": "topology.kubernetes.io/zone"}
        wide: Any = {**POOL, "zones": ["a", "b"]}
        annotations = template(submitted(pool=wide)[1])["template"]["metadata"]["annotations"]
        assert annotations == {"kueue.x-k8s.io/podset-required-topology": "topology.kubernetes.io/zone"}

    @pytest.mark.parametrize("more", [{"topology": ["kubernetes.io/hostname"]}, {"min_nodes": 0}, {"zones": []}])
    def test_nodes_that_are_not_there_or_not_labelled_are_not_placed_by_kueue(self, more: dict[str, Any]) -> None:
        assert "annotations" not in template(submitted(pool={**POOL, **more})[1])["template"]["metadata"]

    def test_a_store_of_ones_own_is_reached_with_its_secret(self) -> None:
        access = {"uri": "s3://ours", "environment": {"AWS_ENDPOINT_URL": "https://minio"}, "secret": "keys"}
        (program,) = template(submitted(store_access=access)[1])["template"]["spec"]["containers"]
        assert program["envFrom"] == [{"secretRef": {"name": "keys"}}]
        assert {"name": "AWS_ENDPOINT_URL", "value": "https://minio"} in program["env"]

    def test_without_an_image_the_source_comes_along(self) -> None:
        cluster, made, _ = submitted(image=None, base_image=IMAGE, index_url="https://packages.example/simple")
        (code,) = cluster.objects("ConfigMap")
        spec = template(made)["template"]["spec"]
        assert {"name": "bundle", "configMap": {"name": code["metadata"]["name"]}} in spec["volumes"]
        (unpack,) = spec["initContainers"]
        assert "s3fs" in unpack["command"]
        paths = {"name": "PYTHONPATH", "value": "/scratch/code:/scratch/packages"}
        assert paths in spec["containers"][0]["env"]

    def test_what_was_probed_comes_first(self) -> None:
        _, made, _ = submitted(probed="efa: 312 GB/s")
        assert made["metadata"]["annotations"] == {"accelstack/probed": "efa: 312 GB/s"}

    def test_long_names_leave_room_for_those_of_its_pods(self) -> None:
        name = gang.fitting("9-A-Very_Long-Name-Of-A-Component-That-No-Pod-Could-Carry")
        assert name == "a-very-long-name-of-a-component-t"
        assert len(f"{name}-01234567-workers-0-9999-abcde") <= 63


class TestRun:
    @pytest.mark.parametrize(
        "more",
        [
            {"epochs": 3},
            {"learning_rate": 0.02},
            {"seed": 1},
            {"nodes": 1},
            {"data_version": "2026-11-01"},
            {"image": IMAGE.replace("a" * 64, "b" * 64)},
            {"store": "s3://other"},
            {"model": "other"},
        ],
        ids=lambda more: next(iter(more)),
    )
    def test_what_its_result_depends_on_makes_another(self, more: dict[str, Any]) -> None:
        assert outputs(**more)[0] != outputs()[0]

    @pytest.mark.parametrize(
        "more",
        [{"priority": "high"}, {"queue": "other"}, {"restarts": 1}, {"probed": "efa: 300 GB/s"}],
        ids=lambda more: next(iter(more)),
    )
    def test_what_it_does_not_depend_on_makes_none(self, more: dict[str, Any]) -> None:
        assert outputs(**more)[0] == outputs()[0]

    def test_unwaited_for_it_says_where_the_model_will_be(self) -> None:
        run_id, model, metrics = outputs()
        uri = f"s3://ours/runs/{run_id}/model"
        assert model == {"name": "digits", "version": "", "digest": "", "uri": uri}
        assert metrics == {}

    def test_waited_for_it_follows_that_very_job(self) -> None:
        cluster, made, _ = submitted(wait_minutes=10, kubeconfig="apiVersion: v1")
        (outcome,) = cluster.objects("K8sTrainingOutcome")
        assert outcome["job"] == made["metadata"]["name"]
        assert outcome["uid"] == f"uid-{outcome['job']}"
        assert outcome["uri"].endswith("/result.json")

    def test_the_same_job_is_not_waited_for_again(self) -> None:
        provider = OutcomeProvider()
        assert not provider.diff("", {"uid": "1", "kubeconfig": "a"}, {"uid": "1", "kubeconfig": "b"}).changes
        assert provider.diff("", {"uid": "1"}, {"uid": "2"}).changes


class TestRefusals:
    @pytest.mark.parametrize(
        ("more", "path", "said"),
        [
            ({"epochs": 0}, "epochs", "1 or more"),
            ({"batch_size": 20}, "batch_size", "over 2 nodes with 8 processes each; use 32"),
            (
                {"batch_size": 72, "pool": {**POOL, "nodes": 4}, "nodes": 3, "min_nodes": 2},
                "batch_size",
                "over 2 to 3 nodes with 8 processes each; use 96",
            ),
            ({"nodes": 3}, "nodes", "pool gpu has 1 to 2"),
            ({"min_nodes": 3}, "min_nodes", "1 to 2"),
            ({"min_nodes": 0}, "min_nodes", "1 to 2"),
            ({"image": "workloads:1"}, "image", "sha256"),
            ({"image": None}, "image", "give one of image"),
            ({"base_image": IMAGE}, "image", "give one of image"),
            ({"wait_minutes": 5}, "kubeconfig", "wait_minutes needs it"),
            ({"wait_minutes": -1}, "wait_minutes", "or more"),
            ({"store": "file:///srv/store"}, "store", "no storage that pods share"),
            ({"restarts": -1}, "restarts", "0 to 1000"),
            ({"pool": planned("gcp", "TPU-v6e:4")}, "pool", "do not train on"),
            ({"pool": planned("gcp", "H100:8")}, "daemon_image", "tcpx_daemon by digest"),
        ],
    )
    def test_what_cannot_be_names_the_arg(self, more: dict[str, Any], path: str, said: str) -> None:
        with pytest.raises(pulumi.InputPropertyError, match=said) as caught:
            TrainingJob("train", given(**more))
        assert caught.value.property_path == path


def job_set(**status: Any) -> dict[str, Any]:
    suspended = status.pop("suspend", False)
    spec = {"suspend": suspended, "replicatedJobs": [{"template": {"spec": {"completions": 2}}}]}
    return {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "team"}}, "spec": spec, "status": status}


def condition(kind: str, status: str = "True", **more: str) -> dict[str, Any]:
    return {"type": kind, "status": status, **more}


def pod(index: int, state: dict[str, Any] | None = None, phase: str = "Running", **status: Any) -> dict[str, Any]:
    containers = [{"name": "program", "image": IMAGE, "state": state or {"running": {}}}]
    return {
        "metadata": {"name": f"train-{index}", "labels": {"batch.kubernetes.io/job-completion-index": str(index)}},
        "spec": {"nodeName": f"node-{index}"},
        "status": {"phase": phase, "containerStatuses": containers, **status},
    }


def workload(*conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {"status": {"conditions": [*conditions], **status}}


class TestReading:
    def test_a_job_without_quota_says_what_it_waits_for(self) -> None:
        lacking = "insufficient unused quota for nvidia.com/gpu in flavor gpu, 8 more needed"
        waiting = workload(condition("QuotaReserved", "False", reason="Pending", message=lacking))
        found = read(job_set(suspend=True), waiting, [])
        assert (found.stage, found.stuck) == ("queued", "")
        assert lacking in found.told

    def test_one_that_no_quota_will_ever_hold_is_stuck(self) -> None:
        never = "insufficient quota for nvidia.com/gpu in flavor gpu, request > maximum capacity (32 > 16)"
        found = read(job_set(suspend=True), workload(condition("QuotaReserved", "False", message=never)), [])
        assert "raise the team's quota" in found.stuck

    def test_a_preempted_one_says_so(self) -> None:
        evicted = condition("Evicted", reason="Preempted", message="Preempted to accommodate a higher priority")
        assert "Preempted to accommodate" in read(job_set(suspend=True), workload(evicted), []).told

    def test_admission_checks_are_named(self) -> None:
        checks = [{"name": "capacity", "state": "Pending", "message": "no machines yet"}]
        found = read(job_set(suspend=True), workload(condition("QuotaReserved"), admissionChecks=checks), [])
        assert "capacity: no machines yet" in found.told

    def test_an_image_that_cannot_be_pulled_is_said_at_once(self) -> None:
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
        found = read(job_set(), None, [pod(0, waiting, phase="Pending")])
        assert IMAGE in found.stuck
        assert "mirror" in found.stuck

    def test_pods_without_a_node_say_why(self) -> None:
        placed = condition("PodScheduled", "False", reason="Unschedulable", message="0/3 nodes are available")
        found = read(job_set(), None, [pod(0, {}, phase="Pending", conditions=[placed])])
        assert (found.stage, found.stuck) == ("starting", "")
        assert "0/3 nodes are available" in found.told

    def test_a_running_one_says_how_often_it_began_again(self) -> None:
        found = read(job_set(restarts=2), None, [pod(0), pod(1)])
        assert found == Outcome("running", "runs on 2 nodes, begun again 2 times", "train-0")

    def test_a_lost_node_is_named(self) -> None:
        lost = condition("DisruptionTarget", message="Taint manager: deleting due to NoExecute taint")
        found = read(job_set(), None, [pod(0), pod(1, phase="Failed", conditions=[lost])])
        assert found.stage == "restarting"
        assert "node-1" in found.told

    def test_a_failed_one_gives_reasons_and_the_pod_to_blame(self) -> None:
        killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
        failed = job_set(conditions=[condition("Failed", message="jobset failed due to one or more job failures")])
        found = read(failed, None, [pod(0), pod(1, killed, phase="Failed")])
        assert (found.stage, found.leader) == ("failed", "train-1")
        assert "pod train-1 on node-1: program: OOMKilled, exit code 137" in found.told

    def test_a_finished_one_has_its_leaders_last_words(self) -> None:
        done = {"terminated": {"exitCode": 0, "message": '{"metrics": {"accuracy": 0.97}}'}}
        other = {"terminated": {"exitCode": 0}}
        found = read(job_set(conditions=[condition("Completed")]), None, [pod(1, other), pod(0, done)])
        assert (found.stage, found.result) == ("succeeded", {"metrics": {"accuracy": 0.97}})

    @pytest.mark.parametrize("message", ["", "not json", "[1]"])
    def test_last_words_that_are_no_result_are_none(self, message: str) -> None:
        done = {"terminated": {"exitCode": 0, "message": message}}
        assert read(job_set(conditions=[condition("Completed")]), None, [pod(0, done)]).result is None

    def test_one_that_is_gone_says_how_to_have_it_again(self) -> None:
        assert "--refresh" in read(None, None, []).told


class TestFollowing:
    @pytest.fixture(autouse=True)
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Time passes by what is slept."""
        now = [0.0]
        monkeypatch.setattr(following.time, "monotonic", lambda: now[0])
        monkeypatch.setattr(following.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))

    def follow(self, *seen: Outcome | Exception, minutes: float = 60, log: list[str] | None = None) -> Any:
        """Follows a job that is seen so; the last one lasts."""
        left = [*seen]

        def look() -> Outcome:
            found = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(found, Exception):
                raise found
            return found

        return follow(look, lambda pod, lines: log or [], "train-01", minutes)

    def test_tells_each_stage_once_and_gives_the_result(self, capsys: pytest.CaptureFixture[str]) -> None:
        queued, running = Outcome("queued", "queued in team"), Outcome("running", "runs on 2 nodes", "pod-0")
        found = self.follow(queued, queued, running, Outcome("succeeded", "", "pod-0", RESULT), log=["epoch 1"])
        assert found == RESULT
        assert capsys.readouterr().out.splitlines()[:3] == [
            "train-01: queued in team",
            "train-01: runs on 2 nodes",
            "epoch 1",
        ]

    def test_a_failure_ends_with_the_log(self) -> None:
        with pytest.raises(UserError, match=r"train-01 failed: no good\nTraceback\nValueError"):
            self.follow(Outcome("failed", "no good", "pod-0"), log=["Traceback", "ValueError"])

    def test_what_cannot_go_on_ends_at_once(self) -> None:
        with pytest.raises(UserError, match="image x cannot be pulled"):
            self.follow(Outcome("starting", "", stuck="image x cannot be pulled"))

    def test_waiting_ends_in_time_and_the_job_goes_on(self) -> None:
        with pytest.raises(UserError, match="has not ended within wait_minutes, 2; it goes on"):
            self.follow(Outcome("queued", "queued in team"), minutes=2)

    def test_an_api_server_that_is_away_for_a_while_is_waited_for(self) -> None:
        assert self.follow(ConnectionError("refused"), Outcome("succeeded", "", "", RESULT)) == RESULT
        with pytest.raises(UserError, match="the cluster is out of reach"):
            self.follow(ConnectionError("refused"), minutes=60)

    def test_a_bad_kubeconfig_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "tracebacklimit", 100, raising=False)  # providers set it, for a process of their own
        props = {"kubeconfig": "no: kubeconfig", "namespace": "team", "job": "train-01", "wait_minutes": 1}
        with pytest.raises(UserError, match="kubeconfig"):
            OutcomeProvider().create(props)
