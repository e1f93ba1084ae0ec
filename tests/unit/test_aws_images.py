"""The workloads' image: what it is made of, when it is built again, and what its Dockerfile keeps to."""

import json
import re
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pulumi
import pytest
from accelstack.aws import image_source, images

from tools.packages import UV_VERSION

CHECKOUT = Path(__file__).resolve().parents[2]
DOCKERFILE = "workloads/Dockerfile"
LINES = [
    line
    for line in (CHECKOUT / DOCKERFILE).read_text().replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]


def words(instruction: str) -> list[list[str]]:
    return [line.split()[1:] for line in LINES if line.split()[0] == instruction]


class TestDockerfile:
    def test_ends_as_a_user_that_kubernetes_lets_run_as_non_root(self) -> None:
        last_stage = LINES[max(index for index, line in enumerate(LINES) if line.startswith("FROM")) :]
        (user,) = [line.split()[1] for line in last_stage if line.startswith("USER")]
        assert all(int(part) > 10_000 for part in user.split(":"))

    def test_stands_on_one_base_whose_tag_says_its_version(self) -> None:
        stages = {line[2] for line in words("FROM") if len(line) == 3}
        assert {line[0] for line in words("FROM")} <= {"${BASE}", *stages}
        base = dict(each[0].split("=") for each in words("ARG"))["BASE"]
        assert re.fullmatch(r"public\.ecr\.aws/[a-z/]+:3\.\d+-[a-z-]+", base)

    def test_copies_what_docker_is_sent_and_docker_is_sent_no_more(self) -> None:
        copied = [name for line in words("COPY") if not line[0].startswith("--from=") for name in line[:-1]]
        sent = image_source.sent(CHECKOUT, DOCKERFILE)
        assert sent
        assert all(any(path == name or path.startswith(f"{name}/") for name in copied) for path in sent)
        assert all(any(path == name or path.startswith(f"{name}/") for path in sent) for name in copied)

    def test_installs_the_locked_packages_with_the_checkouts_own_uv(self) -> None:
        (sync,) = [line for line in words("RUN") if "sync" in line]
        assert "--frozen" in sync
        extras = {name for flag, name in pairwise(sync) if flag == "--extra"}
        project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
        assert extras == {"serve", "workloads", "stores"}
        assert extras <= {*project["optional-dependencies"]}
        assert ["UV=" + UV_VERSION] in words("ARG")

    def test_runs_the_workloads_command_line(self) -> None:
        assert json.loads(" ".join(words("ENTRYPOINT")[0])) == ["python", "-m", "accelstack_workloads"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("Dockerfile", "code/a.py", "code/deep/b.py", "code/__pycache__/a.pyc", ".venv/big", "notes.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".dockerignore").write_text("# no comment\n*\n!code\n!*.md\n**/__pycache__\n")
    return tmp_path


class TestTag:
    def test_docker_is_sent_what_its_ignore_file_leaves(self, folder: Path) -> None:
        assert image_source.sent(folder, "Dockerfile") == ["code/a.py", "code/deep/b.py", "notes.md"]

    def test_a_dockerfiles_own_ignore_file_comes_first(self, folder: Path) -> None:
        (folder / "Dockerfile.dockerignore").write_text("*\n!code/deep/*.py")
        assert image_source.sent(folder, "Dockerfile") == ["code/deep/b.py"]

    @pytest.mark.parametrize(
        "change",
        [
            lambda folder: (folder / "code/a.py").write_text("other"),
            lambda folder: (folder / "code/a.py").rename(folder / "code/c.py"),
            lambda folder: (folder / "code/a.py").chmod(0o755),
            lambda folder: (folder / "code/new.py").write_text(""),
            lambda folder: (folder / "Dockerfile").write_text("FROM scratch"),
        ],
        ids=["content", "name", "mode", "new file", "Dockerfile"],
    )
    def test_changes_with_what_the_image_is_made_of(self, folder: Path, change: Callable[[Path], Any]) -> None:
        before = image_source.tag(str(folder), "Dockerfile", {})
        change(folder)
        assert image_source.tag(str(folder), "Dockerfile", {}) != before

    def test_stays_with_what_docker_is_not_sent(self, folder: Path) -> None:
        before = image_source.tag(str(folder), "Dockerfile", {})
        (folder / ".venv/big").write_text("bigger")
        (folder / "code/__pycache__/b.pyc").write_text("")
        assert image_source.tag(str(folder), "Dockerfile", {}) == before

    def test_changes_with_how_it_is_built(self, folder: Path) -> None:
        assert len({image_source.tag(str(folder), "Dockerfile", {"base": base}) for base in ("a", "b")}) == 2


class TestImageRepository:
    @pytest.mark.parametrize(
        ("args", "path", "said"),
        [
            ({"image": "nginx:latest"}, "image", "registry/name@sha256:"),
            ({"image": f"ghcr.io/a/b@sha256:{'0' * 63}"}, "image", "registry/name@sha256:"),
            ({"image": f"ghcr.io/a/b@sha256:{'0' * 64}", "context": str(CHECKOUT)}, "image", "name one of them"),
            ({"context": str(CHECKOUT / "absent")}, "dockerfile", "there is no such file"),
            ({"platforms": ["linux/arm"]}, "platforms[0]", "linux/arm64"),
        ],
    )
    def test_refuses_what_it_cannot_do_with_the_fix(self, args: dict[str, Any], path: str, said: str) -> None:
        with pytest.raises(pulumi.InputPropertyError) as refused:
            images.ImageRepository("images", args)  # pyright: ignore[reportArgumentType]
        assert refused.value.property_path == path
        assert said in refused.value.reason

    def test_keeps_the_newest_images_and_drops_remains(self) -> None:
        untagged, tagged = json.loads(images.lifecycle(14, 100))["rules"]
        assert (untagged["selection"]["tagStatus"], untagged["selection"]["countNumber"]) == ("untagged", 14)
        assert (tagged["selection"]["tagStatus"], tagged["selection"]["countNumber"]) == ("tagged", 100)


def test_the_repository_of_an_image_is_where_its_reference_says() -> None:
    image = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/vision:v1@sha256:{'a' * 64}"
    assert images.repository(image, "aws") == "arn:aws:ecr:eu-west-1:123456789012:repository/team/vision"
