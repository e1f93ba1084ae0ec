"""What a stack has beside its pools: where workloads run, the network's way in and out, shared files, protection."""

import re
from dataclasses import dataclass
from ipaddress import ip_network

from accelstack.plan import network, pricing, readers
from accelstack.plan.findings import Finding, Severity, one_of
from accelstack.plan.readers import SWITCH, TEXT, WHOLE, WORDS, Keys

RUNS_ON = ("cluster", "managed")
NAT = ("per_zone", "single")
AUTOSCALERS = ("cluster_autoscaler", "karpenter")
LUSTRE_THROUGHPUT = (125, 250, 500, 1000)
"""MB/s for each TiB of a PERSISTENT_2 file system (https://docs.aws.amazon.com/fsx/latest/APIReference/
API_CreateFileSystemLustreConfiguration.html)."""
LUSTRE_STEP = 2400
"""GiB: sizes of PERSISTENT_2 on SSD are 1,200 and multiples of this (same page)."""
ENDPOINTS = (
    "autoscaling",
    "ec2",
    "ecr.api",
    "ecr.dkr",
    "eks",
    "eks-auth",
    "fsx",
    "logs",
    "sagemaker.api",
    "sagemaker.runtime",
    "sts",
)
"""What nodes, their add-ons and SageMaker call all the time, and a network reaches without NAT; S3 has a gateway of its
own, free. Left out, and reached through NAT, are `sqs` and `ssm`, which Karpenter alone calls; `kms`, which services
call inside AWS; and `elasticfilesystem` and `elasticloadbalancing`, called only when a volume or a load balancer is
made."""

KEYS: Keys = {
    "runs_on": (TEXT, "cluster"),
    "network": (TEXT, ""),
    "private_subnets": (WORDS, ()),
    "gpu_subnets": (WORDS, ()),
    "public_subnets": (WORDS, ()),
    "nat": (TEXT, "per_zone"),
    "ipv6": (SWITCH, False),
    "api_access": (WORDS, ()),
    "admins": (WORDS, ()),
    "autoscaler": (TEXT, "cluster_autoscaler"),
    "lustre_gib": (WHOLE, 0),
    "lustre_throughput": (WHOLE, 125),
    "shared_files": (SWITCH, False),
    "replica_region": (TEXT, ""),
    "image": (TEXT, ""),
    "alerts": (WORDS, ()),
    "production": (SWITCH, False),
    "kubeconfig": (TEXT, ""),
    "context": (TEXT, ""),
    "store": (TEXT, ""),
    "store_endpoint": (TEXT, ""),
    "store_secret": (TEXT, ""),
    "store_namespace": (TEXT, ""),
    "pull_secret": (TEXT, ""),
}
"""Settings of a stack's platform, with their defaults."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What a stack has beside its pools, as asked for."""

    runs_on: str
    """`cluster` (Kubernetes) or `managed` (the cloud's own platform for training and serving)."""
    network: str
    """Id of an existing network to use; empty to make one."""
    private_subnets: tuple[str, ...]
    """Ids of the existing network's subnets for nodes and endpoints, in two zones or more."""
    gpu_subnets: tuple[str, ...]
    """Ids of its subnets for GPU nodes; the private ones if left out."""
    public_subnets: tuple[str, ...]
    """Ids of its subnets for load balancers that face the internet; none if left out."""
    nat: str
    """`per_zone` (no zone depends on another) or `single` (cheaper)."""
    ipv6: bool
    """Whether the network has IPv6 addresses too."""
    api_access: tuple[str, ...]
    """Address ranges that may reach the cluster's API from outside the network; none keeps it private."""
    admins: tuple[str, ...]
    """Identities that administer the cluster, beside the one that made it; on AWS ARNs of roles or users."""
    autoscaler: str
    """`cluster_autoscaler` or `karpenter`."""
    lustre_gib: int
    """GiB of a Lustre file system linked to the object store; 0 for none."""
    lustre_throughput: int
    """Its MB/s for each TiB."""
    shared_files: bool
    """Whether there is a shared file system (NFS) too."""
    replica_region: str
    """Second region to which the object store is replicated; empty for none."""
    image: str
    """Workload image by digest (`…@sha256:…`); empty to build it."""
    alerts: tuple[str, ...]
    """E-mail addresses that hear when the budget runs out."""
    production: bool
    """Whether data and keys are protected and `make down` is refused."""
    kubeconfig: str
    """File that says how to reach an existing cluster; empty for kubectl's own choice."""
    context: str
    """Its context; empty for the current one."""
    store: str
    """Existing object store: `s3://bucket/prefix`, `nfs://server/path` or `pvc://claim`."""
    store_endpoint: str
    """URL of an S3 that is not AWS's."""
    store_secret: str
    """Secret with the store's credentials, as `<namespace>/<name>`."""
    store_namespace: str
    """Namespace of an S3 that runs in the same cluster; empty for one outside of it."""
    pull_secret: str
    """Secret with the credentials of an own image registry, as `<namespace>/<name>`."""


EXISTING = ("kubeconfig", "context", "store", "store_endpoint", "store_secret", "store_namespace", "pull_secret")
"""Settings of a private cluster, which a cloud's stack makes itself."""
USUAL = Platform(**readers.defaults(KEYS))


def check(platform: Platform, target: str) -> list[Finding]:
    """What a stack's platform settings break."""
    if target != "aws":
        return [
            Finding(Severity.ERROR, key, str(value), f"is not provisioned on {target} yet", "leave it out")
            for key, (_, default) in KEYS.items()
            if (value := getattr(platform, key)) != default and key not in ("alerts", "production")
        ]
    found: list[Finding | None] = [
        *(
            Finding(Severity.ERROR, key, value, f"means nothing on {target}, which makes its own", "leave it out")
            for key in EXISTING
            if (value := getattr(platform, key))
        ),
        one_of("runs_on", platform.runs_on, RUNS_ON, "place for workloads"),
        one_of("nat", platform.nat, NAT, "kind of NAT"),
        one_of("autoscaler", platform.autoscaler, AUTOSCALERS, "autoscaler"),
        _lustre(platform),
        *_network(platform),
        *(_address_range(text) for text in platform.api_access),
        *(_pattern("admins", text, ARN, "ARN of a role or user", "arn:aws:iam::…:role/…") for text in platform.admins),
        *(_pattern("alerts", text, ADDRESS, "e-mail address", "name@example.com") for text in platform.alerts),
    ]
    managed = platform.runs_on == "managed"
    if platform.image and managed:
        example = "<account>.dkr.ecr.<region>.amazonaws.com/name@sha256:…"
        found.append(_pattern("image", platform.image, ECR_IMAGE, "image in ECR with its digest", example))
    elif platform.image:
        found.append(_pattern("image", platform.image, IMAGE, "image with its digest", "…/name@sha256:…"))
    if platform.replica_region:
        found.append(_pattern("replica_region", platform.replica_region, REGION, "region's name", "us-west-2"))
    if len(platform.alerts) > MOST_ADDRESSES:
        reason, fix = f"AWS tells at most {MOST_ADDRESSES} addresses", "use a mailing list"
        found.append(Finding(Severity.ERROR, "alerts", f"{len(platform.alerts)} addresses", reason, fix))
    if managed:
        found += [
            Finding(Severity.ERROR, key, str(getattr(platform, key)), "is of a cluster, and there is none", LEAVE_OUT)
            for key in CLUSTER_ALONE
            if getattr(platform, key) != getattr(USUAL, key)
        ]
    if platform.runs_on == "cluster" and not platform.api_access:
        found.append(PRIVATE_API)
    return [finding for finding in found if finding]


def services(platform: Platform, target: str, zones: int) -> list[tuple[str, str, float]]:
    """What a stack runs beside its pools all month: a name, the item of the rates table and its units."""
    hours = pricing.HOURS_A_MONTH
    found: list[tuple[str, str, float]] = []
    if platform.runs_on == "cluster":
        found.append(("control plane", "control_plane", hours))
    if target != "aws":
        return found
    if not platform.network:
        gateways = zones if platform.nat == "per_zone" else 1
        found.append((f"NAT in {gateways} {'zone' if gateways == 1 else 'zones'}", "nat_gateway", gateways * hours))
        places = min(zones, network.HOME_ZONES)
        found.append((f"private endpoints in {places} zones", "endpoint", len(ENDPOINTS) * places * hours))
    if platform.lustre_gib:
        found.append(("Lustre", f"lustre_{platform.lustre_throughput}", platform.lustre_gib))
    return found


ARN = r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/[\w+=,.@/-]+"
ADDRESS = r"[^@\s,;]+@[^@\s,;]+\.[^@\s,;]+"
IMAGE = r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+(:[\w.-]+)?@sha256:[0-9a-f]{64}"
"""An image by digest, with its registry."""
ECR_IMAGE = r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/[\w./-]+(:[\w.-]+)?@sha256:[0-9a-f]{64}"
"""SageMaker pulls images from ECR alone (https://docs.aws.amazon.com/sagemaker/latest/dg/docker-containers.html)."""
REGION = r"[a-z]{2}(-[a-z]+)+-\d"
IDS = {"vpc": r"vpc-[0-9a-f]{8,17}", "subnet": r"subnet-[0-9a-f]{8,17}"}
"""Ids as EC2 writes them: 17 digits, or 8 from before 2018."""
MOST_ADDRESSES = 10
"""Addresses that AWS tells of one alert
(https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_budgets_CreateBudget.html)."""
CLUSTER_ALONE = ("api_access", "admins", "autoscaler", "lustre_gib", "lustre_throughput", "shared_files")
"""Settings that mean nothing where there is no cluster."""
LEAVE_OUT = "leave it out, or use runs_on: cluster"
PRIVATE_API = Finding(
    Severity.WARNING,
    "api_access",
    "none",
    "the cluster's API is private: what runs inside the cluster is installed only where `up` can reach the network",
    "run `up` inside it (a CI runner or instance there, or over VPN), or name your own address, such as 203.0.113.7/32",
)


def _pattern(path: str, text: str, pattern: str, what: str, example: str) -> Finding | None:
    if re.fullmatch(pattern, text):
        return None
    return Finding(Severity.INVALID, path, text, f"is no {what}", f"use one such as {example}")


def _address_range(text: str) -> Finding | None:
    try:
        block = ip_network(text)
    except ValueError as error:
        return Finding(Severity.INVALID, "api_access", text, f"is no address range ({error})", "use 203.0.113.7/32")
    if block.prefixlen == 0:
        fix = "name the addresses that need it, such as your own as 203.0.113.7/32"
        return Finding(Severity.ERROR, "api_access", text, "opens the cluster's API to the whole internet", fix)
    return None


def _network(platform: Platform) -> list[Finding | None]:
    found: list[Finding | None] = []
    if platform.network:
        found.append(_pattern("network", platform.network, IDS["vpc"], "id of a VPC", "vpc-0123456789abcdef0"))
        if len(platform.private_subnets) < 2:
            given = " ".join(platform.private_subnets)
            reason = "an existing network needs the ids of private subnets in two zones or more"
            found.append(Finding(Severity.ERROR, "private_subnets", given, reason, "name them: subnet-…, subnet-…"))
    for key in ("private_subnets", "gpu_subnets", "public_subnets"):
        subnets: tuple[str, ...] = getattr(platform, key)
        if subnets and not platform.network:
            reason = "belongs to an existing network, and none is named"
            found.append(Finding(Severity.ERROR, key, " ".join(subnets), reason, "set network, or leave it out"))
        for text in subnets:
            found.append(_pattern(key, text, IDS["subnet"], "id of a subnet", "subnet-0123456789abcdef0"))
    return found


def _lustre(platform: Platform) -> Finding | None:
    size = platform.lustre_gib
    if size and size != LUSTRE_STEP // 2 and (size < 0 or size % LUSTRE_STEP):
        larger = -(-max(size, 1) // LUSTRE_STEP) * LUSTRE_STEP
        reason = f"is no size of a Lustre file system: 1200 or a multiple of {LUSTRE_STEP} GiB"
        return Finding(Severity.ERROR, "lustre_gib", str(size), reason, f"use {larger}, for instance")
    if platform.lustre_throughput not in LUSTRE_THROUGHPUT:
        reason = "is no throughput of a Lustre file system, in MB/s for each TiB"
        fix = f"use one of: {', '.join(map(str, LUSTRE_THROUGHPUT))}"
        return Finding(Severity.ERROR, "lustre_throughput", str(platform.lustre_throughput), reason, fix)
    return None
