"""The command lines of a control plane's own programs, for one machine and for data that nobody keeps."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.certificates import Certificates
from tests.cluster.programs import folder

QUICK = ["--kube-api-qps=2000", "--kube-api-burst=4000"]
"""Client limits as high as nothing here reaches: the defaults bound how many pods a second are scheduled."""
SETTLED = "24h"
"""Nobody renews the health of KWOK's nodes: they are healthy from their first moment until a test says otherwise."""
DELAY = "accelstack.test/seconds"
"""Annotation of pods of Jobs: how long they run before they succeed."""


def free_ports(count: int) -> list[int]:
    """Different ports of loopback that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def etcd(home: Path, port: int, peers: int) -> list[str]:
    """The database, which never waits for the disk."""
    return [
        str(folder("etcd") / "etcd"),
        f"--data-dir={home / 'etcd'}",
        "--unsafe-no-fsync",
        "--log-level=error",
        f"--listen-client-urls=http://127.0.0.1:{port}",
        f"--advertise-client-urls=http://127.0.0.1:{port}",
        f"--listen-peer-urls=http://127.0.0.1:{peers}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peers}",
        f"--initial-cluster=default=http://127.0.0.1:{peers}",
    ]


def api_server(certificates: Certificates, port: int, database: int) -> list[str]:
    """The API server with RBAC and its default admission, PodSecurity among it."""
    return [
        _kubernetes("kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{database}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={certificates.server}",
        f"--tls-private-key-file={certificates.server_key}",
        f"--client-ca-file={certificates.authority}",
        "--authorization-mode=RBAC",
        "--anonymous-auth=false",
        "--allow-privileged=true",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.0.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={certificates.server}",
        f"--service-account-signing-key-file={certificates.server_key}",
        "--enable-priority-and-fairness=false",
        "--max-requests-inflight=0",
        "--max-mutating-requests-inflight=0",
    ]


def controller_manager(kubeconfig: Path, certificates: Certificates) -> list[str]:
    """The controllers of Kubernetes' own kinds."""
    return [
        _kubernetes("kube-controller-manager"),
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
        f"--root-ca-file={certificates.authority}",
        f"--service-account-private-key-file={certificates.server_key}",
        f"--node-monitor-grace-period={SETTLED}",
        "--concurrent-job-syncs=20",
        *QUICK,
    ]


def scheduler(kubeconfig: Path, home: Path) -> list[str]:
    """The scheduler with its default plugins."""
    config = home / "scheduler.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kubescheduler.config.k8s.io/v1",
                "kind": "KubeSchedulerConfiguration",
                "clientConnection": {"kubeconfig": str(kubeconfig), "qps": 2000, "burst": 4000},
                "leaderElection": {"leaderElect": False},
                "podMaxBackoffSeconds": 2,
            }
        )
    )
    return [_kubernetes("kube-scheduler"), f"--config={config}", "--secure-port=0"]


def kwok(kubeconfig: Path, home: Path, job_seconds: float) -> list[str]:
    """KWOK, which plays every node and the pods on it.

    Args:
        job_seconds: how long pods of Jobs run before they succeed, where their annotation `DELAY` does not say.
    """
    stages = folder("kwok") / "kustomize" / "stage"
    files = [
        *(stages / "node" / "fast").glob("node-*.yaml"),
        *(stages / "pod" / "fast").glob("pod-*.yaml"),
    ]
    played: list[dict[str, Any]] = [yaml.safe_load(file.read_text()) for file in sorted(files)]
    for stage in played:
        if stage["metadata"]["name"] == "pod-complete":
            stage["spec"]["delay"] = {
                "durationMilliseconds": int(job_seconds * 1000),
                "durationFrom": {"expressionFrom": f'.metadata.annotations["{DELAY}"]'},
            }
    config = home / "kwok.yaml"
    config.write_text(yaml.safe_dump_all(played))
    return [
        str(folder("kwok") / "kwok"),
        f"--kubeconfig={kubeconfig}",
        f"--config={config}",
        "--manage-all-nodes",
        "--node-lease-duration-seconds=0",
        "--cidr=10.64.0.0/10",
        "--v=WARN",
    ]


def _kubernetes(program: str) -> str:
    return str(folder("kubernetes") / program)
