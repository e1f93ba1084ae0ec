"""The dated tables in `tables/`: data files, each row with its source and date, read once."""

import csv
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "tables"


@cache
def rows(name: str) -> tuple[dict[str, str], ...]:
    """The rows of `<name>.csv`, cells by column; a cell that is unknown or does not apply is empty."""
    with (FOLDER / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return tuple(csv.DictReader(file))


@cache
def document(name: str) -> dict[str, Any]:
    """What `<name>.toml` holds."""
    with (FOLDER / f"{name}.toml").open("rb") as file:
        return tomllib.load(file)


def number(cell: str) -> float | None:
    """The number in a cell; None where it is unknown."""
    return float(cell) if cell else None
