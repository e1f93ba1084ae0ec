"""Workload `speech`: recordings to what is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from torch import nn
from torch.nn import functional

from accelstack_workloads.models import ctc
from accelstack_workloads.models.model import Arrays, Feed, Model, Outcome, Tensors
from accelstack_workloads.models.recurrent import Recurrent
from accelstack_workloads.sampling import generator
from accelstack_workloads.tensors import TensorSpec

BATCH_SIZE = 64  # recordings that are evaluated at once
FULL_SCALE = 32768
MOST_JOINED = 4  # recordings that training joins into a string
JOINED = 0.5  # share of the samples that are strings
PAUSE_SECONDS = 0.2  # at most, around what is said
GAIN_DECIBELS = 10  # louder or softer at most
NOISE = 0.003  # of full scale at most
PACE = 0.1  # faster or slower at most
STRING_LENGTHS = (3, 7)  # recordings that evaluation joins into a string
STRING_PAUSE_SECONDS = 0.1


class RecordingFeed(Feed):
    """Recordings, half of them joined to strings; pauses, loudness, pace and noise differ whenever one is seen."""

    def __init__(self, samples: Tensors, facts: Mapping[str, Any], seed: int) -> None:
        super().__init__(samples, facts, seed)
        ends = {name: [0, *samples[f"{name}_ends"].tolist()] for name in ("audio", "text")}
        self.spans = {name: [slice(*pair) for pair in pairwise(of)] for name, of in ends.items()}

    @property
    def count(self) -> int:
        return len(self.spans["audio"])

    def batch(self, indices: torch.Tensor, mine: slice, epoch: int, step: int) -> tuple[torch.Tensor, ...]:
        """Audio [share, samples] in -1..1 padded with 0, its lengths [share]; symbols [all of them], theirs [share]."""
        made = [self._sample(index, epoch) for index in indices[mine].tolist()]
        audio = nn.utils.rnn.pad_sequence([sound for sound, _ in made], batch_first=True)
        lengths, spoken = ([len(part) for part in parts] for parts in zip(*made, strict=True))
        return audio, torch.tensor(lengths), torch.cat([text for _, text in made]), torch.tensor(spoken)

    def _sample(self, index: int, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        chance = generator("recording", self.seed, epoch, index)
        draws = torch.rand(6 + 2 * MOST_JOINED, generator=chance).tolist()
        count = 1 if draws[0] >= JOINED else 2 + int(draws[1] * (MOST_JOINED - 1))
        others = torch.randint(self.count, (count - 1,), generator=chance).tolist()
        sounds, texts = [], []
        for number, each in enumerate([index, *others]):
            sounds += [self._pause(draws[6 + number]), self._sound(each)]
            texts.append(self.samples["text"][self.spans["text"][each]])
        sound = torch.cat([*sounds, self._pause(draws[2])])
        pace = 1 + PACE * (2 * draws[3] - 1)
        sound = functional.interpolate(sound[None, None], scale_factor=pace, mode="linear")[0, 0]
        gain = 10 ** (GAIN_DECIBELS * (2 * draws[4] - 1) / 20)
        noise = NOISE * draws[5] * torch.randn(len(sound), generator=chance).to(sound.device)
        return (sound * gain + noise).clamp(-1, 1)[: self.facts["longest"]], torch.cat(texts)

    def _sound(self, index: int) -> torch.Tensor:
        return self.samples["audio"][self.spans["audio"][index]].float() / FULL_SCALE

    def _pause(self, share: float) -> torch.Tensor:
        return torch.zeros(int(share * PAUSE_SECONDS * self.facts["rate"]), device=self.samples["audio"].device)


class SpeechModel(Model):
    """Recordings in, logarithms of the probabilities of symbols at each step out."""

    networks: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {"lstm": Recurrent}
    feed = RecordingFeed
    unit = "recordings"
    same_facts = ("symbols", "rate")

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        longest = self.description.facts["longest"]
        wanted = f"samples in -1..1, {self.description.facts['rate']} a second"
        return (
            TensorSpec("audio", "FP32", (-1,), least=-1, most=1, longest=longest, wanted=wanted),
            TensorSpec("length", "INT64", (1,), least=1, most=longest, wanted="how many samples of a recording count"),
        )

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        symbols = len(self.description.facts["symbols"]) + 1
        return (TensorSpec("log_probabilities", "FP32", (-1, symbols)), TensorSpec("steps", "INT64", (1,)))

    def forward(self, audio: torch.Tensor, length: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logarithms of probabilities [batch, steps, symbols and none], and how many steps count [batch, 1]."""
        answers, steps = self.network(audio, length[:, 0].clamp(max=audio.shape[1]))
        return answers, steps[:, None]

    def outcome(self, network: nn.Module, *batch: torch.Tensor) -> Outcome:
        audio, lengths, text, spoken = batch
        answers, steps = network(audio, lengths.to(audio.device))
        none = answers.shape[2] - 1
        loss = functional.ctc_loss(answers.transpose(0, 1), text, steps, spoken, blank=none, zero_infinity=True)
        with torch.no_grad():
            said = _greedy(answers, steps)
        meant = [part.tolist() for part in text.split(spoken.tolist())]
        right = sum(ours == theirs for ours, theirs in zip(said, meant, strict=True))
        return Outcome(loss, torch.tensor(right, device=loss.device), torch.tensor(len(meant), device=loss.device))

    def evaluate(self, held_out: Arrays) -> dict[str, Any]:
        """Recordings that are wholly right, and error rates of characters and words; also of strings of recordings."""
        sounds = _parts(held_out, "audio")
        texts = [self._text(codes.tolist()) for codes in _parts(held_out, "text")]
        strings = _strings(len(sounds))
        pause = np.zeros(int(STRING_PAUSE_SECONDS * self.description.facts["rate"]), np.int16)
        longest = self.description.facts["longest"]
        joined = [np.concatenate([p for i in of for p in (sounds[i], pause)])[:longest] for of in strings]
        alone = error_rates(texts, self._said(sounds))
        of_strings = error_rates(["".join(texts[index] for index in of) for of in strings], self._said(joined))
        return {**alone, "strings": {**of_strings, "recordings_each": [*STRING_LENGTHS]}}

    def _said(self, sounds: list[np.ndarray]) -> list[str]:
        texts: list[str] = []
        for start in range(0, len(sounds), BATCH_SIZE):
            some = [torch.from_numpy(sound).float() / FULL_SCALE for sound in sounds[start : start + BATCH_SIZE]]
            lengths = torch.tensor([[len(sound)] for sound in some])
            with torch.inference_mode():
                answers, steps = self(nn.utils.rnn.pad_sequence(some, batch_first=True), lengths)
            texts += [self.decode(a, n)[0] for a, n in zip(answers.numpy(), steps[:, 0].tolist(), strict=True)]
        return texts

    def decode(self, answers: np.ndarray, steps: int) -> tuple[str, float]:
        """What was said, by beam search, and the logarithm of its probability; `answers` [steps, symbols and none]."""
        codes, logarithm = ctc.beam(answers[:steps], blank=answers.shape[1] - 1)
        return self._text(codes), logarithm

    def _text(self, codes: list[int]) -> str:
        return "".join(self.description.facts["symbols"][code] for code in codes)

    @staticmethod
    def table(evaluation: dict[str, Any]) -> str:
        strings = evaluation["strings"]
        return (
            f"accuracy {evaluation['accuracy']:.4f} on {evaluation['samples']} held-out recordings, "
            f"character error rate {evaluation['character_error_rate']:.4f}\n"
            f"strings of {strings['recordings_each'][0]} to {strings['recordings_each'][1]}: "
            f"wholly right {strings['accuracy']:.4f} of {strings['samples']}, "
            f"character error rate {strings['character_error_rate']:.4f}"
        )


def error_rates(meant: list[str], said: list[str]) -> dict[str, Any]:
    """Share of texts that are wholly right, and edits per character and per word that was meant."""
    pairs = [*zip(meant, said, strict=True)]
    edits = sum(Levenshtein.distance(a, b) for a, b in pairs)
    word_edits = sum(Levenshtein.distance(a.split(), b.split()) for a, b in pairs)
    return {
        "accuracy": round(sum(a == b for a, b in pairs) / len(pairs), 6),
        "character_error_rate": round(edits / sum(map(len, meant)), 6),
        "word_error_rate": round(word_edits / sum(len(text.split()) for text in meant), 6),
        "samples": len(pairs),
    }


def _greedy(answers: torch.Tensor, steps: torch.Tensor) -> list[list[int]]:
    best = answers.argmax(-1).tolist()
    none = answers.shape[2] - 1
    return [ctc.greedy(path[:count], none) for path, count in zip(best, steps.tolist(), strict=True)]


def _parts(arrays: Arrays, name: str) -> list[np.ndarray]:
    return np.split(arrays[name], arrays[f"{name}_ends"][:-1])


def _strings(count: int) -> list[list[int]]:
    """Recordings in another order, cut into strings: the same in every evaluation."""
    chance = np.random.default_rng(0)
    left = chance.permutation(count).tolist()
    strings = []
    while left:
        length = int(chance.integers(STRING_LENGTHS[0], STRING_LENGTHS[1] + 1))
        strings.append(left[:length])
        left = left[length:]
    return strings
