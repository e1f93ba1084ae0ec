"""A search as an indexed Kubernetes Job, which Kueue admits: a pod for each trial, all of one study."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from accelstack_workloads.errors import EXIT_BAD_INPUT, WorkloadError
from accelstack_workloads.image import check_pinned

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
RETRIES = 3  # of a trial's pod
SCRATCH = "/scratch"
PROGRAM = ["python", "-m", "accelstack_workloads"]
STUDY_VARIABLE = "ACCELSTACK_STUDY"
SECRET_KEY = "uri"  # noqa: S105 - the name of an entry


@dataclass(frozen=True)
class TrialsJob:
    """What the Job is made from.

    Attributes:
        name, namespace: of the Job.
        queue: Kueue's LocalQueue.
        image: with this package and its extras, pinned by its digest.
        workload, dataset: what is prepared in each pod.
        options: of `tune worker`, besides data, folder and study: a flat list of words.
        trials: pods in all.
        parallelism: of them at once.
        study: SQLAlchemy URI of the database; empty where it is in the secret.
        secret: name of a Secret with the URI in its entry `uri`, in place of `study`.
        cpu, memory: that a pod asks for, in Kubernetes' units.
        accelerator: resource that a pod asks for, such as `nvidia.com/gpu`; empty for none.
        accelerators: how many of it.

    Raises:
        WorkloadError: a value breaks its rule.
    """

    name: str
    namespace: str
    queue: str
    image: str
    workload: str
    dataset: str
    options: tuple[str, ...]
    trials: int
    parallelism: int
    study: str
    secret: str
    cpu: str
    memory: str
    accelerator: str = ""
    accelerators: int = 1

    def __post_init__(self) -> None:
        check_pinned(self.image)
        for option in ("name", "namespace", "queue"):
            if not LABEL.fullmatch(getattr(self, option)):
                raise WorkloadError(
                    f"--{option}: {getattr(self, option)!r} is no Kubernetes name; use a-z, 0-9 and '-'"
                )
        for option in ("trials", "parallelism", "accelerators"):
            if getattr(self, option) < 1:
                raise WorkloadError(f"--{option}: {getattr(self, option)} is not above 0; give 1 or more")
        if bool(self.study) == bool(self.secret):
            raise WorkloadError(
                "--study: give one of it and --study-secret, which keeps a password out of the manifest"
            )
        if self.study and ("://" not in self.study or self.study.startswith("sqlite")):
            raise WorkloadError(
                f"--study: {self.study!r} is not shared by pods; give a database's URI such as postgresql://host/tune"
            )


def manifest(job: TrialsJob) -> dict[str, Any]:
    """The Job. It begins suspended, as Kueue wants it; a pod that is lost is replaced, bad input is not retried."""
    asked = {"cpu": job.cpu, "memory": job.memory}
    asked |= {job.accelerator: str(job.accelerators)} if job.accelerator else {}
    closed = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    common = {
        "image": job.image,
        "securityContext": closed,
        "volumeMounts": [{"name": "scratch", "mountPath": SCRATCH}],
        "env": [{"name": "HOME", "value": SCRATCH}, {"name": "TMPDIR", "value": SCRATCH}],
    }
    reference = {"secretKeyRef": {"name": job.secret, "key": SECRET_KEY}}
    study = {"name": STUDY_VARIABLE} | ({"valueFrom": reference} if job.secret else {"value": job.study})
    prepare = ["prepare", "--workload", job.workload, "--dataset", job.dataset, "--out", f"{SCRATCH}/data"]
    worker = ["tune", "worker", "--data", f"{SCRATCH}/data", "--out", f"{SCRATCH}/trials", *job.options]
    refused = {"operator": "In", "values": [EXIT_BAD_INPUT]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job.name,
            "namespace": job.namespace,
            "labels": {"app.kubernetes.io/name": "accelstack-tune", "kueue.x-k8s.io/queue-name": job.queue},
        },
        "spec": {
            "suspend": True,
            "completionMode": "Indexed",
            "completions": job.trials,
            "parallelism": min(job.parallelism, job.trials),
            "backoffLimitPerIndex": RETRIES,
            "maxFailedIndexes": job.trials,
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onExitCodes": refused},
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                ]
            },
            "template": {
                "metadata": {"labels": {"app.kubernetes.io/name": "accelstack-tune"}},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 1000,
                        "fsGroup": 1000,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "initContainers": [
                        {"name": "prepare", "command": [*PROGRAM, *prepare], **common, "resources": _resources(asked)}
                    ],
                    "containers": [
                        {
                            "name": "trial",
                            "command": [*PROGRAM, *worker, "--trials", str(job.trials)],
                            **common,
                            "env": [*common["env"], study],
                            "resources": _resources(asked),
                        }
                    ],
                    "volumes": [{"name": "scratch", "emptyDir": {}}],
                },
            },
        },
    }


def _resources(asked: dict[str, str]) -> dict[str, Any]:
    return {"requests": asked, "limits": asked}
