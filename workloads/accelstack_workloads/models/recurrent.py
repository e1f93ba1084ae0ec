"""A recurrent network for speech: log-mel features, a convolution over time, two bidirectional LSTM layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

WINDOW_SECONDS, HOP_SECONDS = 0.025, 0.01
MELS = 40
STRIDE = 3  # features per step of the answer


class LogMel(nn.Module):
    """Logarithms of the power in bands that are evenly spaced for the ear, over the spectrum of short windows.

    The spectrum is a convolution with the matrix of the discrete Fourier transform, which every runtime computes.

    Args:
        rate: samples a second.
        bands: how many.
    """

    spectrum: torch.Tensor
    filters: torch.Tensor

    def __init__(self, rate: int, bands: int = MELS) -> None:
        super().__init__()
        self.window, self.hop = round(rate * WINDOW_SECONDS), round(rate * HOP_SECONDS)
        size = 2 ** math.ceil(math.log2(self.window))
        angles = 2 * math.pi * torch.outer(torch.arange(self.window), torch.arange(size // 2 + 1)) / size
        taper = torch.hann_window(self.window)[:, None]
        waves = torch.cat([taper * angles.cos(), taper * angles.sin()], 1).T[:, None]
        self.register_buffer("spectrum", waves, persistent=False)
        self.register_buffer("filters", mel_filters(rate, size, bands), persistent=False)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """[batch, frames, bands] of [batch, samples] in -1..1; a frame begins at every hop, ends are padded with 0."""
        padded = functional.pad(audio, (0, self.window))[:, None]
        cosines, sines = functional.conv1d(padded, self.spectrum, stride=self.hop).chunk(2, dim=1)
        power = (cosines.square() + sines.square()).transpose(1, 2) @ self.filters
        return (power + 1e-5).log10() / 2 + 1  # silence to loud speech: about -1.5..1.5


def mel_filters(rate: int, size: int, bands: int) -> torch.Tensor:
    """Triangles [size / 2 + 1, bands] over the frequencies of a spectrum, each from its neighbours' peaks to its own.

    Peaks are evenly spaced in mel, 2595 log10(1 + f / 700 Hz) (O'Shaughnessy 1987).
    """
    highest = 2595 * math.log10(1 + rate / 2 / 700)
    peaks = 700 * (10 ** (torch.linspace(0, highest, bands + 2, dtype=torch.float64) / 2595) - 1)
    frequencies = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)[:, None]
    rising = (frequencies - peaks[:-2]) / (peaks[1:-1] - peaks[:-2])
    falling = (peaks[2:] - frequencies) / (peaks[2:] - peaks[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()


class Bidirectional(nn.Module):
    """An LSTM over each sequence from its beginning, and one from its end, wherever in the batch that is.

    Args:
        inputs: numbers per step.
        width: of each direction's state.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(inputs, width, batch_first=True)
        self.backwards = nn.LSTM(inputs, width, batch_first=True)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """[batch, steps, 2 width] of [batch, steps, inputs], of which `lengths` [batch] steps count."""
        steps = torch.arange(x.shape[1], device=x.device)
        # Within its length a sequence is turned round; what is beyond stays behind it and changes nothing.
        turned = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
        later, _ = self.backwards(_taken(x, turned))
        return torch.cat([self.forwards(x)[0], _taken(later, turned)], dim=-1)


def _taken(x: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    return x.gather(1, steps[:, :, None].expand(-1, -1, x.shape[2]))


class Recurrent(nn.Module):
    """What is said at each step, as logarithms of probabilities of the symbols and, last, of none.

    Args:
        facts: of the data: `rate` in samples a second, `symbols`.
        width: of a direction's state.
        depth: bidirectional layers.
    """

    def __init__(self, facts: Mapping[str, Any], width: int = 128, depth: int = 2) -> None:
        super().__init__()
        self.features = LogMel(facts["rate"])
        self.convolution = nn.Conv1d(MELS, width, kernel_size=5, stride=STRIDE, padding=2)
        self.layers = nn.ModuleList(Bidirectional(2 * width if index else width, width) for index in range(depth))
        self.output = nn.Linear(2 * width, len(facts["symbols"]) + 1)

    def forward(self, audio: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[batch, steps, symbols + 1], and how many steps count, [batch].

        Args:
            audio: [batch, samples] in -1..1, padded with 0.
            lengths: [batch] samples that count.
        """
        features = self.features(audio)
        frames = lengths // self.features.hop + 1
        # What is beyond a sequence is 0, as what the convolution pads with.
        beyond = torch.arange(features.shape[1], device=audio.device) >= frames[:, None]
        features = features.masked_fill(beyond[:, :, None], 0)
        x = functional.relu(self.convolution(features.transpose(1, 2))).transpose(1, 2)
        steps = (frames - 1) // STRIDE + 1
        for layer in self.layers:
            x = layer(x, steps)
        return self.output(x).log_softmax(dim=-1), steps
