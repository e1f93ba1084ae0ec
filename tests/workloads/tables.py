"""Tables for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd


def mixed(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """Numbers, booleans and texts, each with some missing, and a target of two classes that depends on them."""
    random = np.random.default_rng(seed)
    age = random.normal(40, 10, rows).round(1)
    colour = random.choice(["red", "green", "blue"], rows)
    member = random.choice([True, False], rows)
    target = np.where(age + 10 * (colour == "red") + random.normal(0, 1, rows) > 43, "yes", "no")
    frame = pd.DataFrame({"age": age, "colour": colour, "member": member, "count": random.integers(0, 9, rows)})
    frame = frame.astype({"member": object})
    for column in ("age", "colour", "member"):
        frame.loc[random.choice(rows, rows // 10, replace=False), column] = None
    return frame.assign(bought=target)


def csv(path: Path, frame: pd.DataFrame) -> Path:
    """Writes a table as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)
    return path


def quantities(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """A target that is a quantity, of two numbers."""
    random = np.random.default_rng(seed)
    x, y = random.normal(100, 20, rows), random.normal(-1, 0.1, rows)
    return pd.DataFrame({"x": x, "y": y, "price": 3 * x - 500 * y + random.normal(0, 1, rows)})
