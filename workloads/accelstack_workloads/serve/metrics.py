"""Prometheus metrics of one replica."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from accelstack_workloads.serve.protocol import ModelInterface

CONTENT_TYPE = CONTENT_TYPE_LATEST
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Outcome:
    """What became of one request; the code is set by whoever answers it."""

    code = "cancelled"


class Metrics:
    """Counts inference requests by protocol (rest, grpc, people) and code, and measures their latency.

    Replicas share a port, so one scrape meets one of them: the label `replica`, its process id, keeps them apart.
    """

    def __init__(self, model: ModelInterface, waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        common = {"model": model.name, "version": model.version, "replica": str(os.getpid())}
        labels = tuple(common)
        requests = Counter(
            "accelstack_inference_requests",
            "Inference requests answered.",
            (*labels, "protocol", "code"),
            registry=self._registry,
        )
        seconds = Histogram(
            "accelstack_inference_request_seconds",
            "Time from a request's first byte to its answer.",
            (*labels, "protocol"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        samples = Counter(
            "accelstack_inference_samples", "Samples predicted.", (*labels, "protocol"), registry=self._registry
        )
        gauge = Gauge("accelstack_inference_waiting", "Requests in the server now.", labels, registry=self._registry)
        gauge.labels(**common).set_function(waiting)
        self._requests = lambda protocol, code: requests.labels(**common, protocol=protocol, code=code)
        self._seconds = {p: seconds.labels(**common, protocol=p) for p in ("rest", "grpc", "people")}
        self._samples = {p: samples.labels(**common, protocol=p) for p in self._seconds}

    @contextmanager
    def measure(self, protocol: str) -> Iterator[Outcome]:
        """Counts and times one request; set `code` of what it yields."""
        outcome = Outcome()
        start = time.perf_counter()
        try:
            yield outcome
        finally:
            self._seconds[protocol].observe(time.perf_counter() - start)
            self._requests(protocol, outcome.code).inc()

    def count(self, protocol: str, samples: int) -> None:
        """Counts samples that were predicted."""
        self._samples[protocol].inc(samples)

    def render(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)
