"""Trains a classifier of pictures on prepared data: alone, or data-parallel under torchrun.

A run goes on from its newest checkpoint, and then ends, on the same number of processes, with the same weights as one
that was never interrupted.
"""

from __future__ import annotations

import math
import platform
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from accelstack_workloads import checkpoint, model_format
from accelstack_workloads.datasets import prepared
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.group import Group, join
from accelstack_workloads.lifeline import StopRequest
from accelstack_workloads.progress import Progress, say
from accelstack_workloads.run_folder import RunFolder
from accelstack_workloads.sampling import Augmentation, batch, order
from accelstack_workloads.settings import Settings

AGREE_EVERY = 8  # steps between the points where the processes agree on whether to stop
WARM_UP = 0.2  # share of the steps in which the learning rate rises
WEIGHT_DECAY = 0.01
LABEL_SMOOTHING = 0.05
WORTH_THREADS = 2**15  # pixels in a batch; on fewer, threads wait for each other longer than they work


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
        data_folder: prepared pictures.
        run: where checkpoints, metrics and the model go.
        settings: of the run; `settings.data` is the digest of the prepared pictures.

    Raises:
        WorkloadError: of the data, the settings, the checkpoints or the disk.
    """
    data = prepared.load(data_folder)
    with join() as group, run.lock() if group.leads else nullcontext():
        stop = StopRequest()
        if settings.batch_size * math.prod(data.shape[1:]) < WORTH_THREADS:
            torch.set_num_threads(1)
        trainer = Trainer(data, run, settings, group)
        start = trainer.resume()
        end = trainer.fit(start, stop)
        if end.epoch < settings.epochs:
            if group.leads:
                say(f"stopped after checkpoint at {end}; run again to go on")
            return False
        group.from_leader(lambda: trainer.finish(start))
    return True


def learning_rate(step: int, steps: int, highest: float) -> float:
    """One cycle: a linear rise, then half a cosine down to 0 (https://arxiv.org/abs/1708.07120)."""
    rise = max(WARM_UP * steps, 1)
    if step < rise:
        return highest * (step + 1) / (rise + 1)
    return highest * (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2


class Trainer:
    """One training run in one process of its group.

    Args:
        data: the prepared pictures.
        run: where checkpoints and results go.
        settings: of the run.
        group: the processes that train together.

    Raises:
        WorkloadError: the batch size does not divide by the processes, or the pictures do not fit the architecture.
    """

    def __init__(self, data: prepared.Prepared, run: RunFolder, settings: Settings, group: Group) -> None:
        if settings.batch_size % group.size:
            raise WorkloadError(
                f"--batch-size: {settings.batch_size} is shared by {group.size} processes and must be a multiple of "
                f"{group.size}; give {math.ceil(settings.batch_size / group.size) * group.size}"
            )
        self.run, self.settings, self.group = run, settings, group
        self.mine = slice(group.rank, None, group.size)  # this process's share of a batch
        self.images = torch.from_numpy(data.train_images).to(group.device)
        self.labels = torch.from_numpy(data.train_labels).to(group.device)
        self.augmentation = Augmentation(data.shape, settings.seed)
        self.steps = math.ceil(len(self.images) / settings.batch_size)  # per epoch

        torch.manual_seed(settings.seed)
        manifest = data.manifest()
        description = model_format.ModelDescription(
            "vision", settings.architecture, data.classes, data.shape, manifest["mean"], manifest["std"]
        )
        self.classifier = model_format.build(description)
        # On a CPU the convolutions take two thirds of the time with the channels last.
        self.classifier.to(group.device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.classifier.parameters(), weight_decay=WEIGHT_DECAY, fused=True)

        self.totals = torch.zeros(3, dtype=torch.float64, device=group.device)  # loss, right answers, pictures
        self.history: list[dict[str, Any]] = []  # one entry per finished epoch
        self.seconds = 0.0  # of training, earlier runs included

    def resume(self) -> Position:
        """Goes to the newest checkpoint; gives the position there, which is the beginning where there is none.

        Raises:
            WorkloadError: the checkpoint was made with other settings.
        """
        state = self.group.from_leader(self._newest_state)
        if state is None:
            return Position(0, 0)
        self.classifier.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history, self.seconds = state["history"], state["seconds"]
        if self.group.leads:
            self.totals += torch.tensor(state["totals"], device=self.totals.device)
        return Position(state["epoch"], state["step"])

    def fit(self, start: Position, stop: StopRequest) -> Position:
        """Trains from `start` to the end, or to where the processes agree to stop; gives that position."""
        network = self.classifier.network.train()
        if self.group.size > 1:
            network = DistributedDataParallel(network, gradient_as_bucket_view=True)
            self.settle(network)
        done = (start.epoch * self.steps + start.step) * self.settings.batch_size
        self.progress = Progress(
            self.settings.epochs, self.settings.epochs * self.steps * self.settings.batch_size - done, self.group.leads
        )
        self.began = time.monotonic() - self.seconds

        for epoch in range(start.epoch, self.settings.epochs):
            indices = order(self.settings.seed, epoch, len(self.images))
            for step in range(start.step if epoch == start.epoch else 0, self.steps):
                if step % AGREE_EVERY == 0 and any(self.group.total([float(bool(stop))])):
                    return self.save(Position(epoch, step))
                self.train_step(network, indices, epoch, step)
                if self.progress.add(self.settings.batch_size):
                    loss, right, count = self.totals.tolist()  # this process's share is near enough here
                    self.progress.show(epoch, loss / count, right / count)
            self.end_epoch(epoch)
        return Position(self.settings.epochs, 0)

    def settle(self, network: torch.nn.Module) -> None:
        """One pass that changes no weight.

        DistributedDataParallel lays its gradients out anew after the first pass, and so adds them up in another order
        from then on. Done before the first step, every step of a resumed run has the order of an uninterrupted one.
        """
        count = self.settings.batch_size // self.group.size
        network(torch.zeros(count, *self.images.shape[1:], device=self.group.device)).sum().backward()
        self.optimizer.zero_grad()

    def train_step(self, network: torch.nn.Module, indices: torch.Tensor, epoch: int, step: int) -> None:
        """One step of the optimiser, on this process's share of the batch."""
        settings = self.settings
        chosen = batch(indices, step, settings.batch_size)[self.mine].to(self.group.device)
        choices = self.augmentation.draw(epoch, step, settings.batch_size)[self.mine]
        images = self.augmentation.apply(self.images[chosen].float() / 255, choices)
        labels = self.labels[chosen]

        logits = network((images - self.classifier.mean) / self.classifier.std)
        loss = functional.cross_entropy(logits, labels, label_smoothing=LABEL_SMOOTHING)
        self.optimizer.zero_grad()
        loss.backward()
        rate = learning_rate(epoch * self.steps + step, settings.epochs * self.steps, settings.learning_rate)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate
        self.optimizer.step()

        with torch.no_grad():
            right = (logits.argmax(1) == labels).sum()
            count = torch.tensor(len(labels), device=self.group.device)
            self.totals += torch.stack([loss.double() * count, right.double(), count.double()])

    def end_epoch(self, epoch: int) -> None:
        """Reports an epoch over all processes, and saves a checkpoint."""
        loss, right, count = self.group.total(self.totals.tolist())
        self.totals.zero_()
        entry = {"epoch": epoch + 1, "loss": round(loss / count, 6), "accuracy": round(right / count, 6)}
        self.history.append({**entry, "seconds": round(time.monotonic() - self.began, 3)})
        self.progress.show(epoch, entry["loss"], entry["accuracy"])
        self.save(Position(epoch + 1, 0))

    def save(self, position: Position) -> Position:
        """Writes a checkpoint and the metrics so far; gives the position back."""
        state = {
            "settings": asdict(self.settings),
            "epoch": position.epoch,
            "step": position.step,
            "network": self.classifier.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "totals": self.group.total(self.totals.tolist()),
            "history": self.history,
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
        metrics = {name: self.history[-1][name] for name in ("loss", "accuracy")}
        # Only what a second run would repeat goes into the model, so that its digest is the same then.
        self.classifier.description = replace(
            self.classifier.description, training={"settings": settings, "metrics": metrics}
        )
        model_format.save(self.classifier, self.run.model)
        seconds = self.history[-1]["seconds"]
        self.run.write_result(
            {
                "settings": settings,
                "metrics": metrics,
                "model": {"path": str(self.run.model), "digest": model_format.digest(self.run.model)},
                "seconds": seconds,
                "images_per_second": round(self.settings.epochs * self.steps * self.settings.batch_size / seconds, 1),
                "resumed_from": None if start == Position(0, 0) else {"epoch": start.epoch + 1, "step": start.step},
                "world_size": self.group.size,
                "device": self.group.device.type,
                "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
            }
        )
        say(f"trained {self.run.model}: accuracy {metrics['accuracy']:.3f} on the training pictures, {seconds:.1f} s")

    def _newest_state(self) -> dict[str, Any] | None:
        found = checkpoint.load_newest(self.run.checkpoints, warn=lambda text: say(f"warning: {text}"))
        if found is None:
            return None
        path, state = found
        self.settings.check_same(state["settings"], path)
        say(f"going on from {path.name}: {Position(state['epoch'], state['step'])}")
        return state
