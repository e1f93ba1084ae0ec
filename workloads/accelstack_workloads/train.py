"""Trains a workload's model on prepared data: alone, or data-parallel under torchrun.

A run goes on from its newest checkpoint, and then ends, on the same number of processes, with the same weights as one
that was never interrupted.
"""

from __future__ import annotations

import math
import platform
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from accelstack_workloads import checkpoint, model_format
from accelstack_workloads.datasets import prepared
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.group import Group, join
from accelstack_workloads.lifeline import StopRequest
from accelstack_workloads.model_files import ModelDescription
from accelstack_workloads.models.model import Outcome
from accelstack_workloads.precision import computing
from accelstack_workloads.progress import Progress, say
from accelstack_workloads.run_folder import RunFolder
from accelstack_workloads.sampling import batch, order, validation
from accelstack_workloads.schedule import learning_rate
from accelstack_workloads.settings import Settings

AGREE_EVERY = 8  # steps between the points where the processes agree on whether to stop
WEIGHT_DECAY = 0.01
WORTH_THREADS = 2**23  # weights times samples in a batch; on less, threads wait for each other longer than they work


@dataclass(frozen=True)
class Position:
    """A point between two steps: epochs done, and steps done in the epoch after them."""

    epoch: int
    step: int

    def __str__(self) -> str:
        return f"epoch {self.epoch + 1} step {self.step}"


def train(data_folder: Path, run: RunFolder, settings: Settings) -> bool:
    """Trains a model, or goes on doing so; False where it was asked to stop, and did, after a checkpoint.

    Args:
        data_folder: prepared samples.
        run: where checkpoints, metrics and the model go.
        settings: of the run; `settings.data` is the digest of the prepared samples.

    Raises:
        WorkloadError: of the data, the settings, the checkpoints or the disk.
    """
    data = prepared.load(data_folder)
    with join() as group, run.lock() if group.leads else nullcontext():
        stop = StopRequest()
        trainer = Trainer(data, run, settings, group)
        start = trainer.resume()
        end = trainer.fit(start, stop)
        if end.epoch < settings.epochs:
            if group.leads:
                say(f"stopped after checkpoint at {end}; run again to go on")
            return False
        group.from_leader(lambda: trainer.finish(start))
    return True


def out_of_patience(losses: list[float], patience: int) -> bool:
    """Whether so many epochs have passed since the lowest of the losses; never without patience."""
    return bool(patience and losses) and len(losses) - 1 - losses.index(min(losses)) >= patience


class Trainer:
    """One training run in one process of its group.

    Args:
        data: the prepared samples.
        run: where checkpoints and results go.
        settings: of the run.
        group: the processes that train together.

    Raises:
        WorkloadError: the batch size does not divide by the processes, or the data do not fit the architecture.
    """

    def __init__(self, data: prepared.Prepared, run: RunFolder, settings: Settings, group: Group) -> None:
        if settings.batch_size % group.size:
            raise WorkloadError(
                f"--batch-size: {settings.batch_size} is shared by {group.size} processes and must be a multiple of "
                f"{group.size}; give {math.ceil(settings.batch_size / group.size) * group.size}"
            )
        if settings.batch_size % (group.size * settings.accumulate):
            raise WorkloadError(
                f"--accumulate: {settings.accumulate} parts of the {settings.batch_size // group.size} samples that a "
                "process has of each batch are not even; give a number that divides them"
            )
        self.run, self.settings, self.group = run, settings, group
        self.mine = slice(group.rank, None, group.size)  # this process's share of a batch
        torch.manual_seed(settings.seed)
        self.model = model_format.build(
            ModelDescription(data.workload, settings.architecture, data.facts, sizes=settings.sizes)
        )
        # On a CPU convolutions take two thirds of the time with the channels last; others know no such format.
        self.model.to(group.device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), weight_decay=WEIGHT_DECAY, fused=True)
        samples = {name: torch.from_numpy(array).to(group.device) for name, array in data.train.items()}
        self.feed = self.model.feed(samples, data.facts, settings.seed)
        if settings.batch_size > self.feed.count:
            raise WorkloadError(
                f"--batch-size: {settings.batch_size} is larger than the {self.feed.count} training "
                f"{self.model.unit}; give {self.feed.count} or less"
            )
        self.chosen, self.apart = validation(settings.seed, self.feed.count, bool(settings.patience))
        self.steps = math.ceil(len(self.chosen) / settings.batch_size)  # per epoch
        self.any = torch.zeros(settings.batch_size, dtype=torch.long)  # a batch of the first sample alone
        if sum(each.numel() for each in self.model.parameters()) * settings.batch_size < WORTH_THREADS:
            torch.set_num_threads(1)

        self.totals = torch.zeros(3, dtype=torch.float64, device=group.device)  # loss, right answers, what is counted
        self.history: list[dict[str, Any]] = []  # one entry per finished epoch
        self.best: dict[str, torch.Tensor] = {}  # weights of the epoch with the lowest loss on what is kept apart
        self.seconds = 0.0  # of training, earlier runs included

    def resume(self) -> Position:
        """Goes to the newest checkpoint; gives the position there, which is the beginning where there is none.

        Raises:
            WorkloadError: the checkpoint was made with other settings.
        """
        state = self.group.from_leader(self._newest_state)
        if state is None:
            return Position(0, 0)
        self.model.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history, self.seconds, self.best = state["history"], state["seconds"], state["best"]
        if self.group.leads:
            self.totals += torch.tensor(state["totals"], device=self.totals.device)
        return Position(state["epoch"], state["step"])

    def fit(self, start: Position, stop: StopRequest | bool) -> Position:
        """Trains from `start` to the end, or to where the processes agree to stop; gives that position."""
        network = self.model.network.train()
        if self.group.size > 1:
            network = DistributedDataParallel(network, gradient_as_bucket_view=True)
            self.settle(network)
        done = (start.epoch * self.steps + start.step) * self.settings.batch_size
        left = self.settings.epochs * self.steps * self.settings.batch_size - done
        self.progress = Progress(self.settings.epochs, left, self.model.unit, self.model.score, self.group.leads)
        self.began = time.monotonic() - self.seconds

        for epoch in range(start.epoch, self.settings.epochs):
            if out_of_patience([entry.get("apart", 0.0) for entry in self.history], self.settings.patience):
                break
            indices = self.chosen[order(self.settings.seed, epoch, len(self.chosen))]
            for step in range(start.step if epoch == start.epoch else 0, self.steps):
                if step % AGREE_EVERY == 0 and self.agree(Position(epoch, step), bool(stop)):
                    return self.save(Position(epoch, step))
                self.train_step(network, indices, epoch, step)
                if self.progress.add(self.settings.batch_size):
                    loss, right, count = self.totals.tolist()  # this process's share is near enough here
                    self.progress.show(epoch, loss / count, right / count)
            self.end_epoch(network, epoch)
        return Position(self.settings.epochs, 0)

    def settle(self, network: torch.nn.Module) -> None:
        """One pass that changes no weight.

        DistributedDataParallel lays its gradients out anew after the first pass, and so adds them up in another order
        from then on. Done before the first step, every step of a resumed run has the order of an uninterrupted one.
        """
        network.eval()  # statistics of batches are not to change either
        self.model.outcome(network, *self.feed.batch(self.any, self.mine, 0, 0)).loss.backward()
        self.optimizer.zero_grad()
        network.train()

    def agree(self, position: Position, stop: bool) -> bool:
        """Whether any process was asked to stop.

        Raises:
            WorkloadError: the loss of any process is no finite number any more.
        """
        asked, broken = self.group.total([float(stop), float(not math.isfinite(self.totals[0]))])
        if broken:
            raise WorkloadError(
                f"training: the loss is no finite number any more, by {position}; lower --learning-rate, or limit the "
                "gradients by --clip 1; the last checkpoint is from before that"
            )
        return bool(asked)

    def train_step(self, network: torch.nn.Module, indices: torch.Tensor, epoch: int, step: int) -> None:
        """One step of the optimiser, on this process's share of the batch."""
        settings = self.settings
        chosen = batch(indices, step, settings.batch_size)
        self.optimizer.zero_grad()
        for part in range(settings.accumulate):
            mine = slice(self.group.rank + part * self.group.size, None, self.group.size * settings.accumulate)
            samples = self.feed.batch(chosen, mine, epoch, step)
            with self.not_yet(network) if part < settings.accumulate - 1 else nullcontext():
                with computing(settings.precision, self.group.device):
                    outcome = self.model.outcome(network, *samples)
                (outcome.loss / settings.accumulate).backward()
            self.count(self.totals, outcome)
        if settings.clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        done, steps = epoch * self.steps + step, settings.epochs * self.steps
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = learning_rate(settings.schedule, done, steps, settings.learning_rate)
        self.optimizer.step()

    @staticmethod
    def not_yet(network: torch.nn.Module) -> AbstractContextManager[object]:
        """Within it, the processes do not add up their gradients: more will come."""
        return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()

    @staticmethod
    @torch.no_grad()
    def count(totals: torch.Tensor, outcome: Outcome) -> None:
        """Adds an outcome to totals of loss, right answers and what is counted."""
        count = outcome.count.double()
        totals += torch.stack([outcome.loss.double() * count, outcome.right.double(), count])

    def end_epoch(self, network: torch.nn.Module, epoch: int) -> None:
        """Reports an epoch over all processes, and saves a checkpoint."""
        self.agree(Position(epoch, self.steps), stop=False)
        loss, right, count = self.group.total(self.totals.tolist())
        self.totals.zero_()
        entry = {"epoch": epoch + 1, "loss": round(loss / count, 6), self.model.score: round(right / count, 6)}
        if self.settings.patience:
            entry["apart"] = round(self.loss_apart(network), 6)
            if entry["apart"] < min((former["apart"] for former in self.history), default=math.inf):
                self.best = {name: value.detach().clone() for name, value in self.model.network.state_dict().items()}
        self.history.append({**entry, "seconds": round(time.monotonic() - self.began, 3)})
        self.progress.show(epoch, entry["loss"], entry[self.model.score])
        self.save(Position(epoch + 1, 0))

    def loss_apart(self, network: torch.nn.Module) -> float:
        """The mean loss on the training samples that are kept apart, over all processes."""
        totals = torch.zeros_like(self.totals)
        mine = self.apart[self.group.rank :: self.group.size]
        network.eval()
        with torch.no_grad():
            for some in mine.split(self.settings.batch_size):
                self.count(totals, self.model.outcome(self.model.network, *self.feed.batch(some, slice(None), 0, 0)))
        network.train()
        loss, _, count = self.group.total(totals.tolist())
        return loss / count

    def save(self, position: Position) -> Position:
        """Writes a checkpoint and the metrics so far; gives the position back."""
        state = {
            "settings": asdict(self.settings),
            "epoch": position.epoch,
            "step": position.step,
            "network": self.model.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "totals": self.group.total(self.totals.tolist()),
            "history": self.history,
            "best": self.best,
            "seconds": time.monotonic() - self.began,
        }

        def write() -> None:
            checkpoint.save(self.run.checkpoints, position.epoch * self.steps + position.step, state)
            self.run.write_metrics(self.history)

        self.group.from_leader(write)
        return position

    def finish(self, start: Position) -> None:
        """Writes the model and the result of the run."""
        settings = asdict(self.settings)
        best = self.history[-1]
        if self.best:
            self.model.network.load_state_dict(self.best)
            best = min(self.history, key=lambda entry: entry["apart"])
        metrics = {name: best[name] for name in ("loss", self.model.score)}
        # Only what a second run would repeat goes into the model, so that its digest is the same then.
        about = {"settings": settings, "metrics": metrics}
        self.model.description = replace(self.model.description, training=about)
        model_format.save(self.model, self.run.model)
        seconds = self.history[-1]["seconds"]
        self.run.write_result(
            {
                "settings": settings,
                "metrics": metrics,
                "model": {"path": str(self.run.model), "digest": model_format.digest(self.run.model)},
                "seconds": seconds,
                "samples_per_second": round(len(self.history) * self.steps * self.settings.batch_size / seconds, 1),
                "resumed_from": None if start == Position(0, 0) else {"epoch": start.epoch + 1, "step": start.step},
                "world_size": self.group.size,
                "device": self.group.device.type,
                "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
            }
        )
        right = f"{self.model.score} {metrics[self.model.score]:.3f} on the training {self.model.unit}"
        say(f"trained {self.run.model}: {right}, {seconds:.1f} s")

    def _newest_state(self) -> dict[str, Any] | None:
        found = checkpoint.load_newest(self.run.checkpoints, warn=lambda text: say(f"warning: {text}"))
        if found is None:
            return None
        path, state = found
        self.settings.check_same(state["settings"], path)
        say(f"going on from {path.name}: {Position(state['epoch'], state['step'])}")
        return state
