"""Turns what people know of a row, in JSON or CSV, into the model's input."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import orjson

from accelstack_workloads.datasets.cells import FALSE, MISSING, TRUE
from accelstack_workloads.serve.form import Form, ranked
from accelstack_workloads.serve.protocol import RequestError
from accelstack_workloads.tensors import Arrays

LARGEST = float(np.finfo(np.float32).max)
NAMED = 10  # columns or categories that an error lists


class RowForm(Form):
    """A row of a table in, its class out, or a quantity.

    JSON is an object of column names and values; CSV has a header and one row. Columns that are left out, null or empty
    are missing.
    """

    media_types = ("application/json", "text/csv")
    noun = "a row of the table"
    largest = 2**20
    page = "text"

    @property
    def example(self) -> str:
        """Usual values of the rows that the model was trained on."""
        return orjson.dumps(self.description.facts["example"], option=orjson.OPT_INDENT_2).decode()

    def read(self, content: bytes) -> Arrays:
        """`row`: FP32 [1, columns], NaN where a value is missing."""
        columns = self.description.facts["columns"]
        values = _json(content) if content.lstrip()[:1] in (b"{", b"[") else _csv(content)
        known = [column["name"] for column in columns]
        for name in values:
            if name not in known:
                raise RequestError(f"row: {name!r:.80} is no column; the model takes {_listed(known)}")
        read = _from_text if isinstance(values, _Cells) else _number
        return {"row": np.array([[read(column, values.get(column["name"])) for column in columns]], np.float32)}

    def answer(self, outputs: Arrays) -> dict[str, Any]:
        if "value" in outputs:
            return {"value": float(outputs["value"][0, 0])}
        return ranked(self.description.facts["classes"], outputs["probabilities"][0])


class _Cells(dict[str, str]):
    """A row of CSV, where every value is a text."""


def _json(content: bytes) -> dict[str, Any]:
    try:
        values = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise RequestError(
            f"row: is not JSON ({error}); send an object of columns and values, null where one is missing"
        ) from error
    if not isinstance(values, dict):
        raise RequestError("row: is an array; send one object of columns and values, or several rows to …/infer")
    return values


def _csv(content: bytes) -> _Cells:
    try:
        lines = [line for line in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"row: is neither JSON nor CSV ({error}); send UTF-8, texts with commas quoted") from error
    if len(lines) != 2:
        raise RequestError(f"row: has {len(lines)} lines of CSV; send a header and one row, or an object in JSON")
    header, cells = lines
    if len(header) != len(cells):
        raise RequestError(f"row: has {len(cells)} values for {len(header)} columns; send one for each, or none")
    for name in header:
        if header.count(name) > 1:
            raise RequestError(f"row: has {header.count(name)} columns {name!r:.80}; send each once")
    return _Cells(zip(header, cells, strict=True))


def _from_text(column: dict[str, Any], cell: str | None) -> float:
    """A cell of CSV as the model takes it."""
    if cell is None or cell in MISSING:
        return float("nan")
    if column["kind"] == "boolean" and cell in TRUE + FALSE:
        return float(cell in TRUE)
    if column["kind"] == "number":
        try:
            return _number(column, float(cell))
        except ValueError:
            pass  # refused below, by the column's kind
    return _number(column, cell)


def _number(column: dict[str, Any], value: object) -> float:
    """A value of JSON as the model takes it: a category as its index, a boolean as 0 or 1."""
    name, kind = column["name"], column["kind"]
    if value is None:
        return float("nan")
    if kind == "category":
        categories = [known for known in column["categories"] if known is not None]
        if value not in categories:
            raise RequestError(
                f"row: {name!r} is {value!r:.80}, which is none of its categories; send {_listed(categories)}"
            )
        return float(categories.index(value))
    if kind == "boolean":
        if not isinstance(value, bool):
            raise RequestError(f"row: {name!r} is {value!r:.80}, which is no boolean; send true or false")
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise RequestError(
            f"row: {name!r} is {value!r:.80}, which is no number up to {LARGEST:.1e}; send one, or leave it out"
        )
    return float(value)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(f"{name!r:.80}" for name in names[:NAMED]) + more
