"""The workloads' source as a ConfigMap: the same each time, and enough to run from."""

from __future__ import annotations

import ast
import base64
import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pulumi
import pytest
from accelstack import fingerprint
from accelstack.k8s import bundle
from packaging.requirements import Requirement

SOURCE = Path(__file__).parents[2] / "workloads" / "accelstack_workloads"


class TestArchive:
    def test_the_same_files_make_the_same_bytes(self) -> None:
        assert bundle.bundle() == bundle.bundle()

    def test_holds_what_is_served_too_and_nothing_compiled(self) -> None:
        names = zipfile.ZipFile(io.BytesIO(bundle.bundle())).namelist()
        assert "accelstack_workloads/__main__.py" in names
        assert "accelstack_workloads/serve/page/page.html" in names
        assert not [name for name in names if "__pycache__" in name]
        assert names == sorted(names)

    def test_runs_as_a_pod_unpacks_it(self, tmp_path: Path) -> None:
        manifest = bundle.config_map("train", "team")
        (tmp_path / "code.zip").write_bytes(base64.b64decode(manifest["binaryData"]["code.zip"]))
        unpack = [sys.executable, "-m", "zipfile", "-e", str(tmp_path / "code.zip"), str(tmp_path / "code")]
        subprocess.run(unpack, check=True)
        shown = subprocess.run(
            [sys.executable, "-c", "import accelstack_workloads as found; print(found.__file__)"],
            env={**os.environ, "PYTHONPATH": str(tmp_path / "code")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert shown.stdout.startswith(str(tmp_path / "code"))
        step = [sys.executable, "-m", "accelstack_workloads", "--help"]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "code")}
        asked = subprocess.run(step, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "train" in asked.stdout

    def test_its_name_says_its_content(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = bundle.config_map("train", "team")
        assert re.fullmatch(r"train-code-[0-9a-f]{8}", before["metadata"]["name"])
        assert before["immutable"] is True
        monkeypatch.setattr(bundle, "bundle", lambda: b"other")
        assert bundle.config_map("train", "team")["metadata"]["name"] != before["metadata"]["name"]

    def test_one_that_no_config_map_holds_is_refused_with_the_fix(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "large.bin").write_bytes(os.urandom(2**20 + 1))
        monkeypatch.setattr(fingerprint, "package_folder", lambda name: tmp_path)
        with pytest.raises(pulumi.RunError, match="build an image"):
            bundle.bundle()


OTHERS = (
    *("serve", "compression", "compress.py", "exports", "export.py", "onnx_model.py", "explanation", "explain.py"),
    *("pipelines", "pipeline.py", "tuning", "tune.py", "signing.py"),
)
"""Parts of the source that no training pod runs."""


class TestPackages:
    def test_each_is_asked_for_in_this_packages_version(self) -> None:
        found = {Requirement(each).name for each in bundle.requirements()}
        assert found == {*fingerprint.REQUIREMENTS}
        serving = {Requirement(each).name for each in bundle.requirements(extra=bundle.SERVING)}
        assert serving == {*fingerprint.REQUIREMENTS, *bundle.SERVING}

    @pytest.mark.parametrize(
        ("uri", "package"), [("s3://a/b", "s3fs"), ("gs://a", "gcsfs"), ("abfs://a@b", "adlfs"), ("file:///store", "")]
    )
    def test_a_store_brings_what_reads_it(self, uri: str, package: str) -> None:
        assert {*bundle.requirements(uri)} - {*bundle.requirements()} == ({package} if package else set())

    def test_what_training_imports_is_installed(self) -> None:
        named = {
            "PIL": "pillow",
            "click": "typer",
            "prometheus_client": "prometheus-client",
            "sklearn": "scikit-learn",
            "sqlalchemy": "mlflow",
        }
        there = {*fingerprint.REQUIREMENTS, *bundle.REGISTRY, "torch", "accelstack_workloads", *sys.stdlib_module_names}
        for path in (path for path in SOURCE.rglob("*.py") if not {*OTHERS} & {*path.relative_to(SOURCE).parts}):
            imported = {name.partition(".")[0] for name in imports(ast.parse(path.read_text()))}
            assert {named.get(name, name) for name in imported} <= there, path.name

    def test_an_own_index_is_used(self) -> None:
        step = bundle.unpacking("base", ["numpy>=2"], "https://packages.example/simple")
        assert step.get("environment", {})["PIP_INDEX_URL"] == "https://packages.example/simple"
        assert step.get("command", [])[-1] == "numpy>=2"
        assert "PIP_INDEX_URL" not in bundle.unpacking("base", []).get("environment", {})


def imports(tree: ast.Module) -> Iterator[str]:
    """What a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
