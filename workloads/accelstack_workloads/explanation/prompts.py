"""What the next token rests on: the tokens before it."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer

from accelstack_workloads.datasets.prepared import Prepared
from accelstack_workloads.datasets.texts import END
from accelstack_workloads.explanation.attribution import attribute
from accelstack_workloads.explanation.explained import Explained
from accelstack_workloads.models.texts import TextModel

BASELINE = "as many ends of documents"
SCORE = "logit of the token that was answered"


def count(data: Prepared) -> int:
    """How many held-out samples there are: windows, as evaluation has them."""
    return (len(data.test["tokens"]) - 1) // data.facts["context"]


def explain(model: TextModel, data: Prepared, indices: list[int]) -> list[Explained]:
    """Attributions [tokens], summed over their embeddings' numbers, of some held-out windows."""
    tokenizer = Tokenizer.from_str(model.description.facts["tokenizer"])
    context, end = model.description.facts["context"], tokenizer.token_to_id(END) or 0
    embedding = model.network.get_submodule("tokens")
    explained = []
    for index in indices:
        window = torch.from_numpy(data.test["tokens"][index * context : (index + 1) * context + 1]).long()
        tokens, meant = window[None, :-1], int(window[-1])
        with torch.no_grad():
            answer = int(model(tokens).argmax())
        score = lambda some, to=answer: model(some)[:, to]  # noqa: E731
        found = attribute(score, tokens, torch.full_like(tokens, end), embedding)
        parts = [tokenizer.decode([token], skip_special_tokens=False) for token in tokens[0].tolist()]
        said, right = (tokenizer.decode([token], skip_special_tokens=False) for token in (answer, meant))
        explained.append(Explained(index, said, right, parts, found.values.sum(1), found, parts))
    return explained
