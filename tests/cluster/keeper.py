"""Keeps the processes of a control plane: ends them, and removes their folder, when whoever started it is gone.

Reads commands from its input, one JSON object a line: `name`, `command` and `environment` (added to its own), and
prints the process's number for each. Each writes to `<name>.log` in the folder. When the input ends, however it came
to that, all are killed: nothing that they keep is wanted any more.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path


def main() -> None:
    folder = Path(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end of the input is what ends it
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for line in sys.stdin:
            asked = json.loads(line)
            with (folder / f"{asked['name']}.log").open("wb") as log:
                process = subprocess.Popen(
                    asked["command"],
                    cwd=folder,
                    env={**os.environ, **asked["environment"]},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            processes.append(process)
            print(process.pid, flush=True)
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
