"""Parts of a table's rows by the values of one column: where a model is better and worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from accelstack_workloads.errors import WorkloadError

MISSING = "missing"
QUARTERS = 4


def by_column(rows: np.ndarray, columns: Sequence[Mapping[str, Any]], name: str) -> dict[str, np.ndarray]:
    """Which rows have each value of a column, bool [rows]; numbers in quarters of equally many rows.

    Args:
        rows: [rows, columns], categories as indices, booleans as 0 and 1, NaN where a value is missing.
        columns: facts of each.
        name: of the column.

    Raises:
        WorkloadError: there is no such column.
    """
    names = [column["name"] for column in columns]
    if name not in names:
        raise WorkloadError(f"--slice: {name!r} is no column of the table; use one of: {', '.join(names)}")
    column, values = columns[names.index(name)], rows[:, names.index(name)]
    known = values[~np.isnan(values)]
    parts: dict[str, np.ndarray] = {}
    if column["kind"] == "number":
        bounds = np.unique(np.quantile(known, np.arange(QUARTERS + 1) / QUARTERS)) if len(known) else known
        for low, high in pairwise(bounds):
            first = low == bounds[0]
            inside = ((values >= low) if first else (values > low)) & (values <= high)
            parts[f"{'from' if first else 'above'} {low:g} to {high:g}"] = inside
        if len(bounds) == 1:
            parts[f"{bounds[0]:g}"] = values == bounds[0]
    else:
        texts = column["categories"] if column["kind"] == "category" else ["false", "true"]
        parts = {str(text): values == index for index, text in enumerate(texts) if text is not None}
    parts[MISSING] = np.isnan(values)
    return {value: rows for value, rows in parts.items() if rows.any()}


def table(slices: Mapping[str, Any], score: str) -> str:
    """Measures of the parts as lines for people."""
    width = max(len(slices["by"]), *(len(value) for value in slices["parts"]))
    lines = [f"{slices['by']:<{width}}  samples  {score}"]
    lines += [f"{value:<{width}}  {of['samples']:7d}  {_plain(of[score])}" for value, of in slices["parts"].items()]
    return "\n".join(lines)


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
