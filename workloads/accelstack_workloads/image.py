"""Names of container images."""

from __future__ import annotations

import re

from accelstack_workloads.errors import WorkloadError

PINNED = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")


def check_pinned(image: str) -> None:
    """Refuses an image that is not pinned.

    Raises:
        WorkloadError: its name has no digest.
    """
    if not PINNED.fullmatch(image):
        raise WorkloadError(
            f"--image: {image!r} is not pinned, and may be another one tomorrow; give NAME@sha256:DIGEST"
        )
