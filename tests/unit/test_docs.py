"""The documents: links lead somewhere, examples plan, and nothing that they list is left out."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import accelstack.aws
import accelstack.k8s
import accelstack.private
import pytest
import yaml
from accelstack.plan import inside, plan, platform, private
from accelstack.plan.findings import errors
from accelstack.plan.request import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
AWS = (ROOT / "docs" / "aws.md").read_text()
KUBERNETES = (ROOT / "docs" / "kubernetes.md").read_text()


def prose(text: str) -> str:
    """A page without its code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as they are linked to."""
    titles = re.findall(r"^#+ (.+)$", prose(page.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text())):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_every_component_is_said_to_be_verified() -> None:
    listed = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "verified.md").read_text()))
    offered = [*accelstack.aws.__all__, *accelstack.k8s.__all__, *accelstack.private.__all__]
    plain = {"Canary", "Egress", "Team", "Thresholds"}
    assert not {name for name in offered if not name.endswith("Args")} - plain - listed


def test_every_setting_of_the_platform_is_explained() -> None:
    table = re.findall(r"^\| `(\w+)` \|", AWS, flags=re.MULTILINE)
    assert [name for name in table if name in platform.KEYS] == [
        name for name in platform.KEYS if name not in platform.EXISTING
    ]


def test_every_setting_of_a_cluster_is_explained() -> None:
    settings = KUBERNETES.partition("## Settings")[2].partition("\n## ")[0]
    table = re.findall(r"^\| `(\w+)` \|", settings, flags=re.MULTILINE)
    assert table == [*platform.EXISTING, *inside.KEYS]


def test_the_private_stack_of_the_checkout_is_shown_as_it_is() -> None:
    shown = next(text for text in blocks(KUBERNETES, "yaml") if text.startswith("# stacks/"))
    path = ROOT / shown.splitlines()[0].removeprefix("# ")
    assert yaml.safe_load(path.read_text()) == yaml.safe_load(shown)
    config = {key.removeprefix("accelstack:"): value for key, value in yaml.safe_load(shown)["config"].items()}
    assert not errors(private.decide(config, None).plan.findings)


STACKS = [text for text in blocks(AWS, "yaml") if text.startswith("#")]


@pytest.mark.parametrize("text", STACKS, ids=lambda text: text.splitlines()[0])
def test_example_stacks_plan(text: str) -> None:
    config = {key.removeprefix("accelstack:"): value for key, value in yaml.safe_load(text)["config"].items()}
    assert not set(config) - set(SETTINGS)
    assert not errors(plan.plan(config).findings)


@pytest.mark.parametrize("text", STACKS, ids=lambda text: text.splitlines()[0])
def test_a_stack_of_the_checkout_is_shown_as_it_is(text: str) -> None:
    path = ROOT / text.splitlines()[0].removeprefix("# ")
    shown: dict[str, Any] = yaml.safe_load(text)
    assert shown["secretsprovider"].startswith("awskms://alias/accelstack?")
    assert not path.exists() or yaml.safe_load(path.read_text()) == shown


def test_programs_are_python() -> None:
    programs = [*blocks(AWS, "python"), *re.findall(r"<<'EOF'\n(.*?)^EOF", AWS, flags=re.MULTILINE | re.DOTALL)]
    assert len(programs) == 3
    for text in programs:
        ast.parse(text)


def test_the_policies_are_all_named() -> None:
    for path in (ROOT / "docs").glob("aws-deployer-policy*.json"):
        assert f"]({path.name})" in AWS
        assert json.loads(path.read_text())["Version"] == "2012-10-17"
