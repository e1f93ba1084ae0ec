"""Preparing data: what comes out, and that whatever is wrong with a dataset is said before any training."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
from accelstack_workloads.datasets import pictures, prepared
from accelstack_workloads.errors import WorkloadError
from PIL import Image
from sklearn.datasets import load_digits

from tests.workloads.steps import picture, picture_folder, run_json


def refusal(uri: object) -> str:
    with pytest.raises(WorkloadError) as caught:
        pictures.read(str(uri))
    message = str(caught.value)
    assert message.startswith("dataset: ")
    assert "\n" not in message
    return message


def test_digits_are_those_of_scikit_learn_with_a_fifth_of_each_class_held_out() -> None:
    data = pictures.read("digits")
    original = load_digits()
    ours = np.concatenate([data.train["images"], data.test["images"]]).reshape(-1, 64)
    theirs = np.rint(original.data * 255 / 16).astype(np.uint8)
    assert sorted(map(bytes, ours)) == sorted(map(bytes, theirs))
    assert ours.max() == 255
    for label in range(10):
        held_out = (data.test["labels"] == label).sum() / (original.target == label).sum()
        assert held_out == pytest.approx(0.2, abs=0.01)


def test_preparing_is_repeatable_and_leaves_the_same_data_alone(tmp_path: Path) -> None:
    first = run_json("prepare", "--dataset", "digits", "--out", tmp_path / "data")
    written_at = (tmp_path / "data" / "train_images.npy").stat().st_mtime_ns
    again = run_json("prepare", "--dataset", "digits", "--out", tmp_path / "data")
    assert (first["written"], again["written"]) == (True, False)
    assert again["digest"] == first["digest"]
    assert (tmp_path / "data" / "train_images.npy").stat().st_mtime_ns == written_at
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert manifest["facts"]["shape"] == [1, 8, 8]
    assert sum(manifest["counts"]["train"].values()) + sum(manifest["counts"]["test"].values()) == 1797
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_other_data_takes_the_place_of_earlier_data(tmp_path: Path) -> None:
    prepared.save(pictures.read("digits"), tmp_path / "data")
    other = pictures.read(str(picture_folder(tmp_path / "pictures", {"cat": 5, "dog": 5})))
    assert prepared.save(other, tmp_path / "data")
    assert prepared.load(tmp_path / "data").facts["classes"] == ["cat", "dog"]


def test_a_folder_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    keep = tmp_path / "thesis.txt"
    keep.write_text("years of work")
    with pytest.raises(WorkloadError, match="holds something else"):
        prepared.save(pictures.read("digits"), tmp_path)
    assert keep.read_text() == "years of work"


def test_damaged_prepared_data_is_refused_and_prepared_again(tmp_path: Path) -> None:
    prepared.save(pictures.read("digits"), tmp_path / "data")
    file = tmp_path / "data" / "train_images.npy"
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    with pytest.raises(WorkloadError, match="do not match the digest"):
        prepared.load(tmp_path / "data")
    assert prepared.save(pictures.read("digits"), tmp_path / "data")
    prepared.load(tmp_path / "data")


def test_a_truncated_array_is_refused(tmp_path: Path) -> None:
    prepared.save(pictures.read("digits"), tmp_path / "data")
    file = tmp_path / "data" / "test_images.npy"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(WorkloadError, match=r"the arrays in .*data cannot be read .*prepare it again"):
        prepared.load(tmp_path / "data")


def test_samples_stay_on_disk_until_they_are_looked_at(tmp_path: Path) -> None:
    prepared.save(pictures.read("digits"), tmp_path / "data")
    loaded = prepared.load(tmp_path / "data")
    assert all(isinstance(array, np.memmap) for array in loaded.arrays.values())
    loaded.train["images"][0] = 0  # what is written to them stays in this process
    prepared.load(tmp_path / "data")


def test_one_folder_per_class_is_split_in_the_same_way_wherever_it_lies(tmp_path: Path) -> None:
    here = pictures.read(str(picture_folder(tmp_path / "here", {"cat": 20, "dog": 10})))
    there = pictures.read((picture_folder(tmp_path / "there", {"cat": 20, "dog": 10})).as_uri())
    assert here.digest == there.digest
    assert np.bincount(here.test["labels"]).tolist() == [4, 2]


def test_train_and_test_folders_are_kept_as_they_are(tmp_path: Path) -> None:
    picture_folder(tmp_path / "train", {"cat": 6, "dog": 4})
    picture_folder(tmp_path / "test", {"cat": 1, "dog": 2})
    data = pictures.read(str(tmp_path))
    assert np.bincount(data.train["labels"]).tolist() == [6, 4]
    assert np.bincount(data.test["labels"]).tolist() == [1, 2]


def test_classes_named_train_and_test_are_classes(tmp_path: Path) -> None:
    assert pictures.read(str(picture_folder(tmp_path, {"train": 5, "bus": 5}))).facts["classes"] == ["bus", "train"]


def test_object_storage_is_read_like_a_folder(tmp_path: Path) -> None:
    local = picture_folder(tmp_path, {"cat": 5, "dog": 5})
    memory = fsspec.filesystem("memory")
    memory.put(str(local), "/bucket/pets", recursive=True)
    try:
        assert pictures.read("memory://bucket/pets").digest == pictures.read(str(local)).digest
    finally:
        memory.rm("/bucket", recursive=True)


def test_pictures_of_one_size_keep_it_and_grey_ones_have_one_channel(tmp_path: Path) -> None:
    assert pictures.read(str(picture_folder(tmp_path, {"a": 5, "b": 5}, size=(80, 70), mode="L"))).facts["shape"] == [
        1,
        70,
        80,
    ]


def test_pictures_of_several_sizes_get_the_most_common_one(tmp_path: Path) -> None:
    picture_folder(tmp_path, {"a": 5, "b": 5}, size=(40, 30))
    picture(tmp_path / "a" / "other.png", size=(10, 90))
    assert pictures.read(str(tmp_path)).facts["shape"] == [3, 30, 40]


def test_large_pictures_of_several_sizes_become_64_pixels(tmp_path: Path) -> None:
    picture_folder(tmp_path, {"a": 5, "b": 5}, size=(200, 150))
    picture(tmp_path / "a" / "other.png", size=(300, 100), mode="L")
    assert pictures.read(str(tmp_path)).facts["shape"] == [3, 64, 64]


def test_pictures_of_16_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    picture_folder(tmp_path, {"a": 5, "b": 5}, mode="L")
    Image.fromarray(np.full((8, 8), 0x4000, dtype=np.uint16)).save(tmp_path / "a" / "deep.png")
    data = pictures.read(str(tmp_path))
    images = np.concatenate([data.train["images"], data.test["images"]])
    assert data.facts["shape"] == [1, 8, 8]
    assert (images == 0x40).all(axis=(1, 2, 3)).any()


def test_a_photo_lying_on_its_side_is_turned_as_its_exif_data_say(tmp_path: Path) -> None:
    picture_folder(tmp_path, {"a": 5, "b": 5}, size=(8, 16))
    lying = Image.new("RGB", (16, 8), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "a" / "lying.jpg", exif=exif)
    assert pictures.read(str(tmp_path)).facts["shape"] == [3, 16, 8]


def test_hidden_files_are_ignored(tmp_path: Path) -> None:
    picture_folder(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "a" / "._000.png").write_bytes(b"metadata")
    picture_folder(tmp_path / ".thumbnails", {"a": 1})
    assert len(pictures.read(str(tmp_path)).facts["classes"]) == 2


def test_a_missing_dataset(tmp_path: Path) -> None:
    assert "does not exist; give the path or URI" in refusal(tmp_path / "nowhere")
    assert "does not exist" in refusal("mnist")
    assert "is empty" in refusal("")


def test_an_unknown_kind_of_storage() -> None:
    assert "cannot be opened (Protocol not known: floppy" in refusal("floppy://disk/pets")


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    assert "is not a folder" in refusal(picture(tmp_path / "one.png"))


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "is empty; put pictures" in refusal(tmp_path)


def test_files_but_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("a,b")
    assert "has 1 files, such as 'labels.csv', but no pictures" in refusal(tmp_path)


def test_one_class_only(tmp_path: Path) -> None:
    assert "has one class only, 'cat'; a classifier needs two" in refusal(picture_folder(tmp_path, {"cat": 9}))


def test_a_class_with_too_few_pictures(tmp_path: Path) -> None:
    message = refusal(picture_folder(tmp_path, {"cat": 5, "dog": 4}))
    assert "class 'dog'" in message
    assert "has 4 pictures, and 5 or more are needed; add pictures" in message


def test_an_empty_class_folder(tmp_path: Path) -> None:
    (picture_folder(tmp_path, {"cat": 5, "dog": 5}) / "empty").mkdir()
    assert "class 'empty'" in refusal(tmp_path)


def test_pictures_outside_a_class_folder(tmp_path: Path) -> None:
    picture(picture_folder(tmp_path, {"cat": 5, "dog": 5}) / "stray.png")
    assert "1 pictures outside a class folder, such as 'stray.png'" in refusal(tmp_path)


def test_train_without_test(tmp_path: Path) -> None:
    picture_folder(tmp_path / "train", {"cat": 5, "dog": 5})
    assert "no class folders in test/" in refusal(tmp_path)


def test_classes_that_differ_between_train_and_test(tmp_path: Path) -> None:
    picture_folder(tmp_path / "train", {"cat": 5, "dog": 5})
    picture_folder(tmp_path / "test", {"cat": 5, "cow": 5})
    assert "has class 'cow' in test/ but not in train/" in refusal(tmp_path)


def test_a_class_folder_that_is_a_link(tmp_path: Path) -> None:
    picture_folder(tmp_path / "data", {"cat": 5, "dog": 5})
    picture_folder(tmp_path / "elsewhere", {"cow": 5})
    (tmp_path / "data" / "cow").symlink_to(tmp_path / "elsewhere" / "cow")
    assert "is a link to a folder, which is not followed" in refusal(tmp_path / "data")


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    picture_folder(tmp_path, {"cat": 5, "dog": 5}, size=(64, 64))
    whole = tmp_path / "cat" / "000.png"
    whole.write_bytes(whole.read_bytes()[:60])
    message = refusal(tmp_path)
    assert "1 of the 10 pictures" in message
    assert f"{whole} (" in message
    assert "replace or remove" in message


def test_a_picture_of_zero_size(tmp_path: Path) -> None:
    picture_folder(tmp_path, {"cat": 5, "dog": 5})
    (tmp_path / "dog" / "nothing.jpg").touch()
    (tmp_path / "dog" / "flat.pgm").write_bytes(b"P5 0 0 255\n")
    message = refusal(tmp_path)
    assert "nothing.jpg (not a picture)" in message
    assert "flat.pgm (" in message


def test_of_many_broken_pictures_five_are_named_and_all_are_counted(tmp_path: Path) -> None:
    picture_folder(tmp_path, {"cat": 8, "dog": 8})
    for file in (tmp_path / "cat").iterdir():
        file.write_bytes(b"not a picture")
    message = refusal(tmp_path)
    assert "8 of the 16 pictures" in message
    assert message.count("(not a picture)") == 5
    assert "; and 3 more;" in message


def test_every_picture_is_broken(tmp_path: Path) -> None:
    picture_folder(tmp_path, {"cat": 5, "dog": 5})
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(b"")
    assert "10 of the 10 pictures" in refusal(tmp_path)


def test_a_picture_that_cannot_be_fetched_is_not_trained_without(tmp_path: Path) -> None:
    picture_folder(tmp_path, {"cat": 5, "dog": 5})
    (tmp_path / "cat" / "gone.png").symlink_to(tmp_path / "missing.png")
    assert "gone.png (" in refusal(tmp_path)


def test_preparing_never_imports_torch(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom accelstack_workloads import cli\n"
        f"sys.argv = ['', 'prepare', '--dataset', {str(picture_folder(tmp_path / 'p', {'a': 5, 'b': 5}))!r}, "
        f"'--out', {str(tmp_path / 'data')!r}]\n"
        "try:\n    cli.main()\nfinally:\n    assert 'torch' not in sys.modules and 'sklearn' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "8 samples to train on, 2 held out, 2 classes, 3x8x8" in done.stdout
