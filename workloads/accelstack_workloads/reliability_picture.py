"""Draws how far a model's probabilities are to be trusted."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageDraw, ImageFont

SIDE = 400  # pixels of the square between 0 and 1
LEFT, TOP, MARGIN = 84, 60, 64
INK, LINE, BAR, GAP = (32, 38, 46), (150, 158, 168), (22, 78, 138), (222, 120, 92)


def draw(bins: list[dict[str, Any]], error: float) -> Image.Image:
    """A reliability diagram (https://arxiv.org/abs/1706.04599): of the samples in each bin of the likeliest class's
    probability, how many were right. Bars on the diagonal are right as often as they say; the gap to it is red.

    Args:
        bins: each with `from` and `to`, the bin's bounds; `sure`, its mean probability; `right`, the share that was
            right. All in 0..1.
        error: the expected calibration error.
    """
    canvas = Image.new("RGB", (LEFT + SIDE + MARGIN // 2, TOP + SIDE + MARGIN), "white")
    pen = ImageDraw.Draw(canvas)
    font, title = ImageFont.load_default(size=14), ImageFont.load_default(size=18)

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + x * SIDE, TOP + (1 - y) * SIDE

    pen.text((20, 14), f"Reliability: calibration error {error:.4f}", INK, title)
    for of in bins:
        low, high = sorted((of["right"], of["sure"]))
        for bottom, top, colour in ((0.0, of["right"], BAR), (low, high, GAP)):
            (left, upper), (right, lower) = place(of["from"], top), place(of["to"], bottom)
            pen.rectangle((left + 1, upper, right - 1, lower), colour)
    pen.rectangle((*place(0, 1), *place(1, 0)), outline=LINE)
    pen.line((*place(0, 0), *place(1, 1)), LINE)
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = place(tick, tick)
        pen.text((x, TOP + SIDE + 8), f"{tick:g}", INK, font, anchor="mt")
        pen.text((LEFT - 8, y), f"{tick:g}", INK, font, anchor="rm")
    pen.text((LEFT + SIDE / 2, TOP + SIDE + 32), "probability of the answer", INK, font, anchor="mt")
    pen.text((20, 40), "share that was right", INK, font)
    return canvas
