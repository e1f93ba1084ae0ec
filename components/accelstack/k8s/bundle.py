"""The workloads' source for pods whose image lacks it: a small archive in a ConfigMap, unpacked when a pod starts."""

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterable
from importlib import metadata
from typing import Any

import pulumi
from packaging.requirements import Requirement

from accelstack import fingerprint
from accelstack.k8s.pod import Container, labels

LARGEST = 2**20
"""Bytes that a ConfigMap may hold (https://kubernetes.io/docs/concepts/configuration/configmap/)."""
EARLIEST = (1980, 1, 1, 0, 0, 0)
REGISTRY = ("mlflow",)
SERVING = (
    *("grpcio", "httptools", "onnxruntime", "orjson", "prometheus-client", "python-multipart", "starlette"),
    *("tritonclient", "uvicorn", "uvloop"),
)
"""What they need to register a model, and to serve one."""
STORES = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs"}
"""What reads a store, by the scheme of its URI."""
CODE, PACKAGES = "/scratch/code", "/scratch/packages"
ARCHIVE = "code.zip"


def bundle() -> bytes:
    """A zip of the workloads' package, the same for the same files.

    Raises:
        pulumi.RunError: it is larger than a ConfigMap may be, or the package is not installed.
    """
    root = fingerprint.package_folder(fingerprint.WORKLOADS)
    files = sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in files:
            entry = zipfile.ZipInfo(f"{root.name}/{path.relative_to(root).as_posix()}", EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    packed = content.getvalue()
    if len(packed) > LARGEST:
        raise pulumi.RunError(
            f"the workloads' source is {len(packed)} bytes as a zip, and a ConfigMap holds {LARGEST}; build an image "
            "with it and give that as `image`"
        )
    return packed


def config_map(part_of: str, namespace: pulumi.Input[str]) -> dict[str, Any]:
    """The archive as an object of a component. Its name says its content: no pod ever starts with other code."""
    packed = bundle()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{part_of}-code-{hashlib.sha256(packed).hexdigest()[:8]}",
            "namespace": namespace,
            "labels": labels(part_of),
        },
        "immutable": True,
        "binaryData": {ARCHIVE: base64.b64encode(packed).decode()},
    }


def requirements(*uris: str, extra: Iterable[str] = ()) -> list[str]:
    """Packages that a base image may lack, in the versions that this package asks for.

    Args:
        uris: what is read or written: each scheme has a package of its own.
        extra: beside those of every step, such as `REGISTRY` or `SERVING`.
    """
    names = {*fingerprint.REQUIREMENTS, *extra}
    found = {str(each) for each in map(Requirement, metadata.requires("accelstack") or []) if each.name in names}
    schemes = {uri.partition("://")[0] for uri in uris}
    readers = {package for scheme, package in STORES.items() if scheme in schemes}
    return sorted({*(each.partition(";")[0].strip() for each in found), *readers})


def parts(
    config_map: pulumi.Input[str],
) -> tuple[dict[str, pulumi.Input[str]], dict[str, dict[str, Any]], dict[str, str]]:
    """What a pod and its program have for the bundle: environment, volumes and mounts; `unpacking` goes before it."""
    volumes: dict[str, dict[str, Any]] = {"bundle": {"configMap": {"name": config_map}}, "scratch": {"emptyDir": {}}}
    return {"PYTHONPATH": f"{CODE}:{PACKAGES}"}, volumes, {"scratch": "/scratch"}


def unpacking(base_image: pulumi.Input[str], packages: list[str], index_url: pulumi.Input[str] = "") -> Container:
    """The step before the program: it unpacks the archive and installs packages, both into `/scratch`.

    The pod must have the volumes of `parts`.

    Args:
        index_url: where pip finds packages; its own default if empty.
    """
    install = f'pip install --quiet --no-cache-dir --target {PACKAGES} "$@"'
    return {
        "name": "unpack",
        "image": base_image,
        "command": [
            *("sh", "-c", f"python -m zipfile -e /bundle/{ARCHIVE} {CODE} && {install}", "sh"),
            *packages,
        ],
        "environment": {
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            **({"PIP_INDEX_URL": index_url} if index_url != "" else {}),
        },
        "cpu": "500m",
        "memory": "2Gi",
        "mounts": {"bundle": "/bundle", "scratch": "/scratch"},
        "read_only": ["bundle"],
    }
