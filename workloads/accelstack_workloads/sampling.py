"""Which pictures a step sees, and how they are altered: functions of the seed and the position alone.

So a resumed run sees what an uninterrupted one would have seen, whatever the number of processes.
"""

from __future__ import annotations

import hashlib

import torch
from torch.nn import functional

VALIDATION = 10  # one training sample in so many is kept apart where training watches its loss


def order(seed: int, epoch: int, pictures: int) -> torch.Tensor:
    """The order of the pictures in an epoch, as indices."""
    return torch.randperm(pictures, generator=generator("order", seed, epoch))


def validation(seed: int, samples: int, wanted: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of the samples to train on, and of the tenth that is kept apart from them where that is wanted."""
    if not wanted:
        return torch.arange(samples), torch.empty(0, dtype=torch.long)
    mixed = torch.randperm(samples, generator=generator("validation", seed))
    apart = max(samples // VALIDATION, 1)
    return mixed[apart:].sort().values, mixed[:apart]


def batch(order: torch.Tensor, step: int, batch_size: int) -> torch.Tensor:
    """Indices of a step's pictures; the last step of an epoch is filled up from the epoch's beginning."""
    return order[torch.arange(step * batch_size, (step + 1) * batch_size) % len(order)]


class Augmentation:
    """Mirrors half of the coloured pictures and moves every picture by some pixels, its edge repeated.

    Grey pictures are not mirrored: characters and scans have a left and a right.

    Args:
        shape: channels, height and width of a picture.
        seed: of the run.
    """

    def __init__(self, shape: tuple[int, int, int], seed: int) -> None:
        channels, height, width = shape
        self.mirror = channels == 3
        self.reach = max(min(height, width) // 16, 1)  # pixels that a picture moves at most
        self.height, self.width, self.seed = height, width, seed

    def draw(self, epoch: int, step: int, count: int) -> torch.Tensor:
        """[count, 3]: for each picture of a step, whether to mirror it, and how far down and right to move the view."""
        chance = generator("augmentation", self.seed, epoch, step)
        highest = torch.tensor([2 if self.mirror else 1, 2 * self.reach + 1, 2 * self.reach + 1])
        return (torch.rand(count, 3, generator=chance) * highest).long()

    def apply(self, images: torch.Tensor, choices: torch.Tensor) -> torch.Tensor:
        """The pictures [batch, channels, height, width] altered by their choices [batch, 3]."""
        padded = functional.pad(images, [self.reach] * 4, mode="replicate")
        choices = choices.to(images.device)
        mirror, down, right = choices.unbind(1)
        rows = down[:, None] + torch.arange(self.height, device=images.device)
        columns = torch.arange(self.width, device=images.device).expand(len(images), -1)
        columns = right[:, None] + torch.where(mirror[:, None] == 1, columns.flip(1), columns)
        pictures = torch.arange(len(images), device=images.device)[:, None, None]
        # Indexing puts the channels last, which is how the convolutions are fastest; only the view is turned back.
        return padded.permute(0, 2, 3, 1)[pictures, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def generator(purpose: str, *position: int) -> torch.Generator:
    """What draws chance for a purpose at a position of a run: the same wherever and whenever it is asked."""
    digest = hashlib.sha256(f"{purpose} {' '.join(map(str, position))}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
