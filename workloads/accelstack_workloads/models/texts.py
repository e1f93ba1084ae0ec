"""Workload `text`: tokens to the logits of the next one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional

from accelstack_workloads.models.gpt import Gpt
from accelstack_workloads.models.model import Arrays, Feed, Model, Outcome
from accelstack_workloads.sampling import generator
from accelstack_workloads.tensors import TensorSpec

BATCH_SIZE = 32  # windows that are evaluated at once


class TextFeed(Feed):
    """Windows of the training tokens, cut at another place in each epoch, so that every token is seen once in each."""

    @property
    def count(self) -> int:
        return (len(self.samples["tokens"]) - 1) // self.facts["context"]

    def batch(self, indices: torch.Tensor, mine: slice, epoch: int, step: int) -> tuple[torch.Tensor, ...]:
        """Tokens [share, context], and for each the one after it."""
        tokens, context = self.samples["tokens"], self.facts["context"]
        shift = int(torch.randint(context, (1,), generator=generator("window", self.seed, epoch)))
        starts = (indices[mine] * context + shift).to(tokens.device)
        windows = tokens[(starts[:, None] + torch.arange(context + 1, device=tokens.device)) % len(tokens)].long()
        return windows[:, :-1], windows[:, 1:]


class TextModel(Model):
    """Tokens in, logits of the next one out."""

    networks: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {"gpt": Gpt}
    feed = TextFeed
    unit = "windows"
    same_facts = ("tokenizer",)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        facts = self.description.facts
        wanted = "the tokenizer's token ids"
        most, longest = facts["vocabulary"] - 1, facts["context"]
        return (TensorSpec("tokens", "INT64", (-1,), least=0, most=most, longest=longest, wanted=wanted),)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return (TensorSpec("logits", "FP32", (self.description.facts["vocabulary"],)),)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [batch, vocabulary] of the token after the last of [batch, tokens]."""
        return self.network(tokens)[:, -1]

    def outcome(self, network: nn.Module, *batch: torch.Tensor) -> Outcome:
        tokens, following = batch
        logits = network(tokens)
        loss = functional.cross_entropy(logits.flatten(0, 1), following.flatten())
        with torch.no_grad():
            right = (logits.argmax(-1) == following).sum()
        return Outcome(loss, right, torch.tensor(following.numel(), device=following.device))

    def evaluate(self, held_out: Arrays) -> dict[str, Any]:
        """Perplexity per token, bits per byte, and the share of next tokens that were the likeliest ones.

        The text is cut into windows, so that its tokens have half a window before them on average.
        """
        facts = self.description.facts
        context = facts["context"]
        tokens = torch.from_numpy(held_out["tokens"]).long()
        count = (len(tokens) - 1) // context
        inputs, following = (tokens[shift : shift + count * context].view(count, context) for shift in (0, 1))
        loss, right = 0.0, 0
        with torch.inference_mode():
            for some in zip(inputs.split(BATCH_SIZE), following.split(BATCH_SIZE), strict=True):
                outcome = self.outcome(self.network, *some)
                loss += float(outcome.loss) * int(outcome.count)
                right += int(outcome.right)
        mean = loss / following.numel()
        return {
            "accuracy": round(right / following.numel(), 6),
            "loss": round(mean, 6),
            "perplexity": round(math.exp(mean), 4),
            "bits_per_byte": round(mean / math.log(2) / facts["bytes_per_token"], 6),
            "samples": count,
            "tokens": following.numel(),
        }

    @staticmethod
    def table(evaluation: dict[str, Any]) -> str:
        return (
            f"perplexity {evaluation['perplexity']:.2f}, {evaluation['bits_per_byte']:.3f} bits per byte, "
            f"next token right {evaluation['accuracy']:.4f} of {evaluation['tokens']} held-out tokens"
        )
