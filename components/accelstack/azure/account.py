"""What an Azure subscription may use of its quotas, from the compute usages."""

import os
import re
from collections.abc import Sequence
from typing import Any

from azure.identity import DefaultAzureCredential
from azure.mgmt.compute import ComputeManagementClient

from accelstack.plan.quota import Limit, Need

SUBSCRIPTION = "AZURE_SUBSCRIPTION_ID"


def client(**how: Any) -> ComputeManagementClient:
    """A client of the compute API, for the subscription that AZURE_SUBSCRIPTION_ID names.

    Raises:
        LookupError: it names none.
    """
    if SUBSCRIPTION not in os.environ:
        raise LookupError(f"{SUBSCRIPTION} is not set")
    options: dict[str, Any] = {"connection_timeout": 5, "read_timeout": 20, "retry_total": 1, **how}
    credential = options.pop("credential", None) or DefaultAzureCredential(process_timeout=20)
    return ComputeManagementClient(credential, os.environ[SUBSCRIPTION], **options)


def limits(region: str, needs: Sequence[Need], **how: Any) -> dict[str, Limit]:
    """The subscription's limit and use of each quota, by name. One that Azure does not list is left out.

    Raises:
        LookupError: AZURE_SUBSCRIPTION_ID is not set.
        azure.core.exceptions.AzureError: there are no credentials, or Azure cannot be reached.
    """
    names = {_plain(need.quota): need.quota for need in needs}
    found: dict[str, Limit] = {}
    for usage in client(**how).usage.list(region):
        name = names.get(_plain(usage.name.value or ""))
        if name:
            found[name] = Limit(float(usage.limit), float(usage.current_value))
    return found


def _plain(name: str) -> str:
    """Sizes and usages spell the same family with other cases, blanks and joints."""
    return re.sub("[ _-]", "", name.lower())
