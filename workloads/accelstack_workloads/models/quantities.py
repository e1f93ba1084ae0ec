"""Measures of predicted quantities."""

from __future__ import annotations

from typing import Any

import numpy as np


def scores(values: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """`r2`, the share of the variance that is predicted, 1 at most; `rmse` and `mae`, in the quantity's unit.

    Where all values are the same, `r2` is 0.

    Args:
        values: [samples].
        predicted: likewise.
    """
    values = values.astype(np.float64)
    errors = predicted - values
    spread = float(values.var())
    squared = float(np.mean(errors**2))
    return {
        "r2": round(1 - squared / spread, 6) if spread else 0.0,
        "rmse": float(f"{squared**0.5:.6g}"),
        "mae": float(f"{np.abs(errors).mean():.6g}"),
        "samples": len(values),
    }


def table(evaluation: dict[str, Any]) -> str:
    """The measures as a line for people."""
    return (
        f"R² {evaluation['r2']:.4f}, RMSE {evaluation['rmse']:g}, MAE {evaluation['mae']:g} on "
        f"{evaluation['samples']} held-out samples"
    )
