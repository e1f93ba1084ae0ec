"""Preparing tables: what comes out, and that whatever is wrong with one is said by file, row and column."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from accelstack_workloads.datasets import table
from accelstack_workloads.datasets.columns import read_columns
from accelstack_workloads.datasets.table_files import Table, TableFile
from accelstack_workloads.errors import WorkloadError
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer

from tests.workloads.tables import csv, mixed, quantities

ROWS = "".join(f"{n},{n * 0.5},{'yes' if n % 2 else 'no'}\n" for n in range(20))


def refusal(uri: object) -> str:
    with pytest.raises(WorkloadError) as caught:
        table.read(str(uri))
    message = str(caught.value)
    assert message.startswith("dataset: ")
    assert "\n" not in message
    assert "; " in message, "there is no fix"
    return message


def written(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def whole(data: table.Prepared) -> np.ndarray:
    """All rows with their targets, sorted."""
    rows = [np.column_stack([part["rows"], part["targets"]]) for part in (data.train, data.test)]
    return np.array(sorted(map(tuple, np.nan_to_num(np.concatenate(rows), nan=-1))))


def test_the_breast_cancer_table_is_that_of_scikit_learn_with_a_fifth_of_each_class_held_out() -> None:
    data, original = table.read("breast-cancer"), load_breast_cancer()
    assert [column["name"] for column in data.facts["columns"]] == original.feature_names.tolist()
    assert data.facts["classes"] == sorted(original.target_names)
    theirs = np.column_stack([original.data.astype(np.float32), 1 - original.target])
    np.testing.assert_array_equal(whole(data), np.array(sorted(map(tuple, theirs))))
    assert data.counts == {"train": {"benign": 286, "malignant": 170}, "test": {"benign": 71, "malignant": 42}}
    assert data.summary == "456 samples to train on, 113 held out, 2 classes, 30 columns"


def test_csv_and_parquet_are_read_alike(tmp_path: Path) -> None:
    frame = mixed()
    frame["age"] = frame["age"].astype(np.float32)
    csv(tmp_path / "a.csv", frame)
    frame.astype({"colour": "category", "member": "boolean", "count": np.int8}).to_parquet(tmp_path / "a.parquet")
    one, other = (table.read(str(tmp_path / name)) for name in ("a.csv", "a.parquet"))
    assert one.digest == other.digest
    assert one.facts["columns"] == [
        {"name": "age", "kind": "number"},
        {"name": "colour", "kind": "category", "categories": ["blue", "green", "red", None]},
        {"name": "member", "kind": "boolean"},
        {"name": "count", "kind": "number"},
    ]
    assert one.facts["target"] == "bought"
    assert one.facts["example"].keys() == {"age", "colour", "member", "count"}


def test_an_index_that_pandas_wrote_is_no_feature(tmp_path: Path) -> None:
    frame = mixed().sample(frac=1, random_state=0)
    frame.to_parquet(tmp_path / "a.parquet")
    assert len(table.read(str(tmp_path / "a.parquet")).facts["columns"]) == 4


def test_decimals_large_texts_and_unsigned_numbers_are_taken(tmp_path: Path) -> None:
    arrow = pa.table(
        {
            "price": pa.array(range(20), pa.decimal128(5, 2)),
            "kind": pa.array(["a", "b"] * 10, pa.large_string()),
            "count": pa.array(range(20), pa.uint64()),
            "label": pa.array([True, False] * 10),
        }
    )
    pa.parquet.write_table(arrow, tmp_path / "a.parquet")
    data = table.read(str(tmp_path / "a.parquet"))
    assert [column["kind"] for column in data.facts["columns"]] == ["number", "category", "number"]
    assert data.facts["classes"] == ["false", "true"]


def test_the_target_is_the_column_that_is_called_so_else_the_last() -> None:
    def target(*names: str) -> str:
        values = {name: [f"{name}{n % 2}" for n in range(10)] for name in names}
        values[names[0]] = [*range(10)]
        return read_columns(Table(pa.table(values), [TableFile("x.csv", 10, 2)]))[1].name

    assert target("a", "b") == "b"
    assert target("a", "label", "b") == "label"
    assert target("a", "Class", "label", "b") == "label"
    assert target("a", "class", "Target", "b") == "Target"


@pytest.mark.parametrize(
    ("targets", "classes"),
    [
        (["no", "yes", "maybe"], ["maybe", "no", "yes"]),
        (["true", "false"], ["false", "true"]),
        ([10, 9, -1], ["-1", "9", "10"]),
        ([1.0, 2.0], ["1", "2"]),
        ([*range(20)], [str(n) for n in range(20)]),
        ([*range(21)], None),
        ([0.5, 1, 2], None),
    ],
)
def test_texts_booleans_and_few_whole_numbers_are_classes(
    tmp_path: Path, targets: list[object], classes: list[str] | None
) -> None:
    rows = [(n, target) for n, target in enumerate(targets * 5)]
    data = table.read(str(csv(tmp_path / "a.csv", pd.DataFrame(rows, columns=["x", "y"]))))
    assert data.facts.get("classes") == classes
    if classes is None:
        train = data.train["targets"].astype(np.float64)
        assert data.facts["value"] == pytest.approx({"mean": train.mean(), "std": train.std()})
        assert data.counts["test"] == len(data.test["targets"]) == len(targets)
    else:
        assert dict.fromkeys(classes, 1) == data.counts["test"]
    everything = np.concatenate([data.train["targets"], data.test["targets"]])
    expected = [target if classes is None else classes.index(str(target).removesuffix(".0")) for _, target in rows]
    assert sorted(everything) == sorted(expected)


def test_statistics_and_categories_are_those_of_the_training_rows(tmp_path: Path) -> None:
    train, test = mixed(80), mixed(30, seed=1)
    test.loc[3, "colour"] = "violet"
    csv(tmp_path / "train.csv", train)
    csv(tmp_path / "test.csv", test)
    data = table.read(str(tmp_path))
    assert data.facts["columns"][1]["categories"] == ["blue", "green", "red", None]
    assert data.facts["mean"] == pytest.approx(
        [train["age"].mean(), None, train["member"].mean(), train["count"].mean()]
    )
    assert data.facts["std"][3] == pytest.approx(train["count"].std(ddof=0))
    assert (len(data.train["rows"]), len(data.test["rows"])) == (80, 30)
    assert np.isnan(data.test["rows"][3, 1]), "a category that was never trained on is as good as missing"
    np.testing.assert_array_equal(np.isnan(data.train["rows"][:, 0]), train["age"].isna())
    codes = train["colour"].map({"blue": 0, "green": 1, "red": 2})
    np.testing.assert_array_equal(data.train["rows"][:, 1], codes.astype(np.float32))


@pytest.mark.parametrize("layout", ["file", "files", "train and test files", "train and test folders"])
def test_files_and_folders_hold_the_same_table(tmp_path: Path, layout: str) -> None:
    frame = mixed(80)
    if layout == "file":
        csv(tmp_path / "a.csv", frame)
    elif layout == "files":
        csv(tmp_path / "1.csv", frame[:30])
        csv(tmp_path / "2.csv", frame[30:])
        (tmp_path / "_SUCCESS").touch()
        (tmp_path / "README.md").write_text("not a table")
    else:
        between = "/part" if "folders" in layout else ""
        csv(tmp_path / f"train{between}.csv", frame[:50])
        csv(tmp_path / f"test{between}.csv", frame[50:])
    data = table.read(str(tmp_path))
    np.testing.assert_array_equal(whole(data)[:, -1].sum(), (frame["bought"] == "yes").sum())
    if "train" in layout:
        assert len(data.train["rows"]) == 50
    else:
        assert data.digest == table.read(str(csv(tmp_path / "other" / "b.csv", frame))).digest


def test_object_storage_is_read_like_a_folder(tmp_path: Path) -> None:
    csv(tmp_path / "train.csv", mixed(60))
    csv(tmp_path / "test.csv", mixed(20, seed=1))
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path), "/bucket/shop", recursive=True)
    try:
        assert table.read("memory://bucket/shop").digest == table.read(str(tmp_path)).digest
    finally:
        memory.rm("/bucket", recursive=True)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=40, max_size=80), st.randoms())
def test_equal_rows_stay_on_one_side_in_whatever_order(rows: list[tuple[int, int]], random: st.DataObject) -> None:
    def sides(rows: list[tuple[int, int]]) -> list[set[tuple[float, ...]]]:
        columns = pa.table({"x": [float(x) for x, _ in rows], "y": [y + 0.5 for _, y in rows]})
        data = table.prepared("x", "table", Table(columns, [TableFile("x.csv", len(rows), 2)]))
        return [{*map(tuple, np.column_stack([p["rows"], p["targets"]]))} for p in (data.train, data.test)]

    try:
        train, test = sides(rows)
    except WorkloadError:  # too few different rows, or all of one value
        reject()
    assert not train & test
    random.shuffle(rows)
    assert sides(rows) == [train, test]


def test_a_split_that_leaks_is_refused_with_both_rows(tmp_path: Path) -> None:
    frame = mixed(40)
    csv(tmp_path / "train.csv", frame[:30])
    csv(tmp_path / "test.csv", pd.concat([frame[30:], frame[7:9]]))
    message = refusal(tmp_path)
    assert "2 held-out rows are training rows too" in message
    assert f"{tmp_path}/test.csv row 12, the same as {tmp_path}/train.csv row 9;" in message


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "a.csv is empty; write a header"),
        ("  \n\n", "is empty; write a header"),
        ("a,b,c\n", "has no rows"),
        ("a\n1\n2\n", "has one column only, 'a'; give features and a target"),
        ("a;b\n1;2\n", "has one column only, 'a;b'"),
        ("a,b,a\n1,2,3\n", "has 2 columns 'a'"),
        ("a,,c\n1,2,3\n", "has no name for column 2"),
        ("a,b,c\n1,2,x\n3,4\n5,6,y\n", "a.csv row 3 has 2 values and the header 3; give every row as many"),
        ("a,b,c\n1,2,x\n\n3,4,5,y\n", "row 3 has 4 values and the header 3"),
        (b"a,b,c\n1,2,x\n1,2,caf\xe9\n", "line 3 is not UTF-8"),
        (f"a,b,c\n{ROWS}1,2,\n", "a.csv row 22 has no value in the target, column 'c'; fill it in, or remove the row"),
        (
            f"a,b,c\n1,2,NA\n{ROWS}1,2,nan\n",
            "row 2 has no value in the target, column 'c'; fill it in, or remove the row and 1",
        ),
        (f"a,b,c\n{ROWS}inf,2,yes\n", "row 22 has inf in column 'a'"),
        (f"a,b,c\n{ROWS}2,-1e300,yes\n", "row 22 has -1e+300 in column 'b'"),
        (f"a,b,c\n{ROWS}".replace("yes", "no"), "column 'c', has one class only, 'no'"),
        (f"a,b,c\n{ROWS}1,2,maybe\n", "class 'maybe' of column 'c' has 1 different rows, and 5 or more are needed"),
        ("a,target\n" + "1,0.5\n2,0.25\n" * 9, "the table has 2 different rows, and 5 or more are needed"),
        ("a,target\n" + "".join(f"{n},0.5\n" for n in range(9)), "column 'target', is 0.5 in every row"),
        ("a,day,c\n1,2020-01-02,x\n2,2020-01-03,y\n", "has dates or times in column 'day', which are not taken; turn"),
        ("a,at,c\n1,2020-01-02T03:04:05Z,x\n2,,y\n", "has dates or times in column 'at'"),
        (
            "a,b,c\n" + "".join(f"{n},,{'xy'[n % 2]}\n" for n in range(20)),
            "column 'b' has no value in the rows to train on",
        ),
        (
            "name,c\n" + "".join(f"person {n},{'xy'[n % 2]}\n" for n in range(300)),
            "column 'name' has 300 different texts",
        ),
        ("a,c\n" + "".join(f"{1700000000 + n},{'xy'[n % 2]}\n" for n in range(20)), "column 'a' varies by 5.77 around"),
    ],
)
def test_whatever_is_wrong_with_a_csv_file_is_said(tmp_path: Path, text: str | bytes, found: str) -> None:
    assert found in refusal(written(tmp_path / "a.csv", text))


def test_an_unreadable_parquet_file(tmp_path: Path) -> None:
    assert "a.parquet is not a Parquet table (" in refusal(written(tmp_path / "a.parquet", b"not parquet"))
    whole = mixed().to_parquet(index=False)
    assert "is not a Parquet table (" in refusal(written(tmp_path / "b.parquet", whole[:-20]))


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (pa.array([[1.0]] * 20), "has values of type list<element: double> in column 'x'"),
        (pa.array([b"x"] * 20), "has values of type binary in column 'x'"),
        (pa.array([5] * 20, pa.duration("s")), "has dates or times in column 'x'"),
        (pa.array([0] * 20, pa.date32()), "has dates or times in column 'x'"),
    ],
)
def test_what_no_model_can_take_from_parquet_is_refused(tmp_path: Path, column: pa.Array, found: str) -> None:
    pa.parquet.write_table(pa.table({"x": column, "y": ["a", "b"] * 10}), tmp_path / "a.parquet")
    assert found in refusal(tmp_path / "a.parquet")


def test_no_dataset(tmp_path: Path) -> None:
    assert "is empty; give 'breast-cancer'" in refusal("")
    assert "does not exist; give 'breast-cancer'" in refusal(tmp_path / "nowhere.csv")
    assert "cannot be opened (Protocol not known: floppy" in refusal("floppy://disk/a.csv")
    assert "is no table; give a file of .csv or .parquet" in refusal(tmp_path)
    assert "is no table" in refusal(written(tmp_path / "notes.txt", "a,b\n"))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "gone.csv").symlink_to(tmp_path / "missing.csv")
    assert "gone.csv cannot be read (" in refusal(tmp_path)


def test_folders_that_hold_no_single_table(tmp_path: Path) -> None:
    frame = mixed()
    csv(tmp_path / "one" / "a.csv", frame)
    frame.to_parquet(tmp_path / "one" / "b.parquet")
    assert "has files of two kinds" in refusal(tmp_path / "one")
    csv(tmp_path / "two" / "2024" / "a.csv", frame)
    assert "has a folder '2024'" in refusal(tmp_path / "two")
    csv(tmp_path / "three" / "train.csv", frame)
    assert "has 'train.csv' and no 'test'; give both" in refusal(tmp_path / "three")
    csv(tmp_path / "three" / "test.csv", frame)
    csv(tmp_path / "three" / "sample.csv", frame)
    assert "has 'sample.csv' beside train and test" in refusal(tmp_path / "three")


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    frame = mixed()
    csv(tmp_path / "train.csv", frame)
    csv(tmp_path / "test.csv", mixed(20, seed=1).drop(columns="bought"))
    assert "train.csv has a column 'bought' and" in refusal(tmp_path)
    csv(tmp_path / "test.csv", mixed(20, seed=1).assign(count="many"))
    message = refusal(tmp_path)
    assert "column 'count' is numbers in" in message
    assert "train.csv and texts in" in message
    csv(tmp_path / "test.csv", mixed(20, seed=1).assign(bought="perhaps"))
    assert (
        "class 'perhaps' of column 'bought' has rows in test and none in train; both need the same classes"
        in refusal(tmp_path)
    )


def test_a_table_of_categories_alone_and_one_of_numbers_alone(tmp_path: Path) -> None:
    texts = mixed()[["colour", "bought"]].assign(shape=[f"shape {n % 7}" for n in range(60)])
    data = table.read(str(csv(tmp_path / "a.csv", texts[["colour", "shape", "bought"]])))
    assert data.facts["mean"] == [None, None]
    assert table.read(str(csv(tmp_path / "b.csv", quantities()))).facts["value"]["std"] > 0


def test_preparing_a_table_never_imports_torch(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom accelstack_workloads import cli\n"
        f"sys.argv = ['', 'prepare', '--workload', 'tabular', '--out', {str(tmp_path / 'data')!r}]\n"
        "try:\n    cli.main()\nfinally:\n    assert 'torch' not in sys.modules and 'sklearn' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "456 samples to train on, 113 held out, 2 classes, 30 columns" in done.stdout
