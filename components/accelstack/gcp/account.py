"""What a Google Cloud project may use of its quotas, from Compute Engine and the Cloud Quotas API."""

import json
from collections.abc import Sequence
from typing import Any

import google.auth
from google_auth_httplib2 import AuthorizedHttp  # pyright: ignore[reportMissingTypeStubs]
from googleapiclient import discovery  # pyright: ignore[reportMissingTypeStubs]
from httplib2 import Http

from accelstack.plan.quota import Limit, Need


def login() -> tuple[Any, str | None]:
    """HTTP with the application's default credentials, and the project that they name.

    Raises:
        google.auth.exceptions.DefaultCredentialsError: there are none.
    """
    auth: Any = google.auth
    credentials, project = auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    return AuthorizedHttp(credentials, http=Http(timeout=20)), project


def service(name: str, version: str, http: Any) -> Any:
    """A client of one of Google's APIs, from the document that the package carries; nothing is fetched for it."""
    typed: Any = discovery
    return typed.build(name, version, http=http, cache_discovery=False, static_discovery=True)


def limits(region: str, needs: Sequence[Need], project: str = "", http: Any = None) -> dict[str, Limit]:
    """The project's limit and use of each quota, by name; for newer quotas Google tells the limit alone. One that may
    not be read is left out. With the default credentials and their project, if left out.

    Raises:
        google.auth.exceptions.GoogleAuthError: there are no credentials that work.
        googleapiclient.errors.HttpError: the project's quotas may not be read.
        OSError: Google cannot be reached.
    """
    if http is None:
        http, named = login()
        project = project or named or ""
    compute = service("compute", "v1", http)
    scopes = {need.scope for need in needs if "-" not in need.quota}
    rows: list[dict[str, Any]] = []
    if "region" in scopes:
        rows += compute.regions().get(project=project, region=region).execute()["quotas"]
    if "global" in scopes:
        rows += compute.projects().get(project=project).execute()["quotas"]
    found = {row["metric"]: Limit(row["limit"], row["usage"]) for row in rows}
    for need in needs:
        limit = _newer(http, project, need) if "-" in need.quota else None
        if limit is not None:
            found[need.quota] = Limit(limit, None)
    return {need.quota: found[need.quota] for need in needs if need.quota in found}


def _newer(http: Any, project: str, need: Need) -> float | None:
    """The limit of `<quota id>:<value of its other dimension>` in the region, from an API that googleapiclient has no
    document of."""
    quota, _, family = need.quota.partition(":")
    path = f"projects/{project}/locations/global/services/{need.service}/quotaInfos/{quota}"
    status, content = http.request(f"https://cloudquotas.googleapis.com/v1/{path}")
    if status.status != 200:
        return None
    best: float | None = None
    for entry in json.loads(content).get("dimensionsInfos", []):
        dimensions: dict[str, str] = entry.get("dimensions", {})
        others = [value for key, value in dimensions.items() if key not in ("region", "zone")]
        if dimensions.get("region", need.region) != need.region or (others and family not in others):
            continue
        best = float(entry["details"].get("value", 0))
        if "region" in dimensions:  # the entry for the region alone is the most exact
            return best
    return best
