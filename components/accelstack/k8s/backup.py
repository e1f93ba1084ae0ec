"""Backups of what lives in a cluster alone, by Velero."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NotRequired, TypedDict, TypeVar

import pulumi

from accelstack.k8s.cron import cron_problem
from accelstack.k8s.names import checked_name
from accelstack.k8s.objects import KubernetesObject
from accelstack.k8s.pod import labels

API = "velero.io/v1"
PROVIDERS = {"s3": "aws", "gs": "gcp"}
"""Velero's plugins, by the scheme of a bucket's URI."""
USUAL_SCHEDULE, USUAL_DAYS = "0 3 * * *", 30
QUEUES = [
    f"{kind}.kueue.x-k8s.io"
    for kind in ("clusterqueues", "cohorts", "resourceflavors", "topologies", "workloadpriorityclasses")
]
"""What queues are made of beside the teams' own: it is in no namespace."""
PASSING = ["events", "events.events.k8s.io", "jobs.batch", "jobsets.jobset.x-k8s.io", "workloads.kueue.x-k8s.io"]
"""What would run again, or speak of pods that are gone, after a restore."""
JOB_PODS = {"matchExpressions": [{"key": "batch.kubernetes.io/job-name", "operator": "DoesNotExist"}]}
CREDENTIALS_KEY = "cloud"
USUAL_REGION = "us-east-1"
"""What S3 services that have no regions are asked for."""

T = TypeVar("T", str, int)


class BackupArgs(TypedDict):
    """Args of `k8s.Backup`."""

    namespace: pulumi.Input[str]
    """Where Velero is installed: it reads its objects there alone."""
    bucket: pulumi.Input[str]
    """Bucket, and perhaps a folder in it, such as `s3://backups/cluster-1` or `gs://backups`. Better not the one that
    holds the models: what is to be restored then lies with what was lost."""
    namespaces: list[pulumi.Input[str]]
    """Namespaces that are backed up: the model registry's, inference services' and those of the teams' queues."""
    schedule: NotRequired[pulumi.Input[str]]
    """When, as cron says it, in UTC unless it names another zone; `0 3 * * *`, each night at three, if left out."""
    days: NotRequired[pulumi.Input[int]]
    """How long a backup is kept, 1 or more; 30 if left out."""
    region: NotRequired[pulumi.Input[str]]
    """An S3 bucket's region; with an endpoint, `us-east-1` if left out, which services without regions take."""
    endpoint: NotRequired[pulumi.Input[str]]
    """URL of an S3 service that is not AWS's, such as `https://objects.example`."""
    credentials: NotRequired[pulumi.Input[str]]
    """Content of a credentials file, as the provider's own tools read it: for S3, `[default]` with
    `aws_access_key_id` and `aws_secret_access_key`. Secret. Left out, Velero's own identity is used."""
    volumes: NotRequired[pulumi.Input[bool]]
    """Whether the files of all volumes are kept, not of those alone that pods name in the annotation
    `backup.velero.io/backup-volumes`; false if left out. Files that change meanwhile may not go together: the model
    registry's pods name a dump instead."""


class Backup(pulumi.ComponentResource):
    """A schedule of backups, and the bucket that they go to.

    Kept are the namespaces' objects (services, secrets, claims, the registry's database as a dump) and the queues. Not
    kept are jobs, which would run again; and models and runs, which lie in the object store, whose versions and
    replication are its own matter. When it is destroyed, backups stay in the bucket until their days are over.

    Raises:
        pulumi.InputPropertyError: the name is no name of objects, the bucket's URI, the schedule or the endpoint is
            none, days are below 1, a region or an endpoint is given for `gs://`, or no namespace is named.
    """

    location: pulumi.Output[str]
    """Name of the BackupStorageLocation; `kubectl get backupstoragelocation` shows whether Velero reaches it."""
    schedule: pulumi.Output[str]
    """Name of the Schedule, which its backups' names begin with."""
    restore: pulumi.Output[str]
    """How to bring a cluster back, as commands."""

    def __init__(self, name: str, args: BackupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        checked_name(name)
        if not args["namespaces"]:
            raise pulumi.InputPropertyError("namespaces", "is empty; name those that are to be backed up")
        own = [key for key in ("region", "endpoint") if key in args]
        bucket = _checked("bucket", args["bucket"], lambda uri: bucket_problem(uri, own))
        schedule = _checked("schedule", args.get("schedule", USUAL_SCHEDULE), cron_problem)
        days = _checked("days", args.get("days", USUAL_DAYS), days_problem)
        config: dict[str, pulumi.Input[str]] = {"region": args["region"]} if "region" in args else {}
        if "endpoint" in args:
            url = _checked("endpoint", args["endpoint"], endpoint_problem)
            config = {"region": USUAL_REGION, **config, "s3Url": url, "s3ForcePathStyle": "true"}
        super().__init__("accelstack:index:K8sBackup", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        namespace = pulumi.Output.from_input(args["namespace"])
        secret: pulumi.Output[str] | None = None
        if "credentials" in args:
            manifest = credentials(name, namespace, args["credentials"])
            secret = KubernetesObject(f"{name}-credentials", manifest, child).id.apply(lambda _: name)
        location = KubernetesObject(
            f"{name}-location", storage_location(name, namespace, bucket, config, secret), child
        )
        self.location = location.id.apply(lambda _: name)
        planned = timetable(
            name,
            namespace,
            schedule,
            template(self.location, args["namespaces"], days, args.get("volumes", False)),
        )
        self.schedule = KubernetesObject(f"{name}-schedule", planned, child).id.apply(lambda _: name)
        self.restore = pulumi.Output.all(namespace, bucket, self.schedule).apply(
            lambda known: instructions(name, str(known[0]), str(known[1]))
        )
        self.register_outputs({"location": self.location, "schedule": self.schedule, "restore": self.restore})


def bucket_problem(uri: str, own: Sequence[str] = ()) -> str:
    """Why it names no bucket that Velero can keep backups in; empty if it does.

    Args:
        own: what is given besides, of `region` and `endpoint`.
    """
    if not re.fullmatch(r"(s3|gs)://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[^/\s]+)*", uri):
        return f"{uri!r} is no bucket for backups; use s3://<bucket> or gs://<bucket>, with a folder or without"
    if uri.startswith("gs:") and own:
        return f"{uri!r} is found by its name alone; leave out {' and '.join(own)}"
    return ""


def days_problem(days: int) -> str:
    """Why backups cannot be kept so long; empty if they can."""
    return "" if days >= 1 else f"{days} is less than a day; use 1 or more"


def endpoint_problem(url: str) -> str:
    """Why it is no address of an S3 service; empty if it is."""
    if re.fullmatch(r"https?://[^/\s]+", url):
        return ""
    return f"{url!r} is no URL of a service; use one such as https://objects.example"


def storage_location(
    name: str,
    namespace: pulumi.Input[str],
    bucket: pulumi.Input[str],
    config: Mapping[str, pulumi.Input[str]],
    secret: pulumi.Input[str] | None,
) -> dict[str, Any]:
    """The bucket, as Velero knows it.

    Args:
        config: as the plugin for S3 takes it
            (https://github.com/vmware-tanzu/velero-plugin-for-aws/blob/main/backupstoragelocation.md).
        secret: name of the Secret with credentials; None for Velero's own identity.
    """
    parts = pulumi.Output.from_input(bucket).apply(lambda uri: re.split("://|/", uri, maxsplit=2))
    spec: dict[str, Any] = {
        "provider": parts.apply(lambda known: PROVIDERS[known[0]]),
        "objectStorage": {
            "bucket": parts.apply(lambda known: known[1]),
            "prefix": parts.apply(lambda known: "".join(known[2:])),
        },
    }
    if config:
        spec["config"] = {**config}
    if secret is not None:
        spec["credential"] = {"name": secret, "key": CREDENTIALS_KEY}
    return {"apiVersion": API, "kind": "BackupStorageLocation", "metadata": _metadata(name, namespace), "spec": spec}


def credentials(name: str, namespace: pulumi.Input[str], content: pulumi.Input[str]) -> dict[str, Any]:
    """The Secret that the bucket is opened with."""
    held = {CREDENTIALS_KEY: pulumi.Output.secret(content)}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": _metadata(name, namespace), "stringData": held}


def template(
    location: pulumi.Input[str],
    namespaces: Sequence[pulumi.Input[str]],
    days: pulumi.Input[int],
    volumes: pulumi.Input[bool],
) -> dict[str, Any]:
    """What each backup holds, and how long it is kept."""
    return {
        "storageLocation": location,
        "ttl": pulumi.Output.from_input(days).apply(lambda known: f"{known * 24}h0m0s"),
        "includedNamespaces": [*namespaces],
        "includedClusterScopedResources": QUEUES,
        "excludedNamespaceScopedResources": PASSING,
        "labelSelector": JOB_PODS,
        "defaultVolumesToFsBackup": volumes,
        "snapshotVolumes": False,
    }


def timetable(
    name: str, namespace: pulumi.Input[str], schedule: pulumi.Input[str], backup: Mapping[str, Any]
) -> dict[str, Any]:
    """The Schedule, whose backups outlive it."""
    spec = {"schedule": schedule, "template": backup, "useOwnerReferencesInBackup": False}
    return {"apiVersion": API, "kind": "Schedule", "metadata": _metadata(name, namespace), "spec": spec}


def instructions(name: str, namespace: str, bucket: str) -> str:
    """How to bring a cluster back."""
    return f"""\
Into a cluster that has lost its objects, or a new one with the same pools and storage classes:
1. `pulumi up` with the add-ons and this backup, but without what is to be restored; {bucket} must be Available:
   kubectl --namespace {namespace} get backupstoragelocation {name}
2. Pick a backup that is Completed; they come from the bucket within minutes:
   kubectl --namespace {namespace} get backups --selector velero.io/schedule-name={name}
3. Restore it, and wait until it is Completed:
   velero --namespace {namespace} restore create --from-backup <backup> --wait
4. `pulumi refresh`, then `pulumi up` with everything: what was restored is taken over under the names that it has.
Jobs are not restored: `pulumi up` submits those that had no result yet, and they go on from their checkpoints.
"""


def _metadata(name: str, namespace: pulumi.Input[str]) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "labels": labels(name)}


def _checked(path: str, value: pulumi.Input[T], problem: Callable[[T], str]) -> pulumi.Input[T]:
    """The value, refused where it has a problem: now, or when it becomes known."""

    def check(known: T) -> T:
        if reason := problem(known):
            raise pulumi.InputPropertyError(path, reason)
        return known

    return check(value) if isinstance(value, str | int) else pulumi.Output.from_input(value).apply(check)
