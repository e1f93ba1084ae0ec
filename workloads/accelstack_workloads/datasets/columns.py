"""The columns of a table: what kind of values they have, their statistics, and their encoding as numbers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from accelstack_workloads.datasets.cells import MISSING
from accelstack_workloads.datasets.table_files import Table
from accelstack_workloads.errors import WorkloadError

TARGETS = ("target", "label", "class")  # what a target column is called; else it is the last one
MOST_CATEGORIES = 256  # different texts in a column; what has more is an id, a name or prose
MOST_CLASSES = 20  # whole numbers in a target; more of them are taken for a quantity
FP32 = np.finfo(np.float32)


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: in the header.
        kind: `number`, `boolean` or `category`.
        values: float64 [rows] within FP32, NaN where missing; of a category texts, None where missing.
    """

    name: str
    kind: str
    values: np.ndarray

    @property
    def missing(self) -> np.ndarray:
        """Whether a value is missing: bool [rows]."""
        return pd.isna(self.values)


def read_columns(table: Table) -> tuple[list[Column], Column]:
    """The features, in the order of the table, and the target: the column `target`, `label` or `class`, in that order
    and in any case, else the last one.

    Raises:
        WorkloadError: a column has values that a model cannot take, or there is no feature.
    """
    names = table.columns.column_names
    if len(names) < 2:
        raise WorkloadError(
            f"dataset: {table.files[0].path} has one column only, {names[0]!r}; give features and a target, "
            "separated by commas"
        )
    lower = [name.lower() for name in names]
    target = names[next((lower.index(name) for name in TARGETS if name in lower), len(names) - 1)]
    columns = {name: _column(table, name) for name in names}
    missing = np.flatnonzero(columns[target].missing)
    if len(missing):
        raise WorkloadError(
            f"dataset: {table.place(missing[0])} has no value in the target, column {target!r}; fill it in, or remove "
            f"the row{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}"
        )
    return [columns[name] for name in names if name != target], columns[target]


def _column(table: Table, name: str) -> Column:
    column = table.columns.column(name)
    if pa.types.is_string(column.type):
        texts = pd.Series(column.to_pandas(), dtype=object)
        return _bounded(name, texts.mask(texts.isna() | texts.isin(MISSING), None).to_numpy())
    if pa.types.is_boolean(column.type):
        return Column(name, "boolean", column.cast(pa.float64()).to_numpy())
    return Column(name, "number", _numbers(table, name, column.cast(pa.float64()).to_numpy()))


def _bounded(name: str, texts: np.ndarray) -> Column:
    different = pd.Series(texts).nunique()
    if different > MOST_CATEGORIES:
        raise WorkloadError(
            f"dataset: column {name!r} has {different} different texts, and {MOST_CATEGORIES} at most are categories; "
            "group them, turn them into numbers, or remove the column"
        )
    return Column(name, "category", texts)


def _numbers(table: Table, name: str, values: np.ndarray) -> np.ndarray:
    """Numbers as FP32 has them, for that is what models take."""
    beyond = np.flatnonzero(np.abs(values) > FP32.max)
    if len(beyond):
        raise WorkloadError(
            f"dataset: {table.place(beyond[0])} has {values[beyond[0]]:g} in column {name!r}, and numbers are finite "
            f"and up to {FP32.max:.1e}; scale the column, or leave the value out"
        )
    known = values[~np.isnan(values)]
    if len(known) and 0 < known.std() < 4 * np.spacing(np.float32(np.abs(known).max())):
        raise WorkloadError(
            f"dataset: column {name!r} varies by {known.std():.3g} around {known.mean():.9g}, which FP32 cannot tell "
            "apart; subtract its lowest value"
        )
    values = values.astype(np.float32).astype(np.float64) + 0.0  # -0.0 becomes 0.0, so that equal rows are the same
    return np.where(np.isnan(values), np.nan, values)


def classes_of(target: Column) -> tuple[list[str], np.ndarray] | None:
    """Class names in their order, and the class of each row as int64 [rows]; None where the target is a quantity.

    Texts, booleans, and at most 20 different whole numbers are classes.
    """
    different, labels = np.unique(target.values, return_inverse=True)
    if target.kind == "category":
        return different.tolist(), labels
    if target.kind == "number" and (len(different) > MOST_CLASSES or (different != np.rint(different)).any()):
        return None
    names = {0: "false", 1: "true"} if target.kind == "boolean" else {}
    return [names.get(int(value), str(int(value))) for value in different], labels


def facts(columns: list[Column], train: np.ndarray) -> dict[str, Any]:
    """What the training rows, bool [rows], say of the columns.

    Returns:
        `columns`: name and kind of each, and `categories` of those that are, sorted, with None last where a value is
        missing; `mean` and `std` of the numbers and booleans that are known, None for categories; `example`: a usual
        value of each column.
    """
    about: list[dict[str, Any]] = []
    means, stds, example = [], [], {}
    for column in columns:
        known = column.values[train & ~column.missing]
        if not len(known):
            raise WorkloadError(f"dataset: column {column.name!r} has no value in the rows to train on; remove it")
        if column.kind == "number":
            example[column.name] = float(f"{np.median(known):.6g}")
        else:
            values, counts = np.unique(known, return_counts=True)
            most = values[counts.argmax()]
            example[column.name] = bool(most) if column.kind == "boolean" else most
        if column.kind == "category":
            some_missing = bool((train & column.missing).any())
            categories = [*np.unique(known).tolist(), *([None] if some_missing else [])]
            about.append({"name": column.name, "kind": column.kind, "categories": categories})
            means.append(None)
            stds.append(None)
        else:
            mean, std = mean_and_std(known)
            about.append({"name": column.name, "kind": column.kind})
            means.append(mean)
            stds.append(std)
    return {"columns": about, "mean": means, "std": stds, "example": example}


def mean_and_std(values: np.ndarray) -> tuple[float, float]:
    """With as many digits as FP32 can have; the standard deviation of equal values is 1, lest one divide by it."""
    mean, std = float(f"{values.mean():.9g}"), float(f"{values.std():.9g}")
    return mean, std if values.min() < values.max() else 1.0


def encode(columns: list[Column], about: list[dict[str, Any]]) -> np.ndarray:
    """Rows as a model takes them: FP32 [rows, columns].

    Categories are their indices in `categories`. NaN where a value is missing, or a category is not among them.
    """
    encoded = np.empty((len(columns[0].values), len(columns)), dtype=np.float32)
    for index, (column, of) in enumerate(zip(columns, about, strict=True)):
        if column.kind == "category":
            names = [name for name in of["categories"] if name is not None]
            codes = pd.Index(names, dtype=object).get_indexer(pd.Index(column.values, dtype=object))
            encoded[:, index] = np.where(codes < 0, np.nan, codes)
        else:
            encoded[:, index] = column.values
    return encoded


def row_digests(columns: list[Column]) -> np.ndarray:
    """uint64 [rows]: equal for equal rows, and a function of their values alone, on any machine."""
    cells = np.empty((len(columns[0].values), len(columns)), dtype="<u8")
    for index, column in enumerate(columns):
        if column.kind == "category":
            known = {text: _digest(text.encode()) for text in {*column.values} - {None}}
            cells[:, index] = [known.get(text, 0) for text in column.values]
        else:
            cells[:, index] = column.values.astype("<f8").view("<u8")
    return np.array([_digest(row.tobytes()) for row in cells], dtype=np.uint64)


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8])
