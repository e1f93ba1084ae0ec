"""What a training run reports while it goes on: a Prometheus text file in its folder, and MLflow.

A report that fails is warned of once, and never ends the run.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from accelstack_workloads import checkpoint
from accelstack_workloads.atomic import write_file
from accelstack_workloads.diagnosis import slow
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.group import Group
from accelstack_workloads.progress import Progress, say
from accelstack_workloads.run_folder import RunFolder
from accelstack_workloads.settings import Settings
from accelstack_workloads.tracking import Tracking

PREFIX = "accelstack_training_"


@dataclass(frozen=True)
class Measures:
    """Where a run is.

    Attributes:
        epoch: that it is in, from 1.
        step: of the run, from its beginning.
        loss, score: on the training samples of the epoch so far.
        rate: samples per second, of all processes.
    """

    epoch: int
    step: int
    loss: float
    score: float
    rate: float


class Reports:
    """What the leading process reports; the others report nothing.

    Args:
        run: the folder of the run; `metrics.prom` there is for the textfile collector of Prometheus's node exporter.
        progress: prints lines.
        settings: of the run.
        tracking: URI of the MLflow server that measures of epochs go to, too; empty for none.
    """

    def __init__(self, run: RunFolder, progress: Progress, settings: Settings, tracking: str) -> None:
        self.progress, self._run, self._warned = progress, run, False
        self._tracking = Tracking(tracking, run.path, asdict(settings)) if tracking and progress.shows else None

    def show(self, epoch: int, step: int, loss: float, score: float) -> Measures:
        """Prints where the run is, and writes the text file anew.

        Args:
            epoch: from 0.
            step: of the run, from its beginning.
            loss, score: on the training samples of the epoch so far.
        """
        self.progress.show(epoch, loss, score)
        measures = Measures(epoch + 1, step, loss, score, self.progress.rate)
        if self.progress.shows:
            self._write(measures)
        return measures

    def epoch(self, epoch: int, step: int, loss: float, score: float) -> None:
        """The same at the end of an epoch; its measures go to MLflow, too."""
        measures = self.show(epoch, step, loss, score)
        if self._tracking:
            named = {"loss": loss, self.progress.score: score, "samples_per_second": measures.rate}
            self._tracking.log(named, epoch + 1)

    def slow(self, group: Group, seconds: float) -> dict[str, Any]:
        """Warns of processes that hold up the others; gives what the metrics say of them.

        Args:
            group: of the processes.
            seconds: of this one's own work in a step.
        """
        found = [{**asdict(each), "host": group.host(each.rank)} for each in slow(group.of_each(seconds))]
        for each in found if self.progress.shows else []:
            say(
                f"warning: process {each['rank']} on {each['host']} holds up the others: its own work takes "
                f"{each['seconds']:.3f} s a step, the median is {each['usual']:.3f} s"
            )
        return {"slow": found} if found else {}

    def close(self, done: bool) -> None:
        """Waits, for some seconds at most, until what was handed over has arrived; `done` is whether the run is."""
        if self._tracking:
            self._tracking.close(done)

    def _write(self, measures: Measures) -> None:
        newest = checkpoint.find(self._run.checkpoints)[:1]
        try:
            written = (newest[0] / checkpoint.MARKER).stat().st_mtime if newest else 0.0
            write_file(self._run.path / "metrics.prom", exposition(measures, written, time.time()))
        except (OSError, WorkloadError) as error:
            if not self._warned:
                say(f"warning: metrics.prom is not up to date ({error})")
            self._warned = True


def exposition(measures: Measures, checkpoint_written: float, now: float) -> bytes:
    """Measures in Prometheus's text format (https://prometheus.io/docs/instrumenting/exposition_formats/).

    Args:
        measures: of the run.
        checkpoint_written: when the newest checkpoint was, in seconds since 1970; 0 where there is none.
        now: in seconds since 1970.
    """
    registry = CollectorRegistry()
    values = {
        "epoch": ("Epoch that the run is in, from 1.", measures.epoch),
        "step": ("Steps of the optimiser since the run began.", measures.step),
        "loss": ("Loss on the training samples of the epoch so far.", measures.loss),
        "score": ("Score on the training samples of the epoch so far.", measures.score),
        "samples_per_second": ("Samples trained on in a second, by all processes.", measures.rate),
        "updated_timestamp_seconds": ("When this was written.", now),
    }
    if checkpoint_written:
        values["checkpoint_timestamp_seconds"] = ("When the newest checkpoint was written.", checkpoint_written)
        values["checkpoint_age_seconds"] = ("Its age when this was written.", max(now - checkpoint_written, 0.0))
    for name, (about, value) in values.items():
        Gauge(f"{PREFIX}{name}", about, registry=registry).set(value)
    return generate_latest(registry)
