"""A small GPT: a decoder of pre-norm transformer blocks (https://arxiv.org/abs/1706.03762, GPT-2's layout)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Causal self-attention, then a feed-forward layer, each on normalised input and added to it.

    Args:
        width: numbers that stand for a token.
        heads: that attention is divided into.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, tokens, width] of the same."""
        parts = self.query_key_value(self.attention_norm(x)).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attention_output(seen.transpose(1, 2).flatten(2))
        return x + self.contract(functional.gelu(self.expand(self.norm(x))))


class Gpt(nn.Module):
    """Embeddings of tokens and of their positions, blocks, and the embedding once more as the output layer.

    Args:
        facts: of the data: `vocabulary`, how many tokens there are; `context`, how many are seen at once.
        width: numbers that stand for a token.
        depth: blocks.
        heads: in each block.
    """

    def __init__(self, facts: Mapping[str, Any], width: int = 128, depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.tokens = nn.Embedding(facts["vocabulary"], width)
        self.positions = nn.Embedding(facts["context"], width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        # Small, as in GPT-2: the output layer has these weights too, and would begin too sure of itself.
        for part in (self.tokens, self.positions):
            nn.init.normal_(part.weight, std=0.02)
        # What blocks add up is kept at one size, however many there are.
        for name, weight in self.blocks.named_parameters():
            if name.endswith(("attention_output.weight", "contract.weight")):
                nn.init.normal_(weight, std=0.02 / (2 * depth) ** 0.5)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [batch, tokens, vocabulary] of the token after each of [batch, tokens]."""
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.norm(x), self.tokens.weight)
