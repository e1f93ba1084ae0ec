"""Images, pushed to a registry whose tags never move.

As the provider has it (https://github.com/pulumi/pulumi-docker-build), every change is an update, which builds and
pushes anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.engine.double.types import Inputs, Problem, Situation, Type

TAG = re.compile(r"[a-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)+:[\w][\w.-]{0,127}")


class Build:
    """What Docker's builder takes."""

    properties = frozenset(
        {
            "context",
            "dockerfile",
            "network",
            "target",
            "buildArgs",
            "platforms",
            "tags",
            "registries",
            "push",
            "buildOnPreview",
        }
    )

    def problems(self, inputs: Inputs) -> Iterator[Problem]:
        """What Docker would refuse."""
        for index, tag in enumerate(inputs.get("tags", [])):
            if isinstance(tag, str) and not TAG.fullmatch(tag):
                yield Problem(f"tags[{index}]", f"{tag!r} is no tag of a registry")


def unmoved(situation: Situation) -> Iterator[Problem]:
    """A second build has another digest, and an immutable tag stays with the first."""
    if situation.old and situation.old.inputs["tags"] == situation.inputs["tags"]:
        yield Problem(
            "tags", "tag invalid: the tag exists and cannot be overwritten because the repository is immutable"
        )


TYPES = {
    "docker-build:index:Image": Type(
        calls=[Build()],
        id="sha256:{hex64}",
        outputs={
            "digest": "sha256:{hex64}",
            "contextHash": "{hex64}",
            "ref": lambda made: made.inputs["tags"][0],
        },
        changing="digest ref contextHash",
        rules=[unmoved],
        regional=False,
    )
}
