"""What a pipeline has done: one JSON file, written whole after each step."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from accelstack_workloads.atomic import write_file
from accelstack_workloads.errors import WorkloadError

FILE = "pipeline.json"
FORMAT = 1


@dataclass(frozen=True)
class Done:
    """A step that has ended well.

    Attributes:
        step: its name.
        out: the folder that it wrote, below the pipeline's.
        digest: of its product.
        seconds: that it took.
    """

    step: str
    out: str
    digest: str
    seconds: float


@dataclass
class State:
    """What is done, and where the last run got to.

    Attributes:
        done: steps by their keys, those with other settings included.
        last: status of each step in the last run: `running`, `done`, `unchanged` or `failed`, with its key.
        format: version of this layout.
    """

    done: dict[str, Done] = field(default_factory=dict)
    last: dict[str, dict[str, str]] = field(default_factory=dict)
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Replaces the file.

        Raises:
            WorkloadError: it cannot be written.
        """
        write_file(folder / FILE, (json.dumps(asdict(self), indent=2) + "\n").encode())


def read(folder: Path) -> State:
    """The state of the pipeline in a folder; an empty one where there is none.

    Raises:
        WorkloadError: the file cannot be read, or is of another format.
    """
    path = folder / FILE
    if not path.exists():
        return State()
    try:
        content = json.loads(path.read_text())
        state = State(**{**content, "done": {key: Done(**each) for key, each in content["done"].items()}})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WorkloadError(f"out: {path} cannot be read ({error}); delete it, or give another --out") from error
    if state.format != FORMAT:
        raise WorkloadError(f"out: {path} has format {state.format}; this version reads {FORMAT}: give another --out")
    return state
