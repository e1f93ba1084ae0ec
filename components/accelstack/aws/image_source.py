"""What an image is made of, and a tag that changes with it: where tags never move, one that stays would be refused."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from accelstack.plan.findings import Finding, Severity

TAG_LENGTH = 20
"""Hexadecimal digits of a tag: 80 bits, so that no two images of a repository share one by chance."""


def check(context: str, dockerfile: str) -> Iterator[Finding]:
    """The finding that there is no such Dockerfile."""
    if not (Path(context) / dockerfile).is_file():
        rule = f"there is no such file in {Path(context).absolute()}"
        yield Finding(Severity.ERROR, "dockerfile", dockerfile, rule, "name the folder and the Dockerfile in it")


def tag(context: str, dockerfile: str, settings: Mapping[str, object]) -> str:
    """The tag of the image: a digest of its Dockerfile, of the files that Docker is sent, and of how it is built.

    It covers all that makes pulumi-docker-build build again: the paths as given, and the files' modes, too.
    """
    folder = Path(context)
    digest = hashlib.sha256(json.dumps([context, dockerfile, settings], sort_keys=True).encode())
    digest.update((folder / dockerfile).read_bytes())
    for path in sent(folder, dockerfile):
        content = (folder / path).read_bytes()
        mode = (folder / path).stat().st_mode & 0o777
        digest.update(f"\0{path}\0{mode:o}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:TAG_LENGTH]


def sent(folder: Path, dockerfile: str) -> list[str]:
    """Paths of the files in a folder that Docker is sent: those that its ignore file does not leave out, sorted.

    The ignore file is the Dockerfile's own, else the folder's
    (https://docs.docker.com/build/concepts/context/#dockerignore-files).
    """
    candidates = (folder / f"{dockerfile}.dockerignore", folder / ".dockerignore")
    ignore = next((each.read_text() for each in candidates if each.is_file()), "")
    patterns = [_pattern(line) for line in map(str.strip, ignore.splitlines()) if line and not line.startswith("#")]
    return sorted(_walk(folder, "", patterns))


@dataclass(frozen=True, slots=True)
class _Pattern:
    text: str
    whole: re.Pattern[str]
    """Matches a path, and all that is below it."""
    keeps: bool


def _pattern(line: str) -> _Pattern:
    text = line.removeprefix("!").strip("/")
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", text)
    regex = "".join(wild.get(part, re.escape(part)) for part in parts)
    return _Pattern(text, re.compile(rf"{regex}(?:/.*)?"), line.startswith("!"))


def _walk(folder: Path, below: str, patterns: list[_Pattern]) -> Iterator[str]:
    for entry in (folder / below).iterdir():
        path = f"{below}{entry.name}"
        # the last pattern that matches decides
        kept = next((each.keeps for each in reversed(patterns) if each.whole.fullmatch(path)), True)
        if entry.is_dir():
            if kept or any(each.keeps and each.text.startswith(f"{path}/") for each in patterns):
                yield from _walk(folder, f"{path}/", patterns)
        elif kept:
            yield path
