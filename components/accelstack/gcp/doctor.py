"""What is in the way of a stack on Google Cloud."""

from collections.abc import Sequence
from typing import Any

from google.auth.exceptions import GoogleAuthError
from googleapiclient.errors import HttpError  # pyright: ignore[reportMissingTypeStubs]

from accelstack.checks import Check, State, reachable
from accelstack.gcp.account import login, service
from accelstack.plan.pool import PoolPlan

APIS = (
    "artifactregistry.googleapis.com",
    "cloudkms.googleapis.com",
    "compute.googleapis.com",
    "container.googleapis.com",
    "iam.googleapis.com",
    "storage.googleapis.com",
)
"""What a stack calls."""
PERMISSIONS = (
    "compute.networks.create",
    "compute.routers.create",
    "container.clusters.create",
    "cloudkms.keyRings.create",
    "iam.serviceAccounts.create",
    "resourcemanager.projects.setIamPolicy",
    "storage.buckets.create",
)
"""What making a stack needs first."""
Unseen = (HttpError, GoogleAuthError, OSError)


def checks(region: str, pools: Sequence[PoolPlan], cluster: str, project: str = "", http: Any = None) -> list[Check]:
    """Credentials, enabled APIs, permissions, machine types and the cluster's API, in that order; with the default
    credentials and their project, if left out."""
    name, log_in = "credentials", "gcloud auth application-default login"
    try:
        if http is None:
            http, named = login()
            project = project or named or ""
        if not project:
            first = Check(name, State.FAILED, "name no project", "gcloud config set project PROJECT")
            return [first, *_unchecked("needs a project")]
        service("cloudresourcemanager", "v1", http).projects().get(projectId=project).execute()
    except GoogleAuthError as error:
        return [Check(name, State.FAILED, str(error), log_in), *_unchecked("needs credentials")]
    except HttpError as error:  # a login that may not read the project is a login
        if error.resp.status == 401:  # pyright: ignore[reportUnknownMemberType]
            return [Check(name, State.FAILED, str(error), log_in), *_unchecked("needs credentials")]
    except OSError as error:
        return [Check(name, State.UNCHECKED, f"Google cannot be reached ({error})"), *_unchecked("offline")]
    zones = sorted({zone for pool in pools for zone in pool.terms.zones})
    return [
        Check(name, State.OK, f"project {project}"),
        _apis(project, http),
        _permissions(project, http),
        _machines(project, zones, [pool.machine.name for pool in pools], http),
        _cluster(project, region, cluster, http),
    ]


def _unchecked(reason: str) -> list[Check]:
    return [Check(name, State.UNCHECKED, reason) for name in ("APIs", "permissions", "machine types", "cluster API")]


def _apis(project: str, http: Any) -> Check:
    names = [f"projects/{project}/services/{api}" for api in APIS]
    try:
        answer = (
            service("serviceusage", "v1", http).services().batchGet(parent=f"projects/{project}", names=names).execute()
        )
    except Unseen as error:
        return Check("APIs", State.UNCHECKED, str(error))
    off = [each["name"].rpartition("/")[2] for each in answer["services"] if each.get("state") != "ENABLED"]
    if off:
        return Check("APIs", State.FAILED, f"not enabled: {', '.join(off)}", f"gcloud services enable {' '.join(off)}")
    return Check("APIs", State.OK, f"{len(APIS)} are enabled")


def _permissions(project: str, http: Any) -> Check:
    try:
        client = service("cloudresourcemanager", "v1", http)
        body = {"permissions": list(PERMISSIONS)}
        answer = client.projects().testIamPermissions(resource=project, body=body).execute()
    except Unseen as error:
        return Check("permissions", State.UNCHECKED, str(error))
    missing = [name for name in PERMISSIONS if name not in answer.get("permissions", [])]
    if missing:
        fix = f"gcloud projects add-iam-policy-binding {project} --member=… --role=… with a role that has them"
        return Check("permissions", State.FAILED, f"missing: {', '.join(missing)}", fix)
    return Check("permissions", State.OK, f"{len(PERMISSIONS)} that a stack begins with are granted")


def _machines(project: str, zones: Sequence[str], machines: Sequence[str], http: Any) -> Check:
    name = "machine types"
    if not machines:
        return Check(name, State.UNCHECKED, "no plan was given")
    try:
        client = service("compute", "v1", http)
        there: dict[str, list[str]] = {machine: [] for machine in machines}
        for zone in zones:
            wanted = " OR ".join(f'(name = "{machine}")' for machine in there)
            answer = client.machineTypes().list(project=project, zone=zone, filter=wanted).execute()
            for each in answer.get("items", []):
                there.setdefault(each["name"], []).append(zone)
    except Unseen as error:
        return Check(name, State.UNCHECKED, str(error))
    missing = [machine for machine, where in there.items() if not where]
    if missing:
        fix = "choose other zones; `accelstack plan --compare` lists them"
        return Check(name, State.FAILED, f"{', '.join(missing)} in none of {', '.join(zones)}", fix)
    return Check(name, State.OK, "; ".join(f"{machine} in {', '.join(where)}" for machine, where in there.items()))


def _cluster(project: str, region: str, cluster: str, http: Any) -> Check:
    name = "cluster API"
    try:
        client = service("container", "v1", http).projects().locations().clusters()
        found = client.get(name=f"projects/{project}/locations/{region}/clusters/{cluster}").execute()
    except HttpError as error:
        status: Any = error.resp
        if int(status.status) == 404:
            return Check(name, State.UNCHECKED, f"there is no cluster {cluster} yet")
        return Check(name, State.UNCHECKED, str(error))
    except (GoogleAuthError, OSError) as error:
        return Check(name, State.UNCHECKED, str(error))
    dns = found.get("controlPlaneEndpointsConfig", {}).get("dnsEndpointConfig", {}).get("endpoint")
    fix = "use the DNS endpoint, or run inside its network"
    host = dns or found.get("endpoint")
    if not host:
        return Check(name, State.UNCHECKED, f"{cluster} is {found.get('status', 'not ready')}")
    return reachable(name, host, 443, fix)
