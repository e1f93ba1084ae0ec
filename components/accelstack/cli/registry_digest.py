"""Digests of images, as their registries tell them.

API: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#checking-if-content-exists-in-the-registry,
tokens: https://distribution.github.io/distribution/spec/auth/token/.
"""

import re
from collections.abc import Mapping

import urllib3

from accelstack.plan.images import DOCKER, Image

ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
"""Images of all architectures first: a digest of one's manifest would run on that one alone."""
HUB = "registry-1.docker.io"
"""Where the API of docker.io is."""
LOOPBACK = r"(?:localhost|127\.0\.0\.1)(?::\d+)?"
"""Registries that speak plain HTTP, as Docker has it."""
PATIENCE = urllib3.Timeout(connect=10, read=30)


class UnresolvedError(Exception):
    """A registry does not tell an image's digest; the text says why."""


def digest(image: Image) -> str:
    """The digest of an image by tag or digest: `sha256:…`, of its index where it has one.

    The registry is asked without a login.

    Raises:
        UnresolvedError: it cannot be reached, does not have the image, wants a login, or tells no digest.
    """
    host = HUB if image.host == DOCKER else image.host
    url = f"{_scheme(host)}://{host}/v2/{image.path}/manifests/{image.digest or image.tag}"
    headers = {"Accept": ACCEPT}
    answer = _ask("HEAD", url, headers)
    if answer.status == 401:
        token = _token(image, answer.headers.get("WWW-Authenticate", ""))
        answer = _ask("HEAD", url, {**headers, "Authorization": f"Bearer {token}"})
    if answer.status in (401, 403):
        raise UnresolvedError(f"{image.host} wants a login for it")
    if answer.status == 404:
        raise UnresolvedError(f"{image.host} does not have it")
    if answer.status != 200:
        raise UnresolvedError(f"{image.host} answers with {answer.status}")
    found = answer.headers.get("Docker-Content-Digest", "")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", found):
        raise UnresolvedError(f"{image.host} tells no digest of it{f', but {found!r}' if found else ''}")
    if image.digest and found != image.digest:
        raise UnresolvedError(f"{image.host} says that it is {found}")
    return found


def _token(image: Image, challenge: str) -> str:
    """A token that anybody may have, from where the registry says."""
    scheme, _, rest = challenge.partition(" ")
    said: dict[str, str] = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    realm = said.pop("realm", "")
    if scheme.lower() != "bearer" or not realm:
        raise UnresolvedError(f"{image.host} wants a login for it")
    if not re.match(rf"https://|http://{LOOPBACK}/", realm):
        raise UnresolvedError(f"{image.host} gives tokens at {realm}, which is not encrypted")
    fields = {key: said[key] for key in ("service", "scope") if key in said}
    answer = _ask("GET", realm, {}, fields)
    if answer.status != 200:
        raise UnresolvedError(f"{image.host} wants a login for it: {realm} answers with {answer.status}")
    try:
        given = answer.json()
        return str(given.get("token") or given["access_token"])
    except (AttributeError, KeyError, ValueError):
        raise UnresolvedError(f"{realm} answers without a token") from None


def _scheme(host: str) -> str:
    return "http" if re.fullmatch(LOOPBACK, host) else "https"


def _ask(
    method: str, url: str, headers: Mapping[str, str], fields: Mapping[str, str] | None = None
) -> urllib3.BaseHTTPResponse:
    try:
        return urllib3.request(method, url, headers=headers, fields=fields, timeout=PATIENCE, retries=3)
    except urllib3.exceptions.HTTPError as error:
        cause = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason else error
        raise UnresolvedError(f"{url} cannot be reached: {cause}") from None
