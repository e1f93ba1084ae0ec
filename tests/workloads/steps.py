"""The steps of the workloads as people and programs run them: real processes, read line by line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

MODULE = "accelstack_workloads"
END_SECONDS = 90


def command(*arguments: object, processes: int = 1) -> list[str]:
    """The command line of a step; with more than one process, under torchrun."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [sys.executable, *(torchrun if processes > 1 else []), "-m", MODULE, *map(str, arguments)]


def run(*arguments: object, processes: int = 1) -> subprocess.CompletedProcess[str]:
    """A step, run to its end."""
    return subprocess.run(
        command(*arguments, processes=processes), capture_output=True, text=True, timeout=END_SECONDS, check=False
    )


def run_json(*arguments: object) -> dict[str, Any]:
    """A step that succeeds and prints one line of JSON, and nothing else."""
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


class Running:
    """A step in progress, of one process or several; leaves none of them behind."""

    def __init__(self, *arguments: object, processes: int = 1, **environment: str) -> None:
        self.process = subprocess.Popen(
            command(*arguments, processes=processes),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        self.seen = ""

    def wait_for(self, text: str) -> None:
        """Reads standard output up to a line that contains `text`."""
        for line in self.process.stdout:
            self.seen += line
            if text in line:
                return
        raise AssertionError(f"{text!r} was not printed:\n{self.seen}\n{self.process.stderr.read()}")

    @property
    def workers(self) -> list[psutil.Process]:
        """The processes that torchrun started, by their rank."""
        children = psutil.Process(self.process.pid).children()
        return sorted(
            (child for child in children if MODULE in child.cmdline()), key=lambda child: child.environ()["RANK"]
        )

    def end(self) -> tuple[int, str, str]:
        """Waits for the end: exit status, everything printed, standard error."""
        rest, errors = self.process.communicate(timeout=END_SECONDS)
        return self.process.returncode, self.seen + rest, errors

    def processes(self) -> list[psutil.Process]:
        """All living processes of the step; torchrun gives its workers sessions of their own."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]


def picture(path: Path, size: tuple[int, int] = (8, 8), mode: str = "RGB", shade: int = 120) -> Path:
    """Writes a picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = {"RGB": (shade, 255 - shade, 40), "L": shade}[mode]
    Image.new(mode, size, colour).save(path)
    return path


def picture_folder(root: Path, classes: dict[str, int], **kind: Any) -> Path:
    """A folder with that many pictures per class."""
    for index, (name, count) in enumerate(classes.items()):
        for number in range(count):
            picture(root / name / f"{number:03d}.png", shade=(index * 60 + number) % 256, **kind)
    return root
