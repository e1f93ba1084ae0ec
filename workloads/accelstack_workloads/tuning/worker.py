"""One trial, in a process of its own."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from accelstack_workloads.datasets import prepared
from accelstack_workloads.datasets.prepared import Prepared
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.group import join
from accelstack_workloads.probe import INDEX_VARIABLE
from accelstack_workloads.run_folder import RunFolder
from accelstack_workloads.schedule import Position
from accelstack_workloads.settings import Execution, Settings
from accelstack_workloads.train import Trainer
from accelstack_workloads.tuning import studies
from accelstack_workloads.tuning.search import Search
from accelstack_workloads.tuning.space import space

REASON = "reason"
"""Attribute of a trial: why it could not be trained."""
RANDOM_TRIALS = 5  # before what is tried follows from what was seen


def work(search: Search, out: Path, trials: int) -> str:
    """Runs one trial of the study, where fewer than `trials` have ended; gives a line on what came of it.

    Args:
        search: what the study is of.
        out: folder for what the training writes meanwhile.
        trials: that are wanted in all.

    Raises:
        WorkloadError: the data or the study cannot be used.
    """
    data = prepared.load(search.data)
    bounds = space(search, data.counts["train"])
    with studies.quiet():
        study = studies.join(search, bounds, first=os.environ.get(INDEX_VARIABLE, "0") == "0")
        if len(studies.spent(study)) >= trials:
            return f"nothing to do: {trials} trials have ended"
        number = -1

        def objective(trial: optuna.Trial) -> float:
            nonlocal number
            number = trial.number
            studies.sign(trial)
            # Each trial draws from its own place, so that processes that begin at once do not try the same.
            seed = (search.seed * 1_000_003 + number) % 2**32
            study.sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=seed)
            return _loss(trial, bounds.suggest(trial, search), data, out / f"trial-{number}")

        study.optimize(objective, n_trials=1)
        return line(study.trials[number])


def line(trial: optuna.trial.FrozenTrial) -> str:
    """A trial for people."""
    chosen = ", ".join(
        f"{name.replace('_', '-')} {value:.3g}" if isinstance(value, float) else f"{name.replace('_', '-')} {value}"
        for name, value in trial.params.items()
    )
    if trial.state == TrialState.COMPLETE:
        result = f"loss {trial.value:.4f}"
    elif reason := trial.user_attrs.get(REASON):
        result = f"not trained ({reason})"
    else:
        result = f"pruned after epoch {trial.last_step}" if trial.state == TrialState.PRUNED else "failed"
    return f"trial {trial.number}: {result}  {chosen}"


@dataclass
class Watch:
    """Reports each finished epoch of a training to the study; true once the trial is not worth going on with.

    Attributes:
        trial: of the study.
        history: of the training, one entry per finished epoch.
        reported: how many of them the study knows.
        pruned: whether it is to stop.
    """

    trial: optuna.Trial
    history: list[dict[str, Any]]
    reported: int = field(default=0)
    pruned: bool = field(default=False)

    def __bool__(self) -> bool:
        for entry in self.history[self.reported :]:
            self.trial.report(entry["apart"], entry["epoch"])
            self.reported += 1
            self.pruned = self.pruned or bool(self.trial.should_prune())  # numpy's bool is none
        return self.pruned


def _loss(trial: optuna.Trial, settings: Settings, data: Prepared, folder: Path) -> float:
    """Of the training samples kept apart, after the last epoch."""
    try:
        execution = Execution()
        with join(execution.timeout_minutes) as group:
            trainer = Trainer(data, RunFolder(folder), settings, group, execution)
            watch: Any = Watch(trial, trainer.history)
            end = trainer.fit(Position(0, 0), watch)
            bool(watch)
    except WorkloadError as error:  # such as a loss that is no number any more: a bad place, and no failure
        trial.set_user_attr(REASON, str(error))
        raise optuna.TrialPruned from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    last = trainer.history[-1]["apart"] if trainer.history else math.nan
    if end.epoch < settings.epochs or not math.isfinite(last):
        raise optuna.TrialPruned
    return last
