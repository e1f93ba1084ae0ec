"""The study that all processes of a search share: where it is kept, and what became of trials whose process is gone."""

from __future__ import annotations

import os
import random
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.storages import JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.tuning.search import Search
from accelstack_workloads.tuning.space import Space

PROCESS = "process"
"""Attribute of a trial: host, process id, and when that process began."""
HEARTBEAT_SECONDS, GRACE_SECONDS = 30, 120
"""Of trials in a database: whose process has not been heard of for so long is taken for dead."""
LOCK_SECONDS = 5  # after which the lock of a killed process on the journal is removed; it is held for milliseconds
MOST_RETRIES = 2
ATTEMPTS = 4  # to reach the study
BEFORE_PRUNING = 4  # trials that end before any is pruned


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps optuna from printing its own lines, and from warning of what is experimental in it."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def join(search: Search, space: Space, *, first: bool = True) -> optuna.Study:
    """The study, made where it is missing; its first trial is of the usual settings.

    Args:
        search: what it is of.
        space: what is tried.
        first: whether this process adds that trial: of several that begin at once, one does.

    Raises:
        WorkloadError: the storage cannot be used.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            study = _create(search)
            if first and not study.get_trials(deepcopy=False):
                study.enqueue_trial(space.usual, skip_if_exists=True)
            return study
        except (DBAPIError, optuna.exceptions.StorageInternalError) as error:
            if not left:
                raise _cannot(search, error) from error
            threading.Event().wait(random.uniform(0.1, 0.5))  # noqa: S311 - others may be making its tables just now
        except (SQLAlchemyError, ImportError, OSError, ValueError) as error:
            raise _cannot(search, error) from error
    raise AssertionError("the last attempt returns or raises")


def _create(search: Search) -> optuna.Study:
    return optuna.create_study(
        storage=_storage(search.storage),
        study_name=search.name,
        direction="minimize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=BEFORE_PRUNING),
    )


def _cannot(search: Search, error: Exception) -> WorkloadError:
    reason = str(error).strip().splitlines()[0]
    return WorkloadError(f"--study: {search.storage!r} cannot be used ({reason}); check the URI or the file")


@quiet()
def spent(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that have ended, but for those that were tried again."""
    trials = study.get_trials(deepcopy=False)
    again = {number for trial in trials for number in RetryHeartbeatStaleTrialCallback.retry_history(trial)}
    return [trial for trial in trials if trial.state.is_finished() and trial.number not in again]


def sign(trial: optuna.Trial) -> None:
    """Notes which process the trial runs in."""
    trial.set_user_attr(PROCESS, [socket.gethostname(), os.getpid(), psutil.Process().create_time()])


@quiet()
def recover(study: optuna.Study) -> list[int]:
    """Fails the trials whose process on this machine has ended, and has them tried again; gives their numbers."""
    lost = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        host, number, began = trial.user_attrs.get(PROCESS, ("", 0, 0.0))
        if host == socket.gethostname() and not _alive(number, began):
            study.tell(trial.number, state=TrialState.FAIL)
            _retry(study, trial)
            lost.append(trial.number)
    return lost


def _retry(study: optuna.Study, trial: FrozenTrial) -> None:
    """Has a trial tried again, and forgets its process: the next one is another."""
    trial = deepcopy(trial)
    trial.user_attrs = {}
    RetryHeartbeatStaleTrialCallback(max_retry=MOST_RETRIES)(study, trial)


def _storage(place: str) -> Any:
    if "://" in place:
        return RDBStorage(
            place,
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
            heartbeat_stale_trial_callback=_retry,
        )
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(place, JournalFileSymlinkLock(place, grace_period=LOCK_SECONDS)))


def _alive(number: int, began: float) -> bool:
    try:
        process = psutil.Process(number)
        return process.create_time() == began and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
