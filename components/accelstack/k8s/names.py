"""Names of components that become names of objects."""

import re

import pulumi

LABEL = 63
"""Most characters of a Service's name and of a label's value."""


def checked_name(name: str, most: int = LABEL) -> str:
    """The component's name, refused where the objects that are named after it could not have theirs.

    Args:
        most: characters that leave room for what is put behind it.

    Raises:
        pulumi.InputPropertyError: it is no DNS label
            (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/), or too long.
    """
    if len(name) > most:
        raise pulumi.InputPropertyError("name", f"{name!r} has {len(name)} characters; use {most} at most")
    if not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name):
        reason = f"{name!r} is no name of Kubernetes objects; use small letters, digits and hyphens, a letter first"
        raise pulumi.InputPropertyError("name", reason)
    return name
