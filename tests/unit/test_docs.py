"""The documents: links lead somewhere, examples plan, and nothing that they list is left out."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import accelstack.aws
import pytest
import yaml
from accelstack.plan import plan, platform
from accelstack.plan.findings import errors
from accelstack.plan.request import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
AWS = (ROOT / "docs" / "aws.md").read_text()


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
    components = {name for name in accelstack.aws.__all__ if not name.endswith("Args")}
    assert not components - listed


def test_every_setting_of_the_platform_is_explained() -> None:
    table = re.findall(r"^\| `(\w+)` \|", AWS, flags=re.MULTILINE)
    assert [name for name in table if name in platform.KEYS] == [*platform.KEYS]


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
