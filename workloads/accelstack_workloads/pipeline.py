"""Runs a workload's steps one after the other, and only those whose inputs, settings or code differ from before."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelstack_workloads.errors import EXIT_BAD_INPUT, EXIT_STOPPED, NotVerifiedError, WorkloadError
from accelstack_workloads.folder_lock import alone
from accelstack_workloads.lifeline import PARENT_VARIABLE
from accelstack_workloads.model_files import folder_digest
from accelstack_workloads.pipelines import digests, state
from accelstack_workloads.pipelines.plan import Choice, Output, Parameter, Step, plan
from accelstack_workloads.pipelines.state import Done, State
from accelstack_workloads.progress import say
from accelstack_workloads.steps import Steps

VERSION = "version.json"
KEY_DIGITS = 12


def run(out: Path, choice: Choice) -> tuple[int, dict[str, Any]]:
    """Runs what is not done yet; gives the exit status, and what each step made.

    A step writes into `<out>/<step>/<first digits of its key>`, so that nothing is taken for the result of other
    settings, and a training that was killed goes on from its checkpoint.

    Args:
        out: folder of the pipeline: `pipeline.json` and a folder for each step.
        choice: what to do.

    Returns:
        0 done, 3 stopped on SIGTERM, 1 a step failed; and the steps by name, with status, folder, digest and seconds.

    Raises:
        WorkloadError: the folder is in use or cannot be written, or a step refused its input.
    """
    os.environ[PARENT_VARIABLE] = str(os.getpid())  # steps end when this process does
    with alone(out):
        kept = state.read(out)
        kept.last = {}
        of_code, of_dataset = digests.code(), digests.dataset(choice.dataset)
        runner, products, report = Steps(), dict[str, str](), dict[str, Any]()
        outs = dict[str, Path]()
        for step in plan(choice):
            key = digests.key(step, products, of_code, of_dataset)
            readable = of_dataset is not None or bool(step.inputs)
            done, status = kept.done.get(key), "unchanged"
            if not (readable and done and _intact(step, out, done)):
                say(f"running: {step.name}")
                folder = Path(step.name, key.removeprefix("sha256:")[:KEY_DIGITS])
                _note(kept, out, step, key, "running")
                began = time.monotonic()
                ended, said = runner.run([_command(step, outs, out / folder)])
                if ended:
                    _note(kept, out, step, key, "stopped" if ended == EXIT_STOPPED else "failed")
                    return _failed(step, ended, said), report
                product = folder_digest(out / folder / step.product)
                done = Done(step.name, str(folder), product, round(time.monotonic() - began, 3))
                kept.done[key], status = done, "done"
            else:
                say(f"unchanged: {step.name}")
            _note(kept, out, step, key, status)
            outs[step.name], products[step.name] = out / done.out, done.digest
            report[step.name] = {"status": status, **asdict(done), "out": str(out / done.out)}
    return 0, report


def _note(kept: State, out: Path, step: Step, key: str, status: str) -> None:
    kept.last[step.name] = {"key": key, "status": status}
    kept.write(out)


def _intact(step: Step, out: Path, done: Done) -> bool:
    """Whether what a step made is still there, as it was; of a registered version, also in the registry."""
    folder = out / done.out
    try:
        if not folder.is_dir() or folder_digest(folder / step.product) != done.digest:
            return False
        if step.name != "register":
            return True
        from accelstack_workloads import registry

        version = json.loads((folder / VERSION).read_text())
        target = next(of.value for of in step.arguments if isinstance(of, Parameter) and of.name == "registry")
        registry.verify(str(target), version["name"], version["version"])
    except (WorkloadError, NotVerifiedError):
        return False
    return True


def _command(step: Step, outs: dict[str, Path], folder: Path) -> list[str]:
    words = [sys.executable, "-m", "accelstack_workloads"]
    for argument in step.arguments:
        if isinstance(argument, Output):
            words.append(str(outs[argument.step] / argument.path))
        else:
            words.append(str(argument.value) if isinstance(argument, Parameter) else argument)
    return [*words, "--out", str(folder)]


def _failed(step: Step, status: int, said: str) -> int:
    """The exit status.

    Raises:
        WorkloadError: the step refused its input.
    """
    if status == EXIT_STOPPED:
        say(f"stopped in {step.name}; run again to go on")
        return EXIT_STOPPED
    if status == EXIT_BAD_INPUT:
        raise WorkloadError(f"{step.name}: {said.partition(': ')[2] or said}")
    print(f"error: step {step.name} failed ({said}); run again to go on from there", file=sys.stderr)
    return 1
