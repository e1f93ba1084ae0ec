"""How much is tried. Nothing here loads torch or optuna."""

from __future__ import annotations

from dataclasses import dataclass

from accelstack_workloads.errors import WorkloadError


@dataclass(frozen=True)
class Effort:
    """How much a search tries.

    Attributes:
        trials: that shall have ended, those of earlier runs included.
        jobs: trials at once.
        timeout: seconds after which no trial goes on; None for none.

    Raises:
        WorkloadError: a value breaks its rule.
    """

    trials: int
    jobs: int = 1
    timeout: float | None = None

    def __post_init__(self) -> None:
        for option in ("trials", "jobs"):
            if getattr(self, option) < 1:
                raise WorkloadError(f"--{option}: {getattr(self, option)} is not above 0; give 1 or more")
        if self.timeout is not None and not self.timeout > 0:
            raise WorkloadError(f"--timeout: {self.timeout} is not above 0; give seconds, or leave it out")
