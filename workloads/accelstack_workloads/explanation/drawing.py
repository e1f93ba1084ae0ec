"""Pictures of explanations."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accelstack_workloads.explanation.explained import Explained

MOST_BARS = 20
LINE = 72  # characters
COLOURS = "coolwarm"  # red adds to the score, blue takes from it


def draw(workload: str, explained: Explained) -> bytes:
    """A PNG of one sample."""
    figure = {"vision": _pixels, "tabular": _columns, "speech": _frames, "text": _tokens}[workload](explained)
    answer, meant = (_plain(text) for text in (explained.answer, explained.meant))
    figure.suptitle(f"held-out sample {explained.index}: answered {answer}, meant {meant}", fontsize=10)
    return _png(figure)


def draw_importance(importance: dict[str, float]) -> bytes:
    """A PNG of the columns that matter most."""
    figure = Figure(figsize=(7, 1.5 + 0.25 * min(len(importance), MOST_BARS)), layout="constrained")
    most = [*importance.items()][:MOST_BARS][::-1]
    axes = figure.subplots()
    axes.barh([_plain(name) for name, _ in most], [value for _, value in most])
    axes.set_xlabel("mean absolute attribution")
    return _png(figure)


def _pixels(explained: Explained) -> Figure:
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(explained.shown, cmap="gray", vmin=0, vmax=1)
    shown = right.imshow(explained.values, cmap=COLOURS, **_limits(explained.values))
    figure.colorbar(shown, ax=right, label="attribution")
    for axes in (left, right):
        axes.set_axis_off()
    return figure


def _columns(explained: Explained) -> Figure:
    largest = np.argsort(-np.abs(explained.values))[:MOST_BARS][::-1]
    figure = Figure(figsize=(7, 1.5 + 0.25 * len(largest)), layout="constrained")
    axes = figure.subplots()
    names = [_plain(f"{explained.parts[index]} = {explained.shown[index]}") for index in largest]
    values = explained.values[largest]
    axes.barh(range(len(names)), values, color=_colours(values, explained.values))
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("attribution")
    return figure


def _frames(explained: Explained) -> Figure:
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.imshow(np.asarray(explained.shown).T, origin="lower", aspect="auto", cmap="gray")
    above.set_ylabel("mel band")
    below.bar(range(len(explained.values)), explained.values, 1.0, color=_colours(explained.values, explained.values))
    below.set_xlabel("frame")
    below.set_ylabel("attribution")
    return figure


def _tokens(explained: Explained) -> Figure:
    """The text, each token on its colour."""
    places: list[tuple[int, int, str]] = []
    row = column = 0
    for name in explained.parts:
        shown = name.replace("\n", "↵").replace("\t", " ")
        if column + len(shown) > LINE and column:
            row, column = row + 1, 0
        places.append((row, column, shown))
        column += len(shown)
    figure = Figure(figsize=(9, 0.8 + 0.28 * (row + 1)), layout="constrained")
    axes: Axes = figure.subplots()
    axes.set(xlim=(0, LINE), ylim=(row + 1, 0))
    axes.set_axis_off()
    for (line, start, shown), colour in zip(places, _colours(explained.values, explained.values), strict=True):
        axes.barh(line + 0.5, len(shown), 0.9, left=start, color=colour)
        axes.text(start, line + 0.5, shown, family="monospace", fontsize=13, va="center", parse_math=False)
    return figure


def _limits(values: np.ndarray) -> dict[str, float]:
    """A scale with 0 in its middle."""
    largest = float(np.abs(values).max()) or 1.0
    return {"vmin": -largest, "vmax": largest}


def _colours(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    from matplotlib import colormaps

    limits = _limits(scale)
    return colormaps[COLOURS]((values - limits["vmin"]) / (limits["vmax"] - limits["vmin"]))


def _plain(text: str) -> str:
    """A name as it is: dollars begin no formula, and it does not take the whole picture."""
    text = text.replace("\n", "↵").replace("$", r"\$")
    return text if len(text) <= 40 else text[:39] + "…"


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()
