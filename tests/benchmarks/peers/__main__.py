"""Trains as a peer does, and prints samples per second: `python -m tests.benchmarks.peers PEER DATA BATCH EPOCHS`."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelstack_workloads.datasets import prepared
from accelstack_workloads.datasets.prepared import Prepared

from tests.benchmarks.peers.networks import Plain
from tests.benchmarks.peers.samples import loader

RATE = 0.001


def plain(data: Prepared, batch_size: int, epochs: int) -> int:
    """The loop of torch's tutorials, with a DataLoader; gives how many samples it trained on."""
    network, batches = Plain(data), loader(data, batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    for _ in range(epochs):
        for batch in batches:
            optimizer.zero_grad()
            network(batch).backward()
            optimizer.step()
    return epochs * len(batches.dataset)  # type: ignore[arg-type]


def fused(data: Prepared, batch_size: int, epochs: int) -> int:
    """Windows of tokens gathered in memory, eager, with the fused optimiser."""
    network = Plain(data)
    tokens, context = torch.from_numpy(data.train["tokens"]), data.facts["context"]
    optimizer = torch.optim.AdamW(network.parameters(), RATE, fused=True)
    count = (len(tokens) - 1) // context
    for _ in range(epochs):
        for starts in torch.randperm(count).split(batch_size):
            windows = tokens[starts[:, None] * context + torch.arange(context + 1)].long()
            optimizer.zero_grad()
            network((windows[:, :-1], windows[:, 1:])).backward()
            optimizer.step()
    return epochs * count


def lightning(data: Prepared, batch_size: int, epochs: int) -> int:
    """Lightning's Trainer over the same DataLoader, without what it would log and save."""
    import lightning as pl

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = Plain(data)

        def training_step(self, batch: tuple[torch.Tensor, ...], _number: int) -> torch.Tensor:
            return self.network(batch)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), RATE)

    batches = loader(data, batch_size)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), batches)
    return epochs * len(batches.dataset)  # type: ignore[arg-type]


def sklearn(data: Prepared, batch_size: int, epochs: int) -> int:
    """scikit-learn's MLPClassifier of the same layers, over the same features."""
    from sklearn.neural_network import MLPClassifier

    from tests.benchmarks.peers.samples import Rows

    rows = Rows(data)
    sizes: Any = batch_size  # its stubs know the word `auto` alone
    model = MLPClassifier((128, 128), batch_size=sizes, max_iter=epochs, n_iter_no_change=epochs)
    model.fit(rows.features.numpy(), rows.targets.numpy())
    return epochs * len(rows)


PEERS: dict[str, Callable[[Prepared, int, int], int]] = {
    "plain": plain,
    "fused": fused,
    "lightning": lightning,
    "sklearn": sklearn,
}


def main() -> None:
    peer, folder, batch_size, epochs = sys.argv[1:]
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    data = prepared.load(Path(folder))
    torch.manual_seed(0)
    if peer != "sklearn" and data.workload == "tabular":
        torch.set_num_threads(1)  # as the trainer sets it for a network as small
    began = time.perf_counter()
    samples = PEERS[peer](data, int(batch_size), int(epochs))
    print(samples / (time.perf_counter() - began))


if __name__ == "__main__":
    main()
