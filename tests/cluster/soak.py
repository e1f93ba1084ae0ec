"""A thousand nodes under gangs: `make soak`. Minutes on 2 cores.

First the rate: the same gangs, which end at once, as accelstack writes them and as one writes them by hand, in turn on
one control plane. Then saturation: accelstack's gangs, several times what the nodes hold, each for a while; meanwhile
the accelerators in use are counted, and whether a gang ever holds some nodes while it waits for the others.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from statistics import median

from accelstack.contracts import ClusterPool
from accelstack.k8s.gang import TRAINING, job_set, levels, topology
from accelstack.k8s.queue_manifests import Portion, manifests

from tests.benchmarks.measure import Figure
from tests.cluster import bare
from tests.cluster.bare import Manifest
from tests.cluster.control_plane import ControlPlane, running
from tests.cluster.launch import DELAY
from tests.cluster.nodes import gpu_pool, nodes

NODES = 1000
_DICE = random.Random(6)  # noqa: S311 - the same load each time
SIZES = [_DICE.randint(2, 32) for _ in range(200)]
ROUNDS = 2
FILLS = 4
"""How long gangs run at saturation, in times that it takes to fill the nodes."""
SAMPLE_SECONDS = 1.0
PATIENCE = 1800.0
HALF_PLACED_SECONDS = 15.0
"""A gang that has had only some of its nodes for longer than this is half-placed: placing takes a few seconds."""


@dataclass(frozen=True)
class Load:
    """The queue of one namespace and the gangs in it."""

    queue: list[Manifest]
    gangs: list[Manifest]


def by_hand(pool: ClusterPool, name: str, seconds: float) -> Load:
    """Written by hand; what it asks is the same."""
    queue = [*bare.queue(pool, NODES, name, levels(pool)), bare.local_queue(name, name)]
    gangs = [
        bare.gang(pool, name, f"gang-{number}", size, seconds=seconds, annotations=topology(pool))
        for number, size in enumerate(SIZES)
    ]
    return Load(queue, gangs)


def by_accelstack(pool: ClusterPool, name: str, seconds: float) -> Load:
    """Written by accelstack."""
    team = Portion(team=bare.QUEUE, namespace=name, share=Fraction(1), borrow=True, lend=True, weight=1.0)
    made = [
        job_set(
            {
                "name": f"gang-{number}",
                "namespace": name,
                "role": TRAINING,
                "part_of": f"gang-{number}",
                "service_account": "default",
                "queue": bare.QUEUE,
                "pool": pool,
                "nodes": size,
                "min_nodes": size,
                "runtime": {"image": f"example.org/train@sha256:{'0' * 64}"},
                "program": ["train"],
                "restarts": 0,
            }
        )
        for number, size in enumerate(SIZES)
    ]
    for each in made:
        pod = each["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
        pod["metadata"]["annotations"] = {**pod["metadata"].get("annotations", {}), DELAY: f"{seconds}s"}
    return Load([each for step in manifests(name, [pool], [team]) for each in step.values()], made)


@dataclass
class Watched:
    """What was seen of the gangs of one namespace."""

    capacity: int
    """Accelerators of all nodes."""
    use: list[float] = field(default_factory=list[float])
    """Part of them that pods had, at each look while gangs waited and after the nodes were full once."""
    partial: dict[str, float] = field(default_factory=dict[str, float])
    """Since when a gang has had only some of its nodes, in seconds of the monotonic clock."""
    longest: dict[str, float] = field(default_factory=dict[str, float])
    """How long that took, by gang, in seconds."""

    def look(self, pods: Iterable[Manifest], per_node: int, waiting: bool) -> None:
        """Takes one look.

        Args:
            waiting: whether there are gangs that were not admitted.
        """
        now = time.monotonic()
        placed: Counter[str] = Counter()
        busy = 0
        for pod in pods:
            if "nodeName" in pod["spec"]:
                placed[pod["metadata"]["labels"]["jobset.sigs.k8s.io/jobset-name"]] += 1
                busy += per_node * (pod["status"].get("phase") not in ("Succeeded", "Failed"))
        for number, size in enumerate(SIZES):
            name = f"gang-{number}"
            if 0 < placed[name] < size:
                self.partial.setdefault(name, now)
            if name in self.partial:
                self.longest[name] = max(self.longest.get(name, 0.0), now - self.partial[name])
                if placed[name] in (0, size):
                    del self.partial[name]
        if waiting and (self.use or busy > 0.95 * self.capacity):
            self.use.append(busy / self.capacity)


def figures() -> Iterator[Figure]:
    """The figures; a control plane and its nodes are up while they are taken."""
    pool = gpu_pool("gpu", nodes=NODES, min_nodes=NODES, zones=["a"])
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as plane:
        plane.create_all(nodes(pool, NODES))
        took: dict[str, list[float]] = {"hand": [], "own": []}
        for turn in range(ROUNDS):
            for name, load in (("hand", by_hand), ("own", by_accelstack)):
                namespace = f"{name}-{turn}"
                took[name].append(_finished(plane, pool, namespace, load(pool, namespace, 0.0), False)[0])
        rates = {name: len(SIZES) / median(seconds) for name, seconds in took.items()}
        note = f"{rates['own']:.2f} gangs/s, by hand {rates['hand']:.2f}; {sum(SIZES)} pods on {NODES} nodes"
        ratio = rates["own"] / rates["hand"]
        yield Figure("rate of gangs beside the same by hand", ratio, 0.9, at_least=True, note=note)
        seconds = round(max(30.0, FILLS * median(took["own"]) * NODES / sum(SIZES)))
        _, watched = _finished(plane, pool, "saturated", by_accelstack(pool, "saturated", seconds), True)
        use, note = median(watched.use or [0.0]), f"gangs run for {seconds} s"
        yield Figure("accelerators in use at saturation", use, 0.95, "", at_least=True, note=note)
        late = [seconds for seconds in watched.longest.values() if seconds > HALF_PLACED_SECONDS]
        slowest = max(watched.longest.values(), default=0.0)
        yield Figure("gangs half-placed", len(late), 0, "", note=f"first to last node at most {slowest:.1f} s")
        used = sum(process.memory_info().rss for process in plane.processes.values())
        yield Figure("memory of the control plane", used / 2**30, unit="GiB")


def _finished(
    plane: ControlPlane, pool: ClusterPool, namespace: str, load: Load, watching: bool
) -> tuple[float, Watched]:
    """Seconds from the first gang's submission to the last one's end, and what was seen meanwhile if watched."""
    plane.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}])
    plane.apply(load.queue)
    plane.wait(lambda: plane.api.get("v1", "ServiceAccount", namespace, "default"), "the namespace")
    watched = Watched(NODES * pool["per_node"])
    began = time.monotonic()
    with ThreadPoolExecutor(1) as thread:
        submitted = thread.submit(plane.create_all, load.gangs)
        while not _all_complete(plane, namespace):
            plane.check()
            if watching:
                watched.look(plane.api.list("v1", "Pod", namespace), pool["per_node"], _waiting(plane, namespace))
            if time.monotonic() - began > PATIENCE:
                raise SystemExit(f"soak: gangs of {namespace} did not end within {PATIENCE:g} s")
            time.sleep(SAMPLE_SECONDS)
        submitted.result()
    took = time.monotonic() - began
    plane.kubectl("delete", "namespace", namespace, "--wait=false")
    plane.wait(lambda: plane.api.get("v1", "Namespace", "", namespace) is None, "the end of the namespace", PATIENCE)
    for each in reversed(load.queue):
        plane.api.delete(
            each["apiVersion"], each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]
        )
    return took, watched


def _all_complete(plane: ControlPlane, namespace: str) -> bool:
    found = plane.api.list("jobset.x-k8s.io/v1alpha2", "JobSet", namespace)
    return sum(each.get("status", {}).get("terminalState") == "Completed" for each in found) == len(SIZES)


def _waiting(plane: ControlPlane, namespace: str) -> bool:
    queue = plane.api.get("kueue.x-k8s.io/v1beta2", "LocalQueue", namespace, bare.QUEUE) or {}
    return queue.get("status", {}).get("pendingWorkloads", 0) > 0


def main() -> int:
    """Prints each figure beside its limit; the exit code says whether every limit held."""
    missed = 0
    for figure in figures():
        missed += not figure.holds
        print(figure, flush=True)
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
