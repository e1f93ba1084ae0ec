"""MLflow tracking of a training run, apart from training: neither a slow nor a lost server holds it up."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import queue
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelstack_workloads.progress import say

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "accelstack"
TAG = "accelstack.run"
"""Has the identity of a run, so that one which goes on is not a second one."""
MOST_RETRIES = "2"  # of a request; MLflow's own seven take minutes
LAST_SECONDS = 15.0
"""For what is still to be sent when a run ends."""


class Tracking:
    """Sends measures to an MLflow server, or to its database, from a thread of its own.

    Args:
        uri: of the server or database, such as http://mlflow:5000 or sqlite:////srv/runs.db.
        folder: of the run; its name becomes the run's name.
        settings: of the run, its parameters there.
        warn: takes a line to print.
    """

    def __init__(self, uri: str, folder: Path, settings: Mapping[str, Any], warn: Callable[[str], None] = say) -> None:
        self._uri, self._shown, self._folder, self._settings, self._warn = (
            uri,
            without_password(uri),
            folder,
            settings,
            warn,
        )
        self._todo: queue.SimpleQueue[tuple[dict[str, float], int] | str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send, name="tracking", daemon=True)
        self._thread.start()

    def log(self, measures: dict[str, float], epoch: int) -> None:
        """Hands over the measures of an epoch; returns at once."""
        self._todo.put((measures, epoch))

    def close(self, done: bool, seconds: float = LAST_SECONDS) -> None:
        """Waits until all is sent, so many seconds at most; says there whether the run is done or was stopped."""
        self._todo.put("FINISHED" if done else "KILLED")
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._warn(
                f"warning: --tracking: {self._shown!r} did not take all measures in time; metrics.jsonl has them"
            )

    def _send(self) -> None:
        os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_CONFIGURE_LOGGING="false", DO_NOT_TRACK="true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", MOST_RETRIES)
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            client, run = self._begin()
            while not isinstance(item := self._todo.get(), str):
                measures, epoch = item
                for name, value in measures.items():
                    client.log_metric(run, name, value, step=epoch)
            client.set_terminated(run, item)
        except Exception as error:  # each of its stores raises its own kinds
            reason = (without_password(str(error)).splitlines() or [type(error).__name__])[0]
            self._warn(
                f"warning: --tracking: {self._shown!r} cannot be used ({reason}); training goes on, and metrics.jsonl "
                "has its measures"
            )

    def _begin(self) -> tuple[MlflowClient, str]:
        """The client, and the id of this run there, new or gone on with."""
        from mlflow import MlflowClient

        client = MlflowClient(self._uri)
        found = client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
        name = identity(self._folder, self._settings)
        former = client.search_runs([experiment], f"tags.`{TAG}` = '{name}'", max_results=1)
        if former:
            client.update_run(former[0].info.run_id, status="RUNNING")
            return client, former[0].info.run_id
        run = client.create_run(experiment, run_name=self._folder.resolve().name, tags={TAG: name}).info.run_id
        for key, value in self._settings.items():
            client.log_param(run, key, value)
        return client, run


def identity(folder: Path, settings: Mapping[str, Any]) -> str:
    """Of a run: the same for its folder and its settings."""
    return hashlib.sha256(json.dumps([str(folder.resolve()), dict(settings)]).encode()).hexdigest()[:32]


def without_password(text: str) -> str:
    """A text with its URIs, which say no more who signs in."""
    return re.sub(r"://[^/@\s]*@", "://", text)
