"""Workload `text` for people: a prompt in, its continuation out."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from accelstack_workloads.serve.form import Form, Predict
from accelstack_workloads.serve.protocol import RequestError
from accelstack_workloads.tensors import Arrays

MOST_TOKENS = 512
END = 0  # the token that ends a document


@dataclass(frozen=True)
class Prompt:
    """What to continue, and how.

    Attributes:
        prompt: the text so far.
        tokens: to add at most.
        temperature: 0 takes the likeliest token each time; 1 draws as the model has it.
        seed: of the draws.
    """

    prompt: str
    tokens: int = 64
    temperature: float = 0.7
    seed: int = 0


class PromptForm(Form):
    """A text, or a JSON object of `prompt`, `tokens`, `temperature` and `seed`, in; the text that follows out."""

    media_types = ("text/plain", "application/json")
    noun = "a text to continue"
    largest = 2**20
    page = "text"

    def warm_up(self) -> None:
        self.read(b"a")

    @property
    def example(self) -> str:
        return "The following example"

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer.from_str(self.description.facts["tokenizer"])

    def read(self, content: bytes) -> Arrays:
        """`tokens`: INT64 [1, tokens], the end of the prompt that fits the model's context."""
        return self._inputs(_parse(content))

    def _inputs(self, asked: Prompt) -> Arrays:
        ids = self._tokenizer.encode(asked.prompt, add_special_tokens=False).ids or [END]
        return {"tokens": np.array([ids[-self.description.facts["context"] :]], np.int64)}

    def answer(self, outputs: Arrays) -> dict[str, Any]:
        """The likeliest next tokens' text; `respond` is what people get."""
        return {"text": self._tokenizer.decode([int(outputs["logits"][0].argmax())])}

    async def respond(self, content: bytes, predict: Predict) -> dict[str, Any]:
        """The continuation, token by token: each waits its turn, so that others are answered in between."""
        asked = _parse(content)
        inputs = await asyncio.to_thread(self._inputs, asked)
        chance, context = np.random.default_rng(asked.seed), self.description.facts["context"]
        added: list[int] = []
        while len(added) < asked.tokens:
            logits = (await predict(inputs))["logits"][0].astype(np.float64)
            token = _draw(logits, asked.temperature, chance)
            if token == END:
                break
            added.append(token)
            inputs = {"tokens": np.append(inputs["tokens"], [[token]], axis=1)[:, -context:]}
        return {"text": self._tokenizer.decode(added), "tokens": len(added)}


def _draw(logits: np.ndarray, temperature: float, chance: np.random.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    weights = np.exp((logits - logits.max()) / temperature)
    return int(chance.choice(len(weights), p=weights / weights.sum()))


def _parse(content: bytes) -> Prompt:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise RequestError(f"prompt: is not UTF-8 at byte {error.start}; send text") from error
    if not text.lstrip().startswith("{"):
        return _checked(Prompt(text))
    try:
        asked = json.loads(text)
    except ValueError:
        return _checked(Prompt(text))  # a text may begin with a brace
    known = {"prompt": str, "tokens": int, "temperature": (int, float), "seed": int}
    for name, value in asked.items():
        if name not in known:
            raise RequestError(f"{name}: is no field of a prompt; use {', '.join(known)}")
        if not isinstance(value, known[name]) or isinstance(value, bool):
            raise RequestError(f"{name}: is {value!r:.40}; give {'a text' if known[name] is str else 'a number'}")
    if "prompt" not in asked:
        raise RequestError("prompt: is missing; give the text to continue")
    return _checked(Prompt(**asked))


def _checked(asked: Prompt) -> Prompt:
    if not asked.prompt:
        raise RequestError("prompt: is empty; write some words")
    if not 1 <= asked.tokens <= MOST_TOKENS:
        raise RequestError(f"tokens: is {asked.tokens}; give 1 to {MOST_TOKENS}")
    if not 0 <= asked.temperature <= 10:  # NaN is refused too
        raise RequestError(f"temperature: is {asked.temperature}; give 0 to 10")
    if not 0 <= asked.seed < 2**63:
        raise RequestError(f"seed: is {asked.seed}; give a whole number from 0 to 2^63-1")
    return asked
