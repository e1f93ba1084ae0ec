"""Follows a gang through the API server until it ends, printing how it gets on."""

import importlib
import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import yaml

from accelstack.dynamic import UserError
from accelstack.k8s import training_outcome
from accelstack.k8s.gang import PROGRAM
from accelstack.k8s.training_outcome import Outcome

POLL_SECONDS = 5.0
LOST_SECONDS = 300.0
"""How long the API server may be out of reach while a job is followed: managed ones are, while they are upgraded."""
TAIL = 15
"""Lines that are shown of a job that failed."""
QUIET = 0.01
"""Share of the time so far that passes between two lines of progress."""
OURS = "app.kubernetes.io/managed-by=accelstack,app.kubernetes.io/name=training"
JOB_SETS = ("jobset.x-k8s.io", "v1alpha2", "jobsets")
WORKLOADS = ("kueue.x-k8s.io", "v1beta2", "workloads")


class Eyes:
    """What can be seen of a gang in a cluster.

    Args:
        kubeconfig: content of a kubeconfig.
        namespace: of the JobSet.
        name: of the JobSet.

    Raises:
        UserError: the Kubernetes client is not installed, or the kubeconfig cannot be read.
    """

    def __init__(self, kubeconfig: str, namespace: str, name: str) -> None:
        self._core, self._custom = _clients(kubeconfig)
        self.namespace, self.name = namespace, name

    def outcome(self) -> Outcome:
        """How the gang gets on now."""
        job_set = self._job_set()
        if job_set is None:
            return training_outcome.read(None, None, [])
        selector = f"kueue.x-k8s.io/job-uid={job_set['metadata']['uid']}"
        group, version, plural = WORKLOADS
        listed = self._custom.list_namespaced_custom_object(
            group, version, self.namespace, plural, label_selector=selector
        )
        workload = next(iter(listed["items"]), None)
        found = self._core.list_namespaced_pod(
            self.namespace, label_selector=f"jobset.sigs.k8s.io/jobset-name={self.name}", _preload_content=False
        )
        return training_outcome.read(job_set, workload, json.loads(found.data)["items"])

    def log(self, pod: str, lines: int) -> list[str]:
        """The last lines that a pod has printed; none where it has not started or is gone."""
        exceptions = importlib.import_module("kubernetes.client.exceptions")
        try:
            text = self._core.read_namespaced_pod_log(pod, self.namespace, container=PROGRAM, tail_lines=lines)
        except exceptions.ApiException:
            return []
        return [line.rstrip() for line in str(text).splitlines() if line.strip()]

    def _job_set(self) -> dict[str, Any] | None:
        exceptions = importlib.import_module("kubernetes.client.exceptions")
        group, version, plural = JOB_SETS
        try:
            return self._custom.get_namespaced_custom_object(group, version, self.namespace, plural, self.name)
        except exceptions.ApiException as error:
            if error.status == 404:
                return None
            raise


def submitted(kubeconfig: str) -> list[tuple[str, str]]:
    """Namespace and name of each training job that accelstack submitted to a cluster, by name.

    Raises:
        UserError: the Kubernetes client is not installed, or the kubeconfig cannot be read.
    """
    group, version, plural = JOB_SETS
    _, custom = _clients(kubeconfig)
    found = custom.list_cluster_custom_object(group, version, plural, label_selector=OURS)["items"]
    return sorted((each["metadata"]["namespace"], each["metadata"]["name"]) for each in found)


def _clients(kubeconfig: str) -> tuple[Any, Any]:
    """The API's own objects, and custom ones."""
    try:
        client, config = (importlib.import_module(f"kubernetes.{each}") for each in ("client", "config"))
    except ImportError as error:
        raise UserError("the package kubernetes is not installed; install accelstack[kubernetes]") from error
    try:
        api = config.new_client_from_config_dict(yaml.safe_load(kubeconfig))
    except (config.ConfigException, yaml.YAMLError, AttributeError, TypeError) as error:
        raise UserError(f"kubeconfig: cannot be read ({error}); give the content of a working one") from error
    return client.CoreV1Api(api), client.CustomObjectsApi(api)


def follow(
    look: Callable[[], Outcome], log: Callable[[str, int], list[str]], job: str, wait_minutes: float
) -> dict[str, Any] | None:
    """Prints how the gang gets on until it ends; gives what its program left, None where that is not to be seen.

    Args:
        look: gives how it gets on.
        log: gives the last lines of a pod.
        job: what it is called.
        wait_minutes: how long to wait.

    Raises:
        UserError: it failed, will not start, is gone, or has not ended in time; the message says which and what to do.
    """
    began = told = reached = time.monotonic()
    shown, line = "", ""
    recent = deque[str](maxlen=TAIL)
    while True:
        now = time.monotonic()
        try:
            found, reached = look(), now
        except _lost() as error:
            if now - reached > LOST_SECONDS:
                raise UserError(f"{job}: the cluster is out of reach ({error}); it runs on, `up` follows it") from error
            time.sleep(POLL_SECONDS)
            continue
        if found.told != shown:
            shown = found.told
            print(f"{job}: {shown}", flush=True)
        if found.stage == "succeeded":
            return found.result
        if found.leader and (fresh := log(found.leader, TAIL)):
            recent = deque(fresh, TAIL)
            if fresh[-1] != line and now - told >= QUIET * (now - began):
                line, told = fresh[-1], now
                print(line, flush=True)
        if found.stage in ("failed", "missing"):
            raise UserError("\n".join([f"{job} {found.stage}: {found.told}", *recent]))
        if found.stuck:
            raise UserError(f"{job}: {found.stuck}; the next `up` follows it on")
        if now - began >= wait_minutes * 60:
            raise UserError(
                f"{job} has not ended within wait_minutes, {wait_minutes:g}; it goes on, and the next `up` follows it "
                f"({found.told})"
            )
        time.sleep(POLL_SECONDS)


def _lost() -> tuple[type[BaseException], ...]:
    """What the client raises while the server is out of reach."""
    exceptions: Any = importlib.import_module("urllib3.exceptions")
    return (exceptions.HTTPError, OSError)
