"""The host of dynamic resources for a Pulumi CLI built from source: the SDK's own, ended with its engine."""

from __future__ import annotations

import os
import runpy
import threading

ENGINE = os.getppid()


def end_with_engine() -> None:
    """Ends this process when its parent is gone: a killed engine cannot say goodbye."""
    pause = threading.Event()
    while os.getppid() == ENGINE:
        pause.wait(1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_engine, daemon=True).start()
    runpy.run_module("pulumi.dynamic", run_name="__main__")
