"""The same networks, with the losses and layers that torch's documentation uses."""

from __future__ import annotations

import torch
from accelstack_workloads import model_format
from accelstack_workloads.datasets.prepared import Prepared
from accelstack_workloads.model_files import ModelDescription
from accelstack_workloads.models.recurrent import STRIDE, LogMel
from accelstack_workloads.workloads import workload
from torch import nn
from torch.nn import functional


class Plain(nn.Module):
    """A network and its loss: `forward` takes a batch and gives the mean loss."""

    def __init__(self, data: Prepared) -> None:
        super().__init__()
        architecture = workload(data.workload).architectures[0]
        self.network = model_format.build(ModelDescription(data.workload, architecture, data.facts)).network
        if data.workload == "speech":
            self.network = Speech(data.facts["rate"], len(data.facts["symbols"]))

    def forward(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        if len(batch) == 4:
            audio, lengths, text, spoken = batch
            answers, steps = self.network(audio, lengths)
            return functional.ctc_loss(answers, text, steps, spoken, blank=answers.shape[2] - 1, zero_infinity=True)
        samples, targets = batch
        logits = self.network(samples)
        if logits.shape[-1] == 1:
            return functional.binary_cross_entropy_with_logits(logits[:, 0], targets.float())
        return functional.cross_entropy(logits.flatten(0, -2), targets.flatten())


class Speech(nn.Module):
    """Log-mel features by torch.stft, a convolution, and torch's own bidirectional LSTM over packed sequences."""

    filters: torch.Tensor
    taper: torch.Tensor

    def __init__(self, rate: int, symbols: int, width: int = 128) -> None:
        super().__init__()
        features = LogMel(rate)
        self.window, self.hop, self.size = features.window, features.hop, 2 * (len(features.filters) - 1)
        self.register_buffer("filters", features.filters)
        self.register_buffer("taper", torch.hann_window(self.window))
        self.convolution = nn.Conv1d(self.filters.shape[1], width, kernel_size=5, stride=STRIDE, padding=2)
        self.layers = nn.LSTM(width, width, num_layers=2, bidirectional=True, batch_first=True)
        self.output = nn.Linear(2 * width, symbols + 1)

    def forward(self, audio: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[steps, batch, symbols + 1], and how many steps count."""
        spectrum = torch.stft(audio, self.size, self.hop, self.window, self.taper, return_complex=True)
        power = spectrum.abs().square().transpose(1, 2) @ self.filters
        features = (power + 1e-5).log10() / 2 + 1
        x = functional.relu(self.convolution(features.transpose(1, 2))).transpose(1, 2)
        steps = (lengths // self.hop) // STRIDE + 1
        packed = nn.utils.rnn.pack_padded_sequence(x, steps, batch_first=True, enforce_sorted=False)
        x, _ = nn.utils.rnn.pad_packed_sequence(self.layers(packed)[0], batch_first=True)
        return self.output(x).log_softmax(dim=-1).transpose(0, 1), steps
