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
        pictures: still to be trained on.
        shows: whether this process prints at all.
    """

    def __init__(self, epochs: int, pictures: int, shows: bool) -> None:
        self.epochs, self.pictures, self.shows = epochs, pictures, shows
        self.began = self.last = time.monotonic()
        self.done = 0

    def add(self, pictures: int) -> bool:
        """Counts pictures, and tells whether a line is due."""
        self.done += pictures
        return self.shows and time.monotonic() - self.last >= EVERY

    @property
    def rate(self) -> float:
        """Pictures per second since the beginning."""
        return self.done / max(time.monotonic() - self.began, 1e-9)

    def show(self, epoch: int, loss: float, accuracy: float) -> None:
        """Prints the loss and the accuracy so far in the epoch, which counts from 0, over the training pictures."""
        if self.shows:
            self.last = time.monotonic()
            left = (self.pictures - self.done) / max(self.rate, 1e-9)
            say(
                f"epoch {epoch + 1}/{self.epochs}  loss {loss:.4f}  accuracy {accuracy:.3f}  "
                f"rate {self.rate:,.0f} images/s  left {left:.0f} s"
            )
