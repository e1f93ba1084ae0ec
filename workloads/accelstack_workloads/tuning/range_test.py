"""The learning-rate range test: the rate rises exponentially over some steps, and the loss tells which is a good one.

Smith, Cyclical Learning Rates for Training Neural Networks, 2017 (https://arxiv.org/abs/1506.01186). What is suggested
is the rate of the steepest descent of the smoothed loss, as in fastai's finder (https://docs.fast.ai/callback.schedule.html).
"""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from accelstack_workloads import model_format
from accelstack_workloads.atomic import write_file
from accelstack_workloads.datasets import prepared
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.model_files import ModelDescription
from accelstack_workloads.optimizer import adamw
from accelstack_workloads.sampling import batch, order
from accelstack_workloads.settings import Settings

LOWEST, HIGHEST, STEPS = 1e-6, 1.0, 100
SMOOTHING = 0.9
"""Weight of the earlier losses in the exponential mean."""
DIVERGED = 4  # times the lowest smoothed loss, where the test ends
FEWEST = 5  # steps that a slope is told of
REPORT, PICTURE = "learning-rate.json", "learning-rate.png"


def find(data_folder: Path, out: Path, settings: Settings) -> dict[str, Any]:
    """Writes `learning-rate.json` and its curve as a picture into `out`, and gives the former's content.

    Args:
        data_folder: prepared samples.
        out: where results go.
        settings: batch size, architecture, sizes and seed are taken.

    Raises:
        WorkloadError: the data cannot be read, the loss is no number from the first steps on, or `out` cannot be
            written.
    """
    data = prepared.load(data_folder)
    torch.manual_seed(settings.seed)
    model = model_format.build(ModelDescription(data.workload, settings.architecture, data.facts, sizes=settings.sizes))
    feed = model.feed({name: torch.from_numpy(array) for name, array in data.train.items()}, data.facts, settings.seed)
    optimizer = adamw(model.network)
    per_epoch = math.ceil(feed.count / settings.batch_size)
    model.network.train()
    rates, losses = [float(rate) for rate in np.geomspace(LOWEST, HIGHEST, STEPS)], list[float]()
    for number, rate in enumerate(rates):
        epoch, step = divmod(number, per_epoch)
        chosen = batch(order(settings.seed, epoch, feed.count), step, settings.batch_size)
        loss = model.outcome(model.network, *feed.batch(chosen, slice(None), epoch, step)).loss
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            losses.pop()
            break
        if number >= FEWEST and smoothed(losses)[-1] > DIVERGED * min(smoothed(losses)):
            break
        for parameters in optimizer.param_groups:
            parameters["lr"] = rate
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if len(losses) < FEWEST:
        raise WorkloadError(f"data: the loss is no number after {len(losses)} steps; check the data's values")
    rates, curve = rates[: len(losses)], smoothed(losses)
    report = {
        "suggestion": suggest(rates, curve),
        "batch_size": settings.batch_size,
        "architecture": settings.architecture,
        "data": data.digest,
        "rates": rates,
        "losses": losses,
        "smoothed": curve,
    }
    write_file(out / REPORT, (json.dumps(report, indent=2) + "\n").encode())
    write_file(out / PICTURE, _picture(report))
    return report


def smoothed(losses: list[float]) -> list[float]:
    """Exponential mean of the losses up to each, free of the weight of the beginning."""
    mean, means = 0.0, []
    for number, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        means.append(mean / (1 - SMOOTHING**number))
    return means


def suggest(rates: list[float], losses: list[float]) -> float:
    """The rate at which the losses fall fastest over the rate's logarithm, before their lowest point."""
    end = max(int(np.argmin(losses)) + 1, FEWEST)
    slopes = np.gradient(np.array(losses[:end]), np.log(rates[:end]))
    return float(f"{rates[int(slopes.argmin())]:.3g}")


def _picture(report: dict[str, Any]) -> bytes:
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(report["rates"], report["losses"], color="#c8d2dc", label="loss")
    axes.plot(report["rates"], report["smoothed"], color="#164e8a", label="smoothed")
    axes.axvline(report["suggestion"], color="#b40426", label=f"suggested: {report['suggestion']:g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()
