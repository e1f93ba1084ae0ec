"""Pictures in folders, one folder per class, at any fsspec URI.

Two layouts: `<uri>/{train,test}/<class>/<pictures>`, or `<uri>/<class>/<pictures>`, of which a fifth is held out.
Pictures may lie in deeper folders of their class. Names that begin with a dot are ignored.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from fsspec.implementations.local import LocalFileSystem
from PIL import Image

from accelstack_workloads.datasets import held_out
from accelstack_workloads.datasets.files import Listing, listing, open_folder, reason
from accelstack_workloads.datasets.pictures import prepared
from accelstack_workloads.datasets.pixels import GREY_MODES, to_pixels
from accelstack_workloads.datasets.prepared import Prepared
from accelstack_workloads.errors import WorkloadError

KIND = "picture-folder"
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
LARGEST_SIDE = 64  # pixels, where pictures of several sizes must become one
FEWEST = {"train": 4, "test": 1}  # pictures of a class
REMOTE_THREADS = 16
TINY_SIDE = 128  # pixels; decoding smaller pictures in threads is slower, as they only wait for each other
BLOCK = 256  # pictures per task of a thread
NAMED = 5  # broken pictures named in the error
EXIF_ORIENTATION = 0x0112

Classes = dict[str, dict[str, str]]  # class -> name of a picture in the class folder -> its path
Result = TypeVar("Result")


def read(uri: str) -> Prepared:
    """Every picture below `uri`, decoded and brought to one size and one number of channels.

    Pictures of one size keep it; otherwise the most common size is taken, at most 64 pixels a side. One channel where
    all pictures are grey, else three.

    Raises:
        WorkloadError: a rule of the layout is broken, or a picture is.
    """
    fs, root = open_folder(uri)
    splits = _splits(uri, listing(fs, root, uri))
    classes = sorted(splits["train"])
    paths, labels = {}, {}
    for split, found in splits.items():
        samples = [(path, label) for label, name in enumerate(classes) for path in sorted(found[name].values())]
        paths[split] = [path for path, _ in samples]
        labels[split] = np.array([label for _, label in samples], dtype=np.int64)
    images = _decode(fs, paths["train"] + paths["test"], uri)
    count = len(paths["train"])
    train = {"images": images[:count], "labels": labels["train"]}
    return prepared(uri, KIND, classes, train, {"images": images[count:], "labels": labels["test"]})


def _splits(uri: str, paths: Listing) -> dict[str, Classes]:
    """The classes for training and for evaluation, after the rules of the layout were checked."""
    if not any(_is_picture(parts) for parts in paths):
        others = [parts[-1] for parts in paths if parts[-1]]
        found = f"has {len(others)} files, such as {others[0]!r}, but no pictures" if others else "is empty"
        raise WorkloadError(f"dataset: {uri!r} {found}; put pictures ({', '.join(SUFFIXES)}) into one folder per class")
    if not any(parts[0] in FEWEST and len(parts) > 2 and _is_picture(parts) for parts in paths):
        whole = _classes(uri, paths, fewest=sum(FEWEST.values()))
        test = {name: held_out(pictures) for name, pictures in whole.items()}
        return {
            split: {
                name: {key: path for key, path in pictures.items() if (key in test[name]) is (split == "test")}
                for name, pictures in whole.items()
            }
            for split in FEWEST
        }
    below = {split: {parts[1:]: path for parts, path in paths.items() if parts[0] == split} for split in FEWEST}
    names = {split: {parts[0] for parts in below[split] if len(parts) > 1} for split in FEWEST}
    for split, other in (("train", "test"), ("test", "train")):
        if not names[split]:
            raise WorkloadError(
                f"dataset: {uri!r} has {other}/ but no class folders in {split}/; give both, or neither"
            )
        if missing := sorted(names[other] - names[split]):
            raise WorkloadError(
                f"dataset: {uri!r} has class {missing[0]!r} in {other}/ but not in {split}/; "
                "both need the same class folders"
            )
    return {split: _classes(f"{uri.rstrip('/')}/{split}", below[split], fewest) for split, fewest in FEWEST.items()}


def _classes(where: str, listing: Listing, fewest: int) -> Classes:
    """The pictures of each class folder in `where`."""
    classes: Classes = {parts[0]: {} for parts in listing if len(parts) > 1}
    loose = sorted(parts[0] for parts in listing if len(parts) == 1 and _is_picture(parts))
    if loose:
        raise WorkloadError(
            f"dataset: {where!r} has {len(loose)} pictures outside a class folder, such as {loose[0]!r}; "
            "move each into the folder of its class"
        )
    for parts, path in listing.items():
        if len(parts) > 1 and _is_picture(parts):
            classes[parts[0]]["/".join(parts[1:])] = path
    if len(classes) < 2:
        raise WorkloadError(
            f"dataset: {where!r} has one class only, {min(classes)!r}; a classifier needs two or more class folders"
        )
    for name, pictures in sorted(classes.items()):
        if len(pictures) < fewest:
            raise WorkloadError(
                f"dataset: class {name!r} in {where!r} has {len(pictures)} pictures, and {fewest} or more are needed; "
                "add pictures, or remove the folder"
            )
    return classes


def _is_picture(parts: tuple[str, ...]) -> bool:
    return parts[-1].lower().endswith(SUFFIXES)


def _decode(fs: Any, paths: list[str], uri: str) -> np.ndarray:
    """uint8 [pictures, channels, height, width]. Headers are read first, so that memory holds only the final size."""
    broken: dict[str, str] = {}

    def header(_: int, image: Image.Image) -> tuple[tuple[int, int], bool]:
        width, height = image.size
        if "exif" in image.info and image.getexif().get(EXIF_ORIENTATION, 1) > 4:  # stored lying on its side
            width, height = height, width
        return (width, height), image.mode in GREY_MODES

    threads = REMOTE_THREADS if fs.async_impl else 1
    headers = [found for found in _each(fs, paths, header, broken, threads) if found]
    shape = _common_shape(headers)
    if isinstance(fs, LocalFileSystem) and any(max(size) > TINY_SIDE for size, _ in headers):
        threads = os.cpu_count() or 1
    images = np.empty((len(paths), *shape), dtype=np.uint8)

    def decode(index: int, image: Image.Image) -> bool:
        images[index] = to_pixels(image, shape)
        return True

    _each(fs, paths, decode, broken, threads)
    if broken:
        named = "; ".join(f"{path} ({reason})" for path, reason in sorted(broken.items())[:NAMED])
        more = f"; and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
        raise WorkloadError(
            f"dataset: {len(broken)} of the {len(paths)} pictures in {uri!r} cannot be decoded: {named}{more}; "
            "replace or remove them"
        )
    return images


def _each(
    fs: Any,
    paths: list[str],
    work: Callable[[int, Image.Image], Result],
    broken: dict[str, str],
    threads: int,
) -> list[Result | None]:
    """`work(index, picture)` for every picture, in that many threads; what fails is noted in `broken` by its path."""

    def block(start: int) -> list[Result | None]:
        results: list[Result | None] = []
        for index in range(start, min(start + BLOCK, len(paths))):
            result = None
            try:
                with Image.open(io.BytesIO(fs.cat_file(paths[index]))) as image:
                    result = work(index, image)
            except Exception as error:  # Pillow raises many kinds for a damaged file
                broken.setdefault(paths[index], _why(error))
            results.append(result)
        return results

    with ThreadPoolExecutor(threads) as pool:
        return [result for results in pool.map(block, range(0, len(paths), BLOCK)) for result in results]


def _common_shape(headers: list[tuple[tuple[int, int], bool]]) -> tuple[int, int, int]:
    """Channels, height and width that all pictures shall have."""
    sizes = Counter(size for size, _ in headers) or Counter({(1, 1): 1})  # no header at all: each is reported as broken
    width, height = max(sizes, key=lambda size: (sizes[size], size))
    if len(sizes) > 1:
        width, height = min(width, LARGEST_SIDE), min(height, LARGEST_SIDE)
    return (1 if all(grey for _, grey in headers) else 3), height, width


def _why(error: Exception) -> str:
    return "not a picture" if isinstance(error, Image.UnidentifiedImageError) else reason(error)
