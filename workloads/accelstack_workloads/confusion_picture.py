"""Draws a confusion matrix."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL = 56  # pixels
SMALLEST_WITH_TEXT = 24  # pixels; smaller cells have no numbers or names
LARGEST_CANVAS = 4000  # pixels a side; more classes get smaller cells
PALE, DARK = np.array([240, 245, 250]), np.array([22, 78, 138])
INK = (32, 38, 46)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw(matrix: np.ndarray, classes: list[str]) -> Image.Image:
    """The counts [classes, classes] as a picture: rows are the true classes, columns what the model answered.

    A cell is the darker, the larger its share of its row.
    """
    cell = max(min(CELL, LARGEST_CANVAS // len(classes)), 4)
    font = ImageFont.load_default(size=max(cell * 0.3, 8))
    title = ImageFont.load_default(size=18)
    names = [name if len(name) <= 16 else name[:15] + "…" for name in classes]
    margin = round(max(font.getlength(name) for name in names)) + 20
    left, top = margin + 28, margin + 76
    side = cell * len(classes)
    canvas = Image.new("RGB", (max(left + side, 420) + 24, top + side + 24), "white")
    pen = ImageDraw.Draw(canvas)
    accuracy = matrix.diagonal().sum() / max(matrix.sum(), 1)
    pen.text((20, 14), f"Confusion matrix: accuracy {accuracy:.4f}", INK, title)
    pen.text((left + side / 2, 50), "predicted class", INK, font, anchor="mt")
    _upright(canvas, "true class", (16, top + side // 2), font)

    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    pen.rectangle((left, top, left + side - 2, top + side - 2), tuple(PALE.tolist()))
    for row, column in np.argwhere(matrix):
        share, x, y = shares[row, column], left + column * cell, top + row * cell
        # The root makes a few mistakes among many right answers visible.
        colour = tuple(int(value) for value in PALE + (DARK - PALE) * share**0.5)
        pen.rectangle((x, y, x + cell - 2, y + cell - 2), colour)
        if cell >= SMALLEST_WITH_TEXT:
            ink = "white" if share > 0.2 else INK
            pen.text((x + cell / 2, y + cell / 2), str(matrix[row, column]), ink, font, anchor="mm")
    for index, name in enumerate(names):
        start = index * cell
        pen.line((left, top + start - 1, left + side, top + start - 1), "white")
        pen.line((left + start - 1, top, left + start - 1, top + side), "white")
        if cell >= SMALLEST_WITH_TEXT:
            pen.text((left - 8, top + start + cell / 2), name, INK, font, anchor="rm")
            _upright(canvas, name, (left + start + cell // 2, top - 8), font, begins_at=True)
    return canvas


def _upright(canvas: Image.Image, text: str, at: tuple[int, int], font: Font, begins_at: bool = False) -> None:
    """Writes text from bottom to top, centred on `at`, or beginning there."""
    left, top, right, bottom = font.getbbox(text)
    label = Image.new("RGB", (round(right - left) + 2, round(bottom - top) + 2), "white")
    ImageDraw.Draw(label).text((-left, -top), text, INK, font)
    label = label.rotate(90, expand=True)
    canvas.paste(label, (at[0] - label.width // 2, at[1] - (label.height if begins_at else label.height // 2)))
