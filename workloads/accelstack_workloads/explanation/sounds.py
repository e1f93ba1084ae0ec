"""What was heard in recordings rests on: frames of their log-mel features."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch.nn import functional

from accelstack_workloads.datasets.prepared import Prepared
from accelstack_workloads.explanation.attribution import attribute
from accelstack_workloads.explanation.explained import Explained
from accelstack_workloads.models import ctc
from accelstack_workloads.models.recordings import FULL_SCALE, SpeechModel

BASELINE = "silence"
SCORE = "logarithm of the probability of the symbols that were answered"


def count(data: Prepared) -> int:
    """How many held-out samples there are."""
    return len(data.test["audio_ends"])


def explain(model: SpeechModel, data: Prepared, indices: list[int]) -> list[Explained]:
    """Attributions [frames], summed over bands, of some held-out recordings."""
    facts = model.description.facts
    spans = {
        name: [slice(*pair) for pair in pairwise([0, *data.test[f"{name}_ends"].tolist()])]
        for name in ("audio", "text")
    }
    features = model.network.get_submodule("features")
    seconds = features.hop / facts["rate"]
    explained = []
    for index in indices:
        audio = torch.from_numpy(data.test["audio"][spans["audio"][index]]).float()[None] / FULL_SCALE
        with torch.no_grad():
            answers, steps = model(audio, torch.tensor([[audio.shape[1]]]))
            bands = features(audio)[0].numpy()
        codes, _ = ctc.beam(answers[0, : int(steps)].numpy(), blank=answers.shape[2] - 1)
        score = lambda sounds, to=codes: _log_probability(model, sounds, to)  # noqa: E731
        found = attribute(score, audio, torch.zeros_like(audio), features)
        said, meant = (
            "".join(facts["symbols"][code] for code in of)
            for of in (codes, data.test["text"][spans["text"][index]].tolist())
        )
        parts = [f"{frame * seconds:.3f} s" for frame in range(len(bands))]
        explained.append(Explained(index, said, meant, parts, found.values.sum(1), found, bands))
    return explained


def _log_probability(model: SpeechModel, audio: torch.Tensor, codes: list[int]) -> torch.Tensor:
    """Of the symbols [symbols], over all of their paths, in each of [batch, samples]: [batch]."""
    count = len(audio)
    answers, steps = model(audio, torch.full((count, 1), audio.shape[1]))
    text = torch.tensor(codes, dtype=torch.long).repeat(count)
    spoken = torch.full((count,), len(codes))
    none = answers.shape[2] - 1
    return -functional.ctc_loss(answers.transpose(0, 1), text, steps[:, 0], spoken, blank=none, reduction="none")
