"""What a model registry is made of: MLflow's tracking server, and PostgreSQL where it has a database of its own."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from accelstack.contracts import ClusterPool, StoreAccess
from accelstack.k8s.pod import Container, PodArgs, labels, pod_template, store_parts

PORT, DATABASE_PORT = 5000, 5432
SERVER, DATABASE = "model-registry", "model-registry-database"
URI_KEY, PASSWORD_KEY = "MLFLOW_BACKEND_STORE_URI", "POSTGRES_PASSWORD"
WORKERS = 2
SERVER_MEMORY = "2Gi"
"""MLflow 3.17 takes 270 MB in each of three processes (the server and two workers, measured): the rest is for requests
and for bringing the database up to date."""
DATABASE_MEMORY = "1Gi"
QUIET = {
    # jobs that MLflow runs beside its server, to judge language models
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONDONTWRITEBYTECODE": "1",
}
HEALTH = {"httpGet": {"path": "/health", "port": "http"}}
READY = {"exec": {"command": ["pg_isready", "-q", "-h", "127.0.0.1", "-U", "mlflow", "-d", "mlflow"]}}
"""Over TCP: while it is made ready for the first time, the database answers on its socket alone."""
SAVE = "pg_dump -U mlflow -Fc -f /dump/new mlflow && mv /dump/new /dump/mlflow"
LOAD = "test ! -e /dump/mlflow || pg_restore -U mlflow --clean --if-exists --single-transaction -d mlflow /dump/mlflow"
BACKUP = {
    "backup.velero.io/backup-volumes": "dump",
    "backup.velero.io/backup-volumes-excludes": "data,run,tmp",
    "pre.hook.backup.velero.io/container": "database",
    "pre.hook.backup.velero.io/command": json.dumps(["/bin/sh", "-c", SAVE]),
    "pre.hook.backup.velero.io/timeout": "10m",
    "post.hook.restore.velero.io/container": "database",
    "post.hook.restore.velero.io/command": json.dumps(["/bin/sh", "-c", LOAD]),
    "post.hook.restore.velero.io/wait-for-ready": "true",
    "post.hook.restore.velero.io/exec-timeout": "10m",
}
"""What Velero does with the database (https://velero.io/docs/main/backup-hooks/): files of a running database, copied
one after another, are no backup, so a dump is kept and loaded instead."""


@dataclass(frozen=True, slots=True)
class Registry:
    """A model registry, as its objects need to know it."""

    name: str
    namespace: pulumi.Input[str]
    service_account: pulumi.Input[str]
    pool: ClusterPool
    image: pulumi.Input[str]
    store: StoreAccess
    clients: Sequence[pulumi.Input[str]]
    """Namespaces that it is used from."""
    hosts: Sequence[pulumi.Input[str]]
    """Names that it goes by besides those of its Service."""
    pull_secrets: list[pulumi.Input[str]]
    """Of its pods, beside those of the service account."""

    @property
    def database(self) -> str:
        """Name of its own database's objects."""
        return f"{self.name}-db"

    def metadata(self, name: str, part: str = "") -> dict[str, Any]:
        """Of one of its objects; with a part, labels that selectors rely on."""
        return {"name": name, "namespace": self.namespace, "labels": labels(self.name, part)}


def command(asked: Registry) -> list[pulumi.Input[str]]:
    """The tracking server's command line; it finds its database in the environment.

    It refuses requests for hosts that it is not told of, and leaves files to its clients: they read and write the
    object store themselves (`mlflow server --help`).
    """
    hosts = pulumi.Output.from_input(asked.namespace).apply(lambda namespace: host_names(asked.name, namespace))
    allowed = pulumi.Output.all(hosts, *asked.hosts).apply(lambda known: ",".join([*known[0], *known[1:]]))
    return [
        *("mlflow", "server", "--host", "0.0.0.0", "--port", str(PORT), "--workers", str(WORKERS)),  # noqa: S104
        *("--no-serve-artifacts", "--default-artifact-root", pulumi.Output.concat(asked.store["uri"], "/mlflow")),
        *("--allowed-hosts", allowed),
    ]


def host_names(name: str, namespace: str) -> list[str]:
    """What requests may call the server: its Service's names, and the ends of `kubectl port-forward`."""
    names = [name, f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.cluster.local"]
    return [*(f"{each}:{PORT}" for each in names), "localhost:*", "127.0.0.1:*"]


def server(asked: Registry, secret: pulumi.Input[str], uri: pulumi.Output[str]) -> dict[str, Any]:
    """The tracking server: one copy, which brings the database up to date before it starts.

    A disruption budget would only keep its node from being drained.

    Args:
        secret: name of the Secret that has the database's URI, and its password where the URI has none.
        uri: that URI; when it changes, the pod is replaced.
    """
    environment, secrets, volumes, mounts = store_parts(asked.store)
    common: Container = {
        "name": "server",
        "image": asked.image,
        "environment": {**QUIET, **environment},
        "secrets": [secret, *secrets],
        "mounts": mounts,
        "cpu": "250m",
        "cpu_limit": "2",
        "memory": SERVER_MEMORY,
    }
    pod: PodArgs = {
        "containers": [
            {
                **common,
                "command": command(asked),
                "ports": {"http": PORT},
                "startup": {**HEALTH, "periodSeconds": 5, "failureThreshold": 60},
                "readiness": {**HEALTH, "periodSeconds": 10},
                "liveness": {**HEALTH, "periodSeconds": 20, "timeoutSeconds": 10, "failureThreshold": 6},
            }
        ],
        "init_containers": [{**common, "name": "upgrade", "command": ["mlflow", "db", "upgrade", f"$({URI_KEY})"]}],
        "volumes": volumes,
        "pool": asked.pool,
        "service_account": asked.service_account,
        "pull_secrets": asked.pull_secrets,
        "labels": {**labels(asked.name, SERVER)},
        "annotations": {
            "accelstack/database": pulumi.Output.unsecret(uri.apply(lambda known: _mark(asked.name, known)))
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": asked.metadata(asked.name, SERVER),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},  # two versions of MLflow on one database do not go together
            "selector": {"matchLabels": _selector(asked, SERVER)},
            "template": pod_template(pod),
        },
    }


def database(
    asked: Registry, image: pulumi.Input[str], storage_class: pulumi.Input[str], size: pulumi.Input[str]
) -> dict[str, Any]:
    """PostgreSQL, by the conventions of its official image (https://hub.docker.com/_/postgres); its volume stays when
    it goes."""
    variable = {"name": PASSWORD_KEY, "valueFrom": {"secretKeyRef": {"name": asked.database, "key": PASSWORD_KEY}}}
    pod: PodArgs = {
        "containers": [
            {
                "name": "database",
                "image": image,
                "environment": {
                    "POSTGRES_USER": "mlflow",
                    "POSTGRES_DB": "mlflow",
                    "POSTGRES_INITDB_ARGS": "--data-checksums",
                    "PGDATA": "/data/pgdata",
                },
                "variables": [variable],
                "ports": {"postgres": DATABASE_PORT},
                "mounts": {"data": "/data", "dump": "/dump", "run": "/var/run/postgresql"},
                "cpu": "250m",
                "cpu_limit": "2",
                "memory": DATABASE_MEMORY,
                "startup": {**READY, "periodSeconds": 5, "failureThreshold": 60},
                "readiness": {**READY, "periodSeconds": 10, "timeoutSeconds": 5},
                "liveness": {**READY, "periodSeconds": 20, "timeoutSeconds": 10, "failureThreshold": 6},
            }
        ],
        "volumes": {"run": {"emptyDir": {}}, "dump": {"emptyDir": {}}},
        "pool": asked.pool,
        "service_account": asked.service_account,
        "pull_secrets": asked.pull_secrets,
        "labels": {**labels(asked.name, DATABASE)},
        "annotations": {**BACKUP},
        "grace_seconds": 120,
    }
    chosen = {} if storage_class == "" else {"storageClassName": storage_class}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": asked.metadata(asked.database, DATABASE),
        "spec": {
            "replicas": 1,
            "serviceName": asked.database,
            "selector": {"matchLabels": _selector(asked, DATABASE)},
            "template": pod_template(pod),
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "data", "labels": labels(asked.name)},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": size}},
                        **chosen,
                    },
                }
            ],
        },
    }


def secret(asked: Registry, name: str, content: dict[str, pulumi.Input[str]]) -> dict[str, Any]:
    """A Secret of the registry's."""
    values = {key: pulumi.Output.secret(value) for key, value in content.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": asked.metadata(name), "stringData": values}


def service(asked: Registry, name: str, part: str, port: int) -> dict[str, Any]:
    """The address of the server, or of the database."""
    ports = [{"name": "http" if part == SERVER else "postgres", "port": port, "targetPort": port}]
    spec = {"selector": _selector(asked, part), "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": asked.metadata(name, part), "spec": spec}


def let_in(asked: Registry) -> dict[str, Any]:
    """Clients' way to the server."""
    namespaces = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": each}}} for each in asked.clients
    ]
    return _policy(asked, asked.name, SERVER, {"ingress": [{"from": namespaces, "ports": _tcp(PORT)}]})


def to_database(asked: Registry) -> dict[str, Any]:
    """The server's way to its own database."""
    to = [{"podSelector": {"matchLabels": _selector(asked, DATABASE)}}]
    return _policy(asked, f"{asked.name}-to-db", SERVER, {"egress": [{"to": to, "ports": _tcp(DATABASE_PORT)}]})


def into_database(asked: Registry) -> dict[str, Any]:
    """Nobody's way into its own database but the server's."""
    server_pods = [{"podSelector": {"matchLabels": _selector(asked, SERVER)}}]
    ingress = [{"from": server_pods, "ports": _tcp(DATABASE_PORT)}]
    return _policy(asked, asked.database, DATABASE, {"ingress": ingress})


def _policy(asked: Registry, name: str, part: str, rules: dict[str, Any]) -> dict[str, Any]:
    types = [key.capitalize() for key in rules]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": asked.metadata(name),
        "spec": {"podSelector": {"matchLabels": _selector(asked, part)}, "policyTypes": types, **rules},
    }


def _tcp(port: int) -> list[dict[str, Any]]:
    return [{"port": port, "protocol": "TCP"}]


def _selector(asked: Registry, part: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": part, "app.kubernetes.io/instance": asked.name}


def _mark(name: str, uri: str) -> str:
    """Tells one URI from another without telling the password in it, so it need not hide the whole pod as a secret."""
    return hashlib.scrypt(uri.encode(), salt=name.encode(), n=2**14, r=8, p=1, dklen=8).hex()
