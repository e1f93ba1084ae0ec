"""`accelstack status`: how training jobs in a cluster get on, and what came of them."""

import sys
from dataclasses import asdict
from importlib import import_module
from typing import Any

import typer
import yaml

from accelstack.dynamic import UserError
from accelstack.report import layout

WRONG = ("failed", "missing")


def status(given: dict[str, Any], job: str | None, as_json: bool) -> int:
    """Prints each job's stage; 1 where one failed or is not there, else 0.

    Args:
        given: settings, of which `kubeconfig` and `context` count.
        job: `<namespace>/<name>`; None for all that accelstack submitted.

    Raises:
        typer.BadParameter: the job is no such name.
    """
    if job is not None and len(job.split("/")) != 2:
        raise typer.BadParameter(f"{job!r} is no job; use NAMESPACE/NAME, as `make outputs` shows it", param_hint="JOB")
    try:
        found = _read(given, job)
    except (UserError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if as_json:
        layout.emit(found)
    elif not found:
        print("no training job of accelstack is in the cluster")
    else:
        for name, outcome in found.items():
            print(f"{name}: {outcome['stage']}: {outcome['told']}")
            if outcome["result"]:
                print(yaml.safe_dump(outcome["result"], sort_keys=False).rstrip())
    return int(any(outcome["stage"] in WRONG for outcome in found.values()))


def _read(given: dict[str, Any], job: str | None) -> dict[str, dict[str, Any]]:
    """The jobs, by namespace and name."""
    try:
        from accelstack.k8s import follow
        from accelstack.private import kubeconfig, reading
    except ImportError as error:
        raise UserError(f"{error.name} is not installed; pip install 'accelstack[kubernetes]'") from error
    config = kubeconfig.standing_alone(str(given.get("kubeconfig") or ""), str(given.get("context") or ""))
    reading.version(reading.connected(config))  # tells at once, and in words, why a cluster does not answer
    content = yaml.safe_dump(config)
    exceptions: Any = import_module("kubernetes.client.exceptions")
    try:
        names = [job.split("/")] if job else follow.submitted(content)
        return {
            f"{namespace}/{name}": asdict(follow.Eyes(content, namespace, name).outcome()) for namespace, name in names
        }
    except exceptions.ApiException as error:
        if error.status == 404:  # JobSet is not installed
            return {}
        raise UserError(f"the cluster refuses: {error.reason}; ask for the right to list jobsets and pods") from None
