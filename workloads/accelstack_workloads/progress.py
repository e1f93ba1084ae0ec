"""The lines that a training run prints."""

from __future__ import annotations

import time

EVERY = 1.5  # seconds


def say(line: str) -> None:
    """Prints a line at once, also into a pipe."""
    print(line, flush=True)


class Progress:
    """Prints one line per epoch, and others in between when some time has passed.

    Args:
        epochs: of the run.
        samples: still to be trained on.
        unit: what they are called.
        score: name of the model's main measure.
        shows: whether this process prints at all.
    """

    def __init__(self, epochs: int, samples: int, unit: str, score: str, shows: bool) -> None:
        self.epochs, self.samples, self.unit, self.score, self.shows = epochs, samples, unit, score, shows
        self.began = self.last = time.monotonic()
        self.done = 0

    def add(self, samples: int) -> bool:
        """Counts samples, and tells whether a line is due."""
        self.done += samples
        return self.shows and time.monotonic() - self.last >= EVERY

    @property
    def rate(self) -> float:
        """Samples per second since the beginning."""
        return self.done / max(time.monotonic() - self.began, 1e-9)

    def show(self, epoch: int, loss: float, score: float) -> None:
        """Prints the loss and the score so far in the epoch, which counts from 0, over the training samples."""
        if self.shows:
            self.last = time.monotonic()
            left = (self.samples - self.done) / max(self.rate, 1e-9)
            say(
                f"epoch {epoch + 1}/{self.epochs}  loss {loss:.4f}  {self.score} {score:.3f}  "
                f"rate {self.rate:,.0f} {self.unit}/s  left {left:.0f} s"
            )
