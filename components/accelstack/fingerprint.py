"""What a run or a service is made of, as digests: its code and its data. Equal digests mean nothing to do."""

import hashlib
import importlib
import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from accelstack.dynamic import UserError

WORKLOADS = "accelstack_workloads"
SERVING = "serve"
REQUIREMENTS = (
    *("fsspec", "numpy", "pandas", "pillow", "prometheus-client", "psutil", "pyarrow", "rapidfuzz", "safetensors"),
    *("scikit-learn", "scipy", "tokenizers", "typer"),
)
"""Packages that the workloads' training needs besides torch."""
BUNDLED_DATA = {
    "digits": ("sklearn", "datasets/data/digits.csv.gz"),
    "breast-cancer": ("sklearn", "datasets/data/breast_cancer.csv"),
    "python-topics": ("pydoc_data", "topics.py"),
}
"""Datasets that need no download: the installed package that each lies in, and its file there."""
REMOTE_CHECKSUMS = ("ETag", "etag", "md5Hash", "content_md5")  # as S3, HTTP, Google Cloud and Azure list them


def package_folder(name: str) -> Path:
    """Where an installed package lies; it is not imported.

    Raises:
        UserError: it is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"the package {name} is not installed; install accelstack[serve]")
    return Path(spec.submodule_search_locations[0])


def training_code() -> str:
    """Digest of the workload code that a run depends on: all but the serving part."""
    root = package_folder(WORKLOADS)
    return _files(root, (path for path in root.rglob("*.py") if path.relative_to(root).parts[0] != SERVING))


def serving_code() -> str:
    """Digest of all the code and page files that a service depends on."""
    root = package_folder(WORKLOADS)
    return _files(root, (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts))


def _files(root: Path, paths: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(f"{path.relative_to(root)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()[:16]


def data(dataset: str, former_listing: str | None, former_digest: str | None) -> tuple[str, str]:
    """Listing and content digests of a bundled dataset or of the files below a URI.

    Content is read only when the listing (names, sizes, times) is not the former one.

    Raises:
        UserError: the dataset is missing or empty, or its storage cannot be read.
    """
    if dataset in BUNDLED_DATA:
        package, file = BUNDLED_DATA[dataset]
        root = package_folder(package)
        digest = _files(root, [root / file])
        return digest, digest
    if "://" not in dataset and not Path(dataset).is_absolute():
        raise UserError(f"{dataset!r} is relative; use one of {', '.join(BUNDLED_DATA)}, an absolute path, or a URI")
    fsspec: Any = importlib.import_module("fsspec")  # costs a tenth of a second, so only where a URI is used

    try:
        return _folder(fsspec, dataset, former_listing, former_digest)
    except UserError:
        raise
    except Exception as error:  # each storage library raises its own kinds
        reason = str(error) or type(error).__name__
        raise UserError(f"{dataset!r} cannot be read ({reason}); give a bundled dataset or a readable URI") from error


def _folder(fsspec: Any, dataset: str, former_listing: str | None, former_digest: str | None) -> tuple[str, str]:
    file_system, root = fsspec.core.url_to_fs(dataset)
    listed: dict[str, dict[str, Any]] = file_system.find(root, detail=True)
    found = {path: info for path, info in listed.items() if info.get("type") == "file" and not _hidden(path, root)}
    if not found:
        raise UserError(
            f"{dataset!r} is missing or holds no file; use one of {', '.join(BUNDLED_DATA)}, or the URI of a folder or "
            "a file that the workload reads"
        )
    listing = _entries(root, found, lambda path, info: [info.get("size"), info.get("mtime"), _checksum(info)])
    if listing == former_listing and former_digest:
        return listing, former_digest

    def content(path: str, info: dict[str, Any]) -> list[Any]:
        return [_checksum(info) or hashlib.sha256(file_system.cat_file(path)).hexdigest()]

    return listing, _entries(root, found, content)


def _hidden(path: str, root: str) -> bool:
    """Whether the path has a part, below the root, that begins with a dot."""
    return any(part.startswith(".") for part in path.removeprefix(root).split("/"))


def _checksum(info: dict[str, Any]) -> str | None:
    return next((str(info[name]) for name in REMOTE_CHECKSUMS if info.get(name)), None)


def _entries(root: str, found: dict[str, dict[str, Any]], describe: Callable[[str, dict[str, Any]], list[Any]]) -> str:
    total = hashlib.sha256()
    for path in sorted(found):
        total.update(f"{path.removeprefix(root)}\0{describe(path, found[path])}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()[:16]
