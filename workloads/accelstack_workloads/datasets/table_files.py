"""Tables in files, CSV or Parquet, at any fsspec URI.

Three layouts: one file; a folder of files of one kind, whose rows follow each other in the order of their names; or a
folder with `train` and `test`, each a file such as `train.csv` or such a folder. CSV is UTF-8 with commas and a header.
Names that begin with a dot or an underscore are ignored, and so are files of other kinds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from accelstack_workloads.datasets.cells import FALSE, MISSING, TRUE
from accelstack_workloads.errors import WorkloadError

KIND = "table"
SPLITS = ("train", "test")
FIRST_ROW = {".csv": 2, ".parquet": 1}  # number of the first row of values: the header of a CSV file is row 1
TYPES = {"double": "numbers", "bool": "booleans", "string": "texts"}
PANDAS_INDEX = "__index_level_"  # what pandas calls the columns of an index without a name in a Parquet file
MOST_BYTES = 2**30  # of a CSV file, which is read as one block: types are inferred from the first block alone


@dataclass(frozen=True)
class TableFile:
    """A file of a table, for messages: where it is, its rows, and the number of the first one."""

    path: str
    rows: int
    first: int


@dataclass(frozen=True)
class Table:
    """The rows of one or more files, one after the other.

    Attributes:
        columns: of numbers (double), booleans, texts (string), or nothing but missing values (null).
        files: that the rows are of, in their order.
        train: how many rows, the first ones, are to train on; None where the files do not say.
    """

    columns: pa.Table
    files: list[TableFile]
    train: int | None = None

    def place(self, row: int) -> str:
        """File and row, for messages. Rows count from 1, a header among them; blank lines of a CSV file do not."""
        for file in self.files:
            if row < file.rows:
                return f"{file.path} row {row + file.first}"
            row -= file.rows
        raise IndexError(row)


def read(uri: str) -> Table:
    """Every row at `uri`.

    Raises:
        WorkloadError: a rule of the layout is broken, a file cannot be read, or files do not belong together.
    """
    fs, parts = _files(uri)
    paths = [path for split in SPLITS for path in parts.get(split, [])] or parts["all"]
    tables = [_read(fs, path) for path in paths]
    files = [TableFile(path, len(table), FIRST_ROW[_suffix(path)]) for path, table in zip(paths, tables, strict=True)]
    names = tables[0].column_names
    for path, table in zip(paths, tables, strict=True):
        for name in sorted({*names} ^ {*table.column_names}):
            has, lacks = (paths[0], path) if name in names else (path, paths[0])
            raise WorkloadError(
                f"dataset: {has} has a column {name!r} and {lacks} has none; give both the same columns"
            )
    for name in names:
        _refuse_two_kinds(
            name, {str(table.schema.field(name).type): path for path, table in zip(paths, tables, strict=True)}
        )
    whole = pa.concat_tables([table.select(names) for table in tables], promote_options="default")
    train = sum(file.rows for file in files[: len(parts["train"])]) if "train" in parts else None
    return Table(whole, files, train)


def _files(uri: str) -> tuple[Any, dict[str, list[str]]]:
    """The file system, and the files' paths: of `train` and `test`, or of `all`."""
    try:
        fs, root = fsspec.core.url_to_fs(uri)
        if fs.info(root)["type"] != "directory":
            return fs, {"all": _of_one_kind(uri, [root])}
        entries = dict(_entries(fs, root))
        found = {split: name for name in entries if (split := _split(name, entries[name])) in SPLITS}
        if not found:
            return fs, {"all": _flat(fs, uri, root)}
        for split, other in (SPLITS, SPLITS[::-1]):
            if split not in found:
                raise WorkloadError(f"dataset: {uri!r} has {found[other]!r} and no {split!r}; give both, or neither")
        for name in entries:
            if name not in found.values() and (_suffix(name) in FIRST_ROW or entries[name]["type"] == "directory"):
                raise WorkloadError(f"dataset: {uri!r} has {name!r} beside train and test; move it away")
        parts = {split: entries[name] for split, name in found.items()}
        return fs, {
            split: _flat(fs, f"{uri.rstrip('/')}/{found[split]}", entry["name"])
            if entry["type"] == "directory"
            else [entry["name"]]
            for split, entry in parts.items()
        }
    except FileNotFoundError as error:
        raise WorkloadError(
            f"dataset: {uri!r} does not exist; give 'breast-cancer', or the path or URI of a table"
        ) from error
    except WorkloadError:
        raise
    except Exception as error:  # each storage library raises its own kinds
        raise WorkloadError(
            f"dataset: {uri!r} cannot be opened ({_reason(error)}); check the URI, its credentials, "
            "and that the fsspec library for it is installed"
        ) from error


def _entries(fs: Any, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What lies in a folder, by its name, in the order of the names."""
    for entry in sorted(fs.ls(folder, detail=True), key=lambda entry: entry["name"]):
        name = PurePosixPath(entry["name"]).name
        if not name.startswith((".", "_")) and entry["name"].rstrip("/") != folder.rstrip("/"):
            yield name, entry


def _flat(fs: Any, uri: str, folder: str) -> list[str]:
    """The tables in a folder that has no others in it."""
    entries = dict(_entries(fs, folder))
    for name, entry in entries.items():
        if entry["type"] == "directory":
            raise WorkloadError(
                f"dataset: {uri!r} has a folder {name!r}; put all files of a table into one folder, or into "
                "'train' and 'test'"
            )
    return _of_one_kind(uri, [entry["name"] for name, entry in entries.items() if _suffix(name) in FIRST_ROW])


def _of_one_kind(uri: str, paths: list[str]) -> list[str]:
    kinds = {_suffix(path): path for path in paths}
    if not kinds or not kinds.keys() <= FIRST_ROW.keys():
        raise WorkloadError(
            f"dataset: {uri!r} is no table; give a file of {' or '.join(FIRST_ROW)}, or a folder of them"
        )
    if len(kinds) > 1:
        raise WorkloadError(
            f"dataset: {uri!r} has files of two kinds, such as {kinds['.csv']} and {kinds['.parquet']}; give one kind"
        )
    return paths


def _split(name: str, entry: dict[str, Any]) -> str:
    """`train` or `test` where that is what an entry of a folder is called."""
    if entry["type"] == "directory":
        return name
    return PurePosixPath(name).stem if _suffix(name) in FIRST_ROW else ""


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _read(fs: Any, path: str) -> pa.Table:
    """One file, with columns of the four types."""
    try:
        content = fs.cat_file(path)
    except Exception as error:  # as above
        raise WorkloadError(f"dataset: {path} cannot be read ({_reason(error)}); replace or remove it") from error
    table = _parquet(path, content) if _suffix(path) == ".parquet" else _csv(path, content)
    names = table.column_names
    for index, name in enumerate(names):
        if not name.strip():
            raise WorkloadError(f"dataset: {path} has no name for column {index + 1}; give it one")
        if names.count(name) > 1:
            raise WorkloadError(
                f"dataset: {path} has {names.count(name)} columns {name!r}; rename or remove all but one"
            )
    if not len(table):
        raise WorkloadError(f"dataset: {path} has no rows; add some, or remove it")
    return pa.table({name: _plain(path, name, table.column(name)) for name in names if PANDAS_INDEX not in name})


def _csv(path: str, content: bytes) -> pa.Table:
    if not content.strip():
        raise WorkloadError(f"dataset: {path} is empty; write a header and rows into it, or remove it")
    if len(content) > MOST_BYTES:
        raise WorkloadError(f"dataset: {path} has more than {MOST_BYTES} bytes; divide it into several, or use Parquet")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise WorkloadError(f"dataset: {path} line {line} is not UTF-8; save the table in that encoding") from error
    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)
        return "error"

    try:
        return pyarrow.csv.read_csv(
            pa.BufferReader(content),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=len(content) + 1),  # only so rows are numbered
            pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note),
            pyarrow.csv.ConvertOptions(
                null_values=MISSING, strings_can_be_null=True, true_values=TRUE, false_values=FALSE
            ),
        )
    except pa.ArrowException as error:
        if ragged:
            row, wanted, found = ragged[0].number, ragged[0].expected_columns, ragged[0].actual_columns
            raise WorkloadError(
                f"dataset: {path} row {row} has {found} values and the header {wanted}; give every row as many, and "
                "quote texts that have commas"
            ) from error
        raise WorkloadError(f"dataset: {path} is not a CSV table ({_reason(error)}); write it again") from error


def _parquet(path: str, content: bytes) -> pa.Table:
    try:
        return pyarrow.parquet.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise WorkloadError(f"dataset: {path} is not a Parquet table ({_reason(error)}); write it again") from error


def _plain(path: str, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as numbers, booleans or texts; what is none of them is refused."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return column
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return column.cast(pa.float64(), safe=False)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_temporal(kind):
        raise WorkloadError(
            f"dataset: {path} has dates or times in column {name!r}, which are not taken; turn them into numbers such "
            "as days since a date, or remove the column"
        )
    raise WorkloadError(
        f"dataset: {path} has values of type {kind} in column {name!r}; give numbers, booleans or texts, or remove it"
    )


def _refuse_two_kinds(name: str, paths: dict[str, str]) -> None:
    """Refuses a column whose type differs between files, given with one file of each."""
    kinds = sorted({*paths} - {"null"})
    if len(kinds) > 1:
        one, other = (f"{TYPES[kind]} in {paths[kind]}" for kind in kinds[:2])
        raise WorkloadError(f"dataset: column {name!r} is {one} and {other}; give one type in all files")


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
