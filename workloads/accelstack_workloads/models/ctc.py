"""Connectionist temporal classification: from what a model says of each step to the symbols that were meant.

Graves 2006 (https://www.cs.toronto.edu/~graves/icml_2006.pdf). A path gives each step a symbol or the blank; repeated
symbols become one, blanks vanish.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

BEAM_WIDTH = 8


def greedy(best: list[int], blank: int) -> list[int]:
    """The symbols of the path of likeliest symbols [steps]."""
    return [symbol for symbol, former in zip(best, [blank, *best], strict=False) if symbol not in (blank, former)]


def beam(log_probabilities: np.ndarray, blank: int, width: int = BEAM_WIDTH) -> tuple[list[int], float]:
    """The likeliest symbols over all of their paths, and the natural logarithm of their probability.

    Prefix beam search (Hannun 2014, https://arxiv.org/abs/1408.2873, without a language model); exact where no more
    than `width` prefixes are worth keeping.

    Args:
        log_probabilities: [steps, symbols], natural logarithms.
        blank: index of the blank.
        width: prefixes that are kept at each step.
    """
    impossible = -math.inf
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, impossible)}  # ended by a blank, by a symbol
    for step in log_probabilities.tolist():
        grown: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [impossible, impossible])
        for prefix, (with_blank, with_symbol) in beams.items():
            either = _add(with_blank, with_symbol)
            grown[prefix][0] = _add(grown[prefix][0], either + step[blank])
            if prefix:
                grown[prefix][1] = _add(grown[prefix][1], with_symbol + step[prefix[-1]])
            for symbol, probability in enumerate(step):
                if symbol == blank:
                    continue
                longer = (*prefix, symbol)
                # A symbol after the same one is a new one only where a blank is between them.
                before = with_blank if prefix and prefix[-1] == symbol else either
                grown[longer][1] = _add(grown[longer][1], before + probability)
        ranked = sorted(grown.items(), key=lambda item: -_add(*item[1]))
        beams = {prefix: (pair[0], pair[1]) for prefix, pair in ranked[:width]}
    prefix, pair = max(beams.items(), key=lambda item: _add(*item[1]))
    return [*prefix], _add(*pair)


def _add(first: float, second: float) -> float:
    """The logarithm of the sum of two probabilities, given as logarithms."""
    high, low = max(first, second), min(first, second)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
