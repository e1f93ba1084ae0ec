"""Tables: the arrays and facts of workload `tabular`.

The target is the column `target`, `label` or `class`, in that order, else the last one. Texts, booleans and at most 20
different whole numbers in it are classes, other numbers a quantity. Every other column is a feature.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelstack_workloads.datasets import HELD_OUT, held_out
from accelstack_workloads.datasets.columns import (
    Column,
    classes_of,
    encode,
    facts,
    mean_and_std,
    read_columns,
    row_digests,
)
from accelstack_workloads.datasets.prepared import Arrays, Prepared
from accelstack_workloads.datasets.table_files import KIND, Table
from accelstack_workloads.errors import WorkloadError

WORKLOAD = "tabular"
BREAST_CANCER = "breast-cancer"


def read(dataset: str) -> Prepared:
    """The dataset `breast-cancer`, or the table at a path or fsspec URI, split and encoded.

    Raises:
        WorkloadError: it is missing, empty, broken, or laid out in another way.
    """
    if not dataset:
        raise WorkloadError(f"dataset: '' is empty; give {BREAST_CANCER!r} or the path or URI of a table")
    if dataset == BREAST_CANCER:
        from accelstack_workloads.datasets import breast_cancer

        return prepared(dataset, BREAST_CANCER, breast_cancer.read())
    from accelstack_workloads.datasets import table_files

    return prepared(dataset, KIND, table_files.read(dataset))


def prepared(uri: str, kind: str, table: Table) -> Prepared:
    """A table as a prepared dataset.

    Where the files do not say which rows are held out, a fifth of the different rows is, of each class where there are
    classes; rows that are the same stay on one side. Files that have a row on both sides are refused.

    Returns:
        Its arrays: `rows` FP32 [rows, columns], with categories as indices and NaN for what is missing, and `targets`,
        int64 [rows] indices of classes, or FP32 [rows] quantities.
        Its facts: `columns`, `mean`, `std` and `example` as `columns.facts` has them; `target`, its name; `classes`, or
        `value`, the quantity's mean and standard deviation over the training rows.

    Raises:
        WorkloadError: it cannot be split, or a column cannot be used.
    """
    features, target = read_columns(table)
    classes = classes_of(target)
    digests = row_digests([*features, target])
    if table.train is None:
        test = _held_out(target, classes, digests)
    else:
        test = np.arange(len(digests)) >= table.train
        _refuse_leak(table, digests)
    about = {**facts(features, ~test), "target": target.name, **_target_facts(target, classes, test)}
    rows = encode(features, about["columns"])
    targets = classes[1].astype(np.int64) if classes else target.values.astype(np.float32)
    train, held = ({"rows": rows[part], "targets": targets[part]} for part in (~test, test))
    counts = {split: _counts(arrays, about) for split, arrays in (("train", train), ("test", held))}
    return Prepared(WORKLOAD, uri, kind, about, train, held, counts)


def _held_out(target: Column, classes: tuple[list[str], np.ndarray] | None, digests: np.ndarray) -> np.ndarray:
    """Which rows to hold out: bool [rows]."""
    names, labels = classes or ([""], np.zeros(len(digests), dtype=np.int64))
    chosen: list[int] = []
    for label, name in enumerate(names):
        different = np.unique(digests[labels == label])
        if len(different) < HELD_OUT:
            whose = f"class {name!r} of column {target.name!r}" if classes else "the table"
            raise WorkloadError(
                f"dataset: {whose} has {len(different)} different rows, and {HELD_OUT} or more are needed; add rows"
                + (", or remove the class" if classes else "")
            )
        chosen += map(int, held_out(map(str, different.tolist())))
    return np.isin(digests, np.array(chosen, dtype=np.uint64))


def _refuse_leak(table: Table, digests: np.ndarray) -> None:
    count = table.train or 0
    both = np.flatnonzero(np.isin(digests[count:], digests[:count]))
    if len(both):
        row = count + both[0]
        twin = np.flatnonzero(digests[:count] == digests[row])[0]
        raise WorkloadError(
            f"dataset: {len(both)} held-out rows are training rows too, such as {table.place(row)}, the same as "
            f"{table.place(twin)}; remove them from one side"
        )


def _target_facts(target: Column, classes: tuple[list[str], np.ndarray] | None, test: np.ndarray) -> dict[str, Any]:
    if classes is None:
        known = target.values[~test]
        if known.min() == known.max():
            raise WorkloadError(
                f"dataset: the target, column {target.name!r}, is {known[0]:g} in every row to train on; there is "
                "nothing to learn: give rows with other values, or another target"
            )
        mean, std = mean_and_std(known)
        return {"value": {"mean": mean, "std": std}}
    names, labels = classes
    if len(names) < 2:
        raise WorkloadError(
            f"dataset: the target, column {target.name!r}, has one class only, {names[0]!r}; a classifier needs two or "
            "more"
        )
    for part, where, other in ((~test, "train", "test"), (test, "test", "train")):
        counts = np.bincount(labels[part], minlength=len(names))
        if not counts.all():
            raise WorkloadError(
                f"dataset: class {names[counts.argmin()]!r} of column {target.name!r} has rows in {other} and none in "
                f"{where}; both need the same classes"
            )
    return {"classes": names}


def _counts(arrays: Arrays, about: dict[str, Any]) -> Any:
    """Samples, of each class where there are classes."""
    if "classes" not in about:
        return len(arrays["targets"])
    counts = np.bincount(arrays["targets"], minlength=len(about["classes"]))
    return dict(zip(about["classes"], counts.tolist(), strict=True))
