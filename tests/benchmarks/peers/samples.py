"""The prepared samples as peers' programs read them: one at a time, through torch's DataLoader."""

from __future__ import annotations

from typing import Any

import torch
from accelstack_workloads.datasets.prepared import Prepared
from accelstack_workloads.models.recordings import RecordingFeed
from accelstack_workloads.models.tables import RowFeed
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

Sample = tuple[torch.Tensor, ...]


class Pictures(Dataset[Sample]):
    """Pictures, standardised, moved and mirrored at random, and their class."""

    def __init__(self, data: Prepared) -> None:
        self.images, self.labels = (torch.from_numpy(data.train[name]) for name in ("images", "labels"))
        self.mean, self.std = (torch.tensor(data.facts[name]).view(-1, 1, 1) for name in ("mean", "std"))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        image = (self.images[index].float() / 255 - self.mean) / self.std
        padded = functional.pad(image[None], [2] * 4, mode="replicate")[0]
        down, right = torch.randint(5, (2,)).tolist()
        image = padded[:, down : down + image.shape[1], right : right + image.shape[2]]
        return (image.flip(2) if torch.rand(()) < 0.5 else image), self.labels[index]


class Rows(Dataset[Sample]):
    """Rows, standardised, and their class."""

    def __init__(self, data: Prepared) -> None:
        feed = RowFeed({name: torch.from_numpy(array) for name, array in data.train.items()}, data.facts, 0)
        self.features, self.targets = feed.features, feed.targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Sample:
        return self.features[index], self.targets[index]


class Windows(Dataset[Sample]):
    """Windows of tokens, and for each token the one after it."""

    def __init__(self, data: Prepared) -> None:
        self.tokens, self.context = torch.from_numpy(data.train["tokens"]), data.facts["context"]

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.context

    def __getitem__(self, index: int) -> Sample:
        window = self.tokens[index * self.context : (index + 1) * self.context + 1].long()
        return window[:-1], window[1:]


class Recordings(Dataset[Sample]):
    """Recordings, half of them joined to strings as the trainer joins them, and what is said."""

    def __init__(self, data: Prepared) -> None:
        samples = {name: torch.from_numpy(array) for name, array in data.train.items()}
        self.feed = RecordingFeed(samples, data.facts, 0)

    def __len__(self) -> int:
        return self.feed.count

    def __getitem__(self, index: int) -> Sample:
        audio, _, text, _ = self.feed.batch(torch.tensor([index]), slice(None), 0, 0)
        return audio[0], text


def together(samples: list[Sample]) -> Sample:
    """A batch of recordings: audio padded with 0, its lengths, symbols, and how many each has."""
    audio, text = zip(*samples, strict=True)
    lengths, spoken = (torch.tensor([len(each) for each in parts]) for parts in (audio, text))
    return nn.utils.rnn.pad_sequence([*audio], batch_first=True), lengths, torch.cat(text), spoken


DATASETS: dict[str, Any] = {"vision": Pictures, "tabular": Rows, "speech": Recordings, "text": Windows}
WORKERS = {"vision": 2, "tabular": 0, "speech": 2, "text": 0}
"""Processes that read: none where a sample is a slice of memory, which they make slower."""


def loader(data: Prepared, batch_size: int) -> DataLoader[Sample]:
    """Shuffled batches of the training samples."""
    workers = WORKERS[data.workload]
    return DataLoader(
        DATASETS[data.workload](data),
        batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=bool(workers),
        collate_fn=together if data.workload == "speech" else None,
    )
