"""References of images and charts, and where a mirror has them."""

import re
from dataclasses import dataclass

DOCKER = "docker.io"
PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::[0-9]+)?"
LONGEST = 255
"""Characters of a path that registries take."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image's reference (grammar: https://pkg.go.dev/github.com/distribution/reference)."""

    host: str
    """The registry, with its port if it names one; `docker.io` where none is written."""
    path: str
    """Such as `library/postgres`."""
    tag: str = ""
    digest: str = ""
    """`sha256:` and 64 hexadecimal digits; empty if there is none."""

    @property
    def name(self) -> str:
        """The image without tag and digest."""
        return f"{self.host}/{self.path}"

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(reference: str) -> Image:
    """The parts of a reference, as Docker and containerd read it.

    Raises:
        ValueError: it is none, with the rule that it breaks.
    """
    rest, at, digest = reference.partition("@")
    if at and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise ValueError(f"{reference!r}: a digest is sha256: and 64 lowercase hexadecimal digits")
    tag = ""
    if ":" in rest.rpartition("/")[2]:
        rest, _, tag = rest.rpartition(":")
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", tag):
            raise ValueError(f"{reference!r}: a tag is up to 128 letters, digits, '_', '.' and '-'")
    host, slash, path = rest.partition("/")
    if not slash or not _is_host(host):
        host, path = DOCKER, rest
    if not re.fullmatch(HOST, host):
        raise ValueError(f"{reference!r}: a registry is a DNS name or an address, with a port or without")
    host = DOCKER if host == f"index.{DOCKER}" else host
    if host == DOCKER and "/" not in path:
        path = f"library/{path}"
    if not re.fullmatch(f"{PART}(?:/{PART})*", path) or len(path) > LONGEST:
        rule = "a name is lowercase letters and digits, with '.', '_' and '-' inside and '/' between its parts"
        raise ValueError(f"{reference!r}: {rule}, up to {LONGEST} characters")
    return Image(host, path, tag, digest)


def mirrored(reference: str, mirror: str) -> str:
    """An image as it lies in a mirror: its whole name, registry included, under the mirror's prefix.

    Two images of different registries never meet there, and one that is there already stays as it is. The colon of a
    registry's port, which no path may have, becomes `_`.

    Args:
        mirror: registry and path, such as `harbor.example.com/mirror`; empty for none.

    Raises:
        ValueError: the reference or the mirror is malformed.
    """
    if not mirror:
        return reference
    image, prefix = parse(reference), _prefix(mirror)
    if f"{image.name}/".startswith(f"{prefix}/"):
        return str(image)
    return str(parse(f"{prefix}/{image.host.replace(':', '_').lower()}/{str(image).partition('/')[2]}"))


def mirrored_chart(chart: str, repository: str, mirror: str) -> str:
    """A chart as it lies in a mirror: an `oci://` reference, with the address of its repository under the prefix.

    Args:
        chart: an `oci://` reference, or its name in `repository`.
        repository: URL of a chart repository; empty with an `oci://` reference.
        mirror: as for images; empty for none, which gives `chart` back.

    Raises:
        ValueError: the chart or the mirror is malformed, or a chart's name has no repository.
    """
    if not mirror:
        return chart
    if not chart.startswith("oci://") and not repository:
        raise ValueError(f"{chart!r}: a chart is an oci:// reference, or a name with the URL of its repository")
    whole = chart if chart.startswith("oci://") else f"{repository.rstrip('/')}/{chart}"
    return "oci://" + mirrored(whole.partition("://")[2], mirror)


def mirror_problem(mirror: str) -> str:
    """Why a mirror is refused; empty for one that is taken, and for none."""
    try:
        mirrored("probe", mirror)
    except ValueError as error:
        return str(error)
    return ""


def _is_host(first: str) -> bool:
    """Whether the first part of a name is a registry, and no part of its path."""
    return "." in first or ":" in first or first == "localhost" or first != first.lower()


def _prefix(mirror: str) -> str:
    text = mirror.removeprefix("oci://").rstrip("/")
    host, slash, path = text.partition("/")
    if not (_is_host(host) and re.fullmatch(HOST, host)) or (slash and not re.fullmatch(f"{PART}(?:/{PART})*", path)):
        rule = "a mirror is a registry, with a path or without, such as harbor.example.com/mirror"
        raise ValueError(f"{mirror!r}: {rule}")
    return text
