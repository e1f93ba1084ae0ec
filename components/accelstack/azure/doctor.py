"""What is in the way of a stack on Azure."""

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.rest import HttpRequest
from azure.identity import CredentialUnavailableError
from azure.mgmt.compute import ComputeManagementClient

from accelstack.azure.account import SUBSCRIPTION, client
from accelstack.checks import Check, State, reachable
from accelstack.plan.pool import PoolPlan

PROVIDERS = (
    "Microsoft.Compute",
    "Microsoft.ContainerRegistry",
    "Microsoft.ContainerService",
    "Microsoft.KeyVault",
    "Microsoft.Network",
    "Microsoft.Storage",
)
"""What a stack calls."""
ACTIONS = (
    "Microsoft.Authorization/roleAssignments/write",
    "Microsoft.ContainerService/managedClusters/write",
    "Microsoft.Network/virtualNetworks/write",
    "Microsoft.Resources/subscriptions/resourceGroups/write",
    "Microsoft.Storage/storageAccounts/write",
)
"""What making a stack needs first."""
INFINIBAND = "AKSInfinibandSupport"
NAMES = ("resource providers", "permissions", "machine types", "InfiniBand", "cluster API")


def checks(region: str, pools: Sequence[PoolPlan], cluster: str, **how: Any) -> list[Check]:
    """Credentials, resource providers, permissions, machine types, InfiniBand and the cluster's API, in that order.
    The cluster's resource group has its name. `how` is what `ComputeManagementClient` takes."""
    machines = [pool.machine.name for pool in pools]
    infiniband = any(pool.machine.fabric == "infiniband" for pool in pools)
    name, login = "credentials", "az login"
    if SUBSCRIPTION not in os.environ:
        fix = f'export {SUBSCRIPTION}="$(az account show --query id --output tsv)"'
        return [Check(name, State.FAILED, f"{SUBSCRIPTION} is not set", fix), *_unchecked("needs a subscription")]
    compute = client(**how)
    try:
        subscription = _get(compute, "", "2022-12-01")
    except (ClientAuthenticationError, CredentialUnavailableError) as error:
        return [Check(name, State.FAILED, str(error).splitlines()[0], login), *_unchecked("needs credentials")]
    except HttpResponseError as error:
        return [Check(name, State.FAILED, str(error.message), login), *_unchecked("needs a subscription")]
    except AzureError as error:
        return [Check(name, State.UNCHECKED, f"Azure cannot be reached from here ({error})"), *_unchecked("offline")]
    found = [
        Check(name, State.OK, f"subscription {subscription.get('displayName')}"),
        _providers(compute),
        _permissions(compute),
    ]
    if machines:
        found.append(_machines(compute, region, machines))
    if infiniband:
        found.append(_infiniband(compute))
    return [*found, _cluster(compute, cluster)]


def _unchecked(reason: str) -> list[Check]:
    return [Check(name, State.UNCHECKED, reason) for name in NAMES]


def _get(compute: ComputeManagementClient, path: str, version: str) -> dict[str, Any]:
    """What Azure's resource manager answers for a path below the subscription."""
    url = f"https://management.azure.com/subscriptions/{os.environ[SUBSCRIPTION]}{path}?api-version={version}"
    answer = compute.send_request(HttpRequest("GET", url))
    answer.raise_for_status()
    return answer.json()


def _providers(compute: ComputeManagementClient) -> Check:
    name = "resource providers"
    try:
        states = {
            each: _get(compute, f"/providers/{each}", "2022-09-01").get("registrationState") for each in PROVIDERS
        }
    except AzureError as error:
        return Check(name, State.UNCHECKED, str(error))
    off = [each for each, state in states.items() if state != "Registered"]
    if off:
        fix = " && ".join(f"az provider register --namespace {each}" for each in off)
        return Check(name, State.FAILED, f"not registered: {', '.join(off)}", fix)
    return Check(name, State.OK, f"{len(PROVIDERS)} are registered")


def _permissions(compute: ComputeManagementClient) -> Check:
    name = "permissions"
    try:
        rows = _get(compute, "/providers/Microsoft.Authorization/permissions", "2022-04-01")["value"]
    except AzureError as error:
        return Check(name, State.UNCHECKED, str(error))
    missing = [action for action in ACTIONS if not any(_grants(row, action) for row in rows)]
    if missing:
        fix = "az role assignment create --role Owner (or one that has them) --assignee … --scope …"
        return Check(name, State.FAILED, f"missing: {', '.join(missing)}", fix)
    return Check(name, State.OK, f"{len(ACTIONS)} that a stack begins with are granted")


def _grants(row: dict[str, Any], action: str) -> bool:
    def listed(key: str) -> bool:
        return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in row.get(key) or ())

    return listed("actions") and not listed("notActions")


def _machines(compute: ComputeManagementClient, region: str, machines: Sequence[str]) -> Check:
    name = "machine types"
    try:
        skus = {sku.name: sku for sku in compute.resource_skus.list(filter=f"location eq '{region}'")}
    except AzureError as error:
        return Check(name, State.UNCHECKED, str(error))
    closed = [
        machine
        for machine in machines
        if machine not in skus
        or any(each.reason_code == "NotAvailableForSubscription" for each in skus[machine].restrictions or ())
    ]
    if closed:
        fix = "ask for access with a support request of type quota, or choose another region"
        return Check(name, State.FAILED, f"not open to this subscription in {region}: {', '.join(closed)}", fix)
    return Check(name, State.OK, f"{', '.join(sorted(set(machines)))} in {region}")


def _infiniband(compute: ComputeManagementClient) -> Check:
    path = f"/providers/Microsoft.Features/providers/Microsoft.ContainerService/features/{INFINIBAND}"
    try:
        state = _get(compute, path, "2021-07-01")["properties"]["state"]
    except AzureError as error:
        return Check("InfiniBand", State.UNCHECKED, str(error))
    if state != "Registered":
        fix = f"az feature register --namespace Microsoft.ContainerService --name {INFINIBAND}"
        return Check("InfiniBand", State.FAILED, f"feature {INFINIBAND} is {state}", fix)
    return Check("InfiniBand", State.OK, f"feature {INFINIBAND} is registered")


def _cluster(compute: ComputeManagementClient, cluster: str) -> Check:
    name = "cluster API"
    path = f"/resourceGroups/{cluster}/providers/Microsoft.ContainerService/managedClusters/{cluster}"
    try:
        found = _get(compute, path, "2024-09-01")["properties"]
    except HttpResponseError as error:
        if error.status_code == 404:
            return Check(name, State.UNCHECKED, f"there is no cluster {cluster} yet")
        return Check(name, State.UNCHECKED, str(error))
    except AzureError as error:
        return Check(name, State.UNCHECKED, str(error))
    host = found.get("privateFQDN") or found.get("fqdn")
    if not host:
        return Check(name, State.UNCHECKED, f"{cluster} is {found.get('provisioningState', 'not ready')}")
    return reachable(name, host, 443, "run inside its network, or use `az aks command invoke`")
