"""Trains a workload's model on prepared data: alone, or under torchrun with each process on its share of each batch.

A run goes on from its newest checkpoint, and then ends, on the same number of processes, with the same weights as one
that was never interrupted.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from accelstack_workloads import model_format, parallel
from accelstack_workloads.checkpointing import Checkpoints
from accelstack_workloads.compiling import compiling
from accelstack_workloads.datasets import prepared
from accelstack_workloads.delivery import deliver
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.group import Group, join
from accelstack_workloads.lifeline import StopRequest
from accelstack_workloads.model_files import ModelDescription
from accelstack_workloads.models.model import Outcome
from accelstack_workloads.optimizer import adamw, state_by_name
from accelstack_workloads.precision import computing, numbers
from accelstack_workloads.progress import Progress, say
from accelstack_workloads.reporting import Reports
from accelstack_workloads.run_folder import RunFolder
from accelstack_workloads.sampling import batch, order, validation
from accelstack_workloads.schedule import Position, learning_rate, out_of_patience
from accelstack_workloads.settings import Execution, Settings
from accelstack_workloads.stopwatch import Stopwatch

AGREE_EVERY = 8  # steps between the points where the processes agree on whether to stop or to save
WORTH_THREADS = 2**23  # weights times samples in a batch; on less, threads wait for each other longer than they work


def train(data_folder: Path, run: RunFolder, settings: Settings, execution: Execution) -> bool:
    """Trains a model, or goes on doing so; False where it was asked to stop, and did, after a checkpoint.

    Args:
        data_folder: prepared samples.
        run: where checkpoints, metrics and the model go.
        settings: of the run; `settings.data` is the digest of the prepared samples.
        execution: how it computes.

    Raises:
        WorkloadError: of the data, the settings, the checkpoints or the disk.
    """
    data = prepared.load(data_folder)
    with join(execution.timeout_minutes) as group, run.lock() if group.leads else nullcontext():
        stop = StopRequest()
        trainer = Trainer(data, run, settings, group, execution)
        start = trainer.resume()
        end = trainer.fit(start, stop)
        if done := end.epoch >= settings.epochs:
            trainer.finish(start)
        elif group.leads:
            say(f"stopped after checkpoint at {end}; run again to go on")
    return done


class Trainer:
    """One training run in one process of its group.

    Args:
        data: the prepared samples.
        run: where checkpoints and results go.
        settings: of the run.
        group: the processes that train together.
        execution: how it computes.

    Raises:
        WorkloadError: the batch size does not divide by the processes, or the data do not fit the architecture.
    """

    def __init__(
        self, data: prepared.Prepared, run: RunFolder, settings: Settings, group: Group, execution: Execution
    ) -> None:
        settings.check_shares(group.size)
        self.run, self.settings, self.group, self.execution = run, settings, group, execution
        self.mine = slice(group.rank, None, group.size)  # this process's share of a batch
        torch.manual_seed(settings.seed)
        self.model = model_format.build(
            ModelDescription(data.workload, settings.architecture, data.facts, sizes=settings.sizes)
        )
        weights = sum(each.numel() for each in self.model.parameters())
        self.shards = execution.sharding == "full" and group.size > 1
        if self.shards:
            parallel.shard(self.model.network, group, numbers(settings.precision, group.device))
        self.model.to(group.device)
        if not self.shards:
            # On a CPU convolutions take two thirds of the time with the channels last; others know no such format.
            self.model.to(memory_format=torch.channels_last)
        self.optimizer = adamw(self.model.network)
        self.checkpoints = Checkpoints(run.checkpoints, group)
        self.feed = self.model.feed(group.near(data.train), data.facts, settings.seed)
        settings.check_count(self.feed.count, self.model.unit)
        self.chosen, self.apart = validation(settings.seed, self.feed.count, bool(settings.patience))
        self.steps = math.ceil(len(self.chosen) / settings.batch_size)  # per epoch
        self.any = torch.zeros(settings.batch_size, dtype=torch.long)  # a batch of the first sample alone
        if weights * settings.batch_size < WORTH_THREADS:
            torch.set_num_threads(1)

        self.totals = torch.zeros(3, dtype=torch.float64, device=group.device)  # loss, right answers, what is counted
        self.history: list[dict[str, Any]] = []  # one entry per finished epoch
        self.best: dict[str, torch.Tensor] = {}  # weights of the epoch with the lowest loss on what is kept apart
        self.seconds = 0.0  # of training, earlier runs included
        self.work = Stopwatch(group.device)  # of this process alone, before it waits for others

    def resume(self) -> Position:
        """Goes to the newest checkpoint; gives the position there, which is the beginning where there is none.

        Raises:
            WorkloadError: the checkpoint was made with other settings.
        """
        found = self.checkpoints.newest()
        if found is None:
            return Position(0, 0)
        state = found.state
        self.settings.check_same(state["settings"], found.path)
        if state["best"]:
            self.best = {name: value.detach().clone() for name, value in self.model.network.state_dict().items()}
        self.checkpoints.load(found, self.tensors())
        self.history, self.seconds = state["history"], state["seconds"]
        position = Position(state["epoch"], state["step"])
        if self.group.leads:
            self.totals += torch.tensor(state["totals"], device=self.totals.device)
            say(f"going on from {found.path.name}: {position}")
        return position

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors that decide how training goes on, by names that another run of the same settings has too."""
        network = self.model.network
        optimizer = state_by_name(self.optimizer, network)
        kinds = {"network": network.state_dict(), "optimizer": optimizer, "best": self.best}
        return {f"{kind}.{name}": tensor for kind, tensors in kinds.items() for name, tensor in tensors.items()}

    def fit(self, start: Position, stop: StopRequest | bool) -> Position:
        """Trains from `start` to the end, or to where the processes agree to stop; gives that position."""
        network = self.model.network.train()
        done = (start.epoch * self.steps + start.step) * self.settings.batch_size
        left = self.settings.epochs * self.steps * self.settings.batch_size - done
        progress = Progress(self.settings.epochs, left, self.model.unit, self.model.score, self.group.leads)
        self.reports = Reports(self.run, progress, self.settings, self.execution.tracking)
        self.began, self.saved = time.monotonic() - self.seconds, time.monotonic()
        end = start
        try:
            with self.checkpoints, compiling() if self.execution.compile else nullcontext():
                if self.execution.compile:
                    network.compile()
                if self.group.size > 1 and not self.shards:
                    network = parallel.replicate(network)
                    self.settle(network)
                end = self.epochs(network, start, stop)
        finally:
            self.reports.close(done=end.epoch >= self.settings.epochs)
        return end

    def epochs(self, network: torch.nn.Module, start: Position, stop: StopRequest | bool) -> Position:
        """The epochs from `start` on; gives where they end."""
        for epoch in range(start.epoch, self.settings.epochs):
            if out_of_patience([entry.get("apart", 0.0) for entry in self.history], self.settings.patience):
                break
            indices = self.chosen[order(self.settings.seed, epoch, len(self.chosen))]
            for step in range(start.step if epoch == start.epoch else 0, self.steps):
                if step % AGREE_EVERY == 0:
                    position = Position(epoch, step)
                    stops, saves = self.agree(position, bool(stop))
                    if stops or (saves and position != start):
                        self.save(position)
                    if stops:
                        return position
                self.train_step(network, indices, epoch, step)
                if self.reports.progress.add(self.settings.batch_size):
                    loss, right, count = self.totals.tolist()  # this process's share is near enough here
                    self.reports.show(epoch, epoch * self.steps + step + 1, loss / count, right / count)
            self.end_epoch(network, epoch)
        return Position(self.settings.epochs, 0)

    def settle(self, network: torch.nn.Module) -> None:
        """One pass that changes no weight.

        DistributedDataParallel lays its gradients out anew after the first pass, and so adds them up in another order
        from then on. Done before the first step, every step of a resumed run has the order of an uninterrupted one.
        """
        network.eval()  # statistics of batches are not to change either
        self.model.outcome(network, *self.group.bring(self.feed.batch(self.any, self.mine, 0, 0))).loss.backward()
        self.optimizer.zero_grad()
        network.train()

    def agree(self, position: Position, stop: bool) -> tuple[bool, bool]:
        """Whether any process was asked to stop, and whether it is time for a checkpoint.

        Raises:
            WorkloadError: the loss of any process is no finite number any more.
        """
        self.group.note(position)
        most = self.execution.checkpoint_minutes * 60
        late = bool(most) and time.monotonic() - self.saved >= most
        asked, due, broken = self.group.total([float(stop), float(late), float(not math.isfinite(self.totals[0]))])
        if broken:
            raise WorkloadError(
                f"training: the loss is no finite number any more, by {position}; lower --learning-rate, or limit the "
                "gradients by --clip 1; the last checkpoint is from before that"
            )
        return bool(asked), bool(due)

    def train_step(self, network: torch.nn.Module, indices: torch.Tensor, epoch: int, step: int) -> None:
        """One step of the optimiser, on this process's share of the batch."""
        settings = self.settings
        chosen = batch(indices, step, settings.batch_size)
        self.optimizer.zero_grad()
        for part in range(settings.accumulate):
            mine = slice(self.group.rank + part * self.group.size, None, self.group.size * settings.accumulate)
            with parallel.adding_up(network) if part < settings.accumulate - 1 else nullcontext():
                with self.work.part(), computing(settings.precision, self.group.device):
                    samples = self.group.bring(self.feed.batch(chosen, mine, epoch, step))
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
        entry["seconds"] = round(time.monotonic() - self.began, 3)
        self.history.append({**entry, **self.reports.slow(self.group, self.work.read())})
        self.save(Position(epoch + 1, 0))
        self.reports.epoch(epoch, (epoch + 1) * self.steps, entry["loss"], entry[self.model.score])

    def loss_apart(self, network: torch.nn.Module) -> float:
        """The mean loss on the training samples that are kept apart, over all processes."""
        totals = torch.zeros_like(self.totals)
        network.eval()
        with torch.no_grad():
            for some in self.apart.split(self.settings.batch_size * self.group.size):
                # All take part in all rounds: they may have a part of the weights alone.
                mine = some[self.mine]
                samples = self.group.bring(self.feed.batch(mine if len(mine) else some[:1], slice(None), 0, 0))
                outcome = self.model.outcome(self.model.network, *samples)
                if len(mine):
                    self.count(totals, outcome)
        network.train()
        loss, _, count = self.group.total(totals.tolist())
        return loss / count

    def save(self, position: Position) -> None:
        """Begins a checkpoint, and writes the metrics so far."""
        state = {
            "settings": asdict(self.settings),
            "epoch": position.epoch,
            "step": position.step,
            "totals": self.group.total(self.totals.tolist()),
            "history": self.history,
            "best": bool(self.best),
            "seconds": time.monotonic() - self.began,
        }
        self.checkpoints.save(position.epoch * self.steps + position.step, self.tensors(), state)
        self.saved = time.monotonic()
        self.group.from_leader(lambda: self.run.write_metrics(self.history))

    def finish(self, start: Position) -> None:
        """Writes the model and the result of the run, which began at `start`."""
        weights = parallel.whole(self.best or self.model.network.state_dict())
        best = min(self.history, key=lambda entry: entry["apart"]) if self.best else self.history[-1]
        seconds = self.history[-1]["seconds"]
        result = {
            "settings": asdict(self.settings),
            "metrics": {name: best[name] for name in ("loss", self.model.score)},
            "seconds": seconds,
            "samples_per_second": round(len(self.history) * self.steps * self.settings.batch_size / seconds, 1),
            "resumed_from": None if start == Position(0, 0) else {"epoch": start.epoch + 1, "step": start.step},
            "sharding": self.execution.sharding,
            "compiled": self.execution.compile,
            "world_size": self.group.size,
            "device": self.group.device.type,
        }
        self.group.from_leader(lambda: deliver(self.model, weights, result, self.run))
