"""What an existing cluster has, read through its API: never written to."""

import json
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import urllib3

from accelstack.plan.inventory import Inventory, Object, from_objects
from accelstack.private import credentials
from accelstack.private.kubeconfig import ClusterError

PATIENCE = (5, 20)
"""Seconds to wait for a connection, and for each answer."""
PAGE = 500
"""Objects of one answer: a node's is some 20 KB."""
Clients = Any
"""An `ApiClient` of the package kubernetes, which has no types."""


def read(config: Mapping[str, Any]) -> Inventory:
    """What the cluster of a kubeconfig that stands alone has. What may not be listed is left out, with a warning.

    Raises:
        ClusterError: its credentials cannot be had or are refused, or it does not answer.
    """
    return inventory(connected(config))


def connected(config: Mapping[str, Any]) -> Clients:
    """A client of the cluster; nothing is asked of it yet.

    Raises:
        ClusterError: its credentials cannot be had, or the package kubernetes is not installed.
    """
    try:
        client, loader = import_module("kubernetes.client"), import_module("kubernetes.config")
    except ImportError as error:
        raise ClusterError(f"{error.name} is not installed", "pip install 'accelstack[kubernetes]'") from None
    settings = client.Configuration()
    settings.retries = False  # what fails is told at once
    ready = credentials.resolved(config)
    try:
        loader.load_kube_config_from_dict(ready, client_configuration=settings, persist_config=False)
    except (loader.ConfigException, ValueError) as error:
        raise ClusterError(
            f"the kubeconfig cannot be used: {error}", "mend it, or have its tool write it anew"
        ) from None
    return client.ApiClient(settings)


def version(api: Clients) -> str:
    """The API server's version, as it tells it.

    Raises:
        ClusterError: it does not answer, or refuses the credentials.
    """
    try:
        return str(_answer(api, lambda: _api("VersionApi", api).get_code(**_plainly()))["gitVersion"])
    except (KeyError, PermissionError):
        reason = f"{api.configuration.host} does not tell its version"
        raise ClusterError(reason, "see that the kubeconfig's server is the cluster's API") from None


def inventory(api: Clients) -> Inventory:
    """What the cluster has.

    Raises:
        ClusterError: it does not answer, or refuses the credentials.
    """
    found: dict[str, list[Object]] = {}
    unread: dict[str, str] = {}
    release = version(api)
    apps = _api("AppsV1Api", api)
    for kind, list_them in (
        ("nodes", _api("CoreV1Api", api).list_node),
        ("storageclasses", _api("StorageV1Api", api).list_storage_class),
        ("customresourcedefinitions", _api("ApiextensionsV1Api", api).list_custom_resource_definition),
        ("deployments", apps.list_deployment_for_all_namespaces),
        ("daemonsets", apps.list_daemon_set_for_all_namespaces),
        ("gatewayclasses", _gateway_classes(api)),
        ("namespaces", _api("CoreV1Api", api).list_namespace),
    ):
        try:
            found[kind] = list(_pages(api, list_them))
        except PermissionError as error:
            found[kind], unread[kind] = [], str(error)
    return from_objects(
        release,
        nodes=found["nodes"],
        storage_classes=found["storageclasses"],
        gateway_classes=found["gatewayclasses"],
        crds=found["customresourcedefinitions"],
        workloads=[*found["deployments"], *found["daemonsets"]],
        namespaces=found["namespaces"],
        unread=unread,
    )


def allowed(api: Clients, verb: str, group: str, resource: str) -> bool:
    """Whether the credentials may do this in every namespace.

    Raises:
        ClusterError: the cluster does not answer.
    """
    asked = {"resourceAttributes": {"verb": verb, "group": group, "resource": resource}}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": asked}
    create = _api("AuthorizationV1Api", api).create_self_subject_access_review
    try:
        return bool(_answer(api, lambda: create(review, **_plainly()))["status"].get("allowed"))
    except PermissionError:
        return False


def _api(name: str, api: Clients) -> Any:
    return getattr(import_module("kubernetes.client"), name)(api)


def _plainly() -> dict[str, Any]:
    """Options of a call that gives JSON as the server sent it, in bounded time."""
    return {"_preload_content": False, "_request_timeout": PATIENCE}


def _gateway_classes(api: Clients) -> Callable[..., Any]:
    listing = _api("CustomObjectsApi", api).list_cluster_custom_object

    def list_them(**how: Any) -> Any:
        return listing("gateway.networking.k8s.io", "v1", "gatewayclasses", **how)

    return list_them


def _pages(api: Clients, list_them: Callable[..., Any]) -> Iterator[Object]:
    """Every object of a kind; none where the cluster does not know the kind."""
    how = {"limit": PAGE, **_plainly()}
    while True:
        page = _answer(api, lambda: list_them(**how))
        yield from page.get("items") or ()
        metadata: Object = page.get("metadata") or {}
        if not metadata.get("continue"):
            return
        how["_continue"] = metadata["continue"]


def _answer(api: Clients, call: Callable[[], Any]) -> dict[str, Any]:
    """What the server answers; nothing where it knows no such thing.

    Raises:
        PermissionError: the credentials do not have the right to it.
        ClusterError: every other refusal, and no answer.
    """
    host = str(api.configuration.host)
    refused: Any = import_module("kubernetes.client.exceptions").ApiException
    try:
        return json.loads(call().data)
    except refused as error:
        if error.status == 404:
            return {}
        if not error.status:  # the client's own: TLS failed
            raise _untrusted(host, str(error.reason).rpartition("\n")[2]) from None
        said = _said(error.body) or str(error.reason)
        if error.status == 403:
            raise PermissionError(said) from None
        if error.status == 401:
            raise ClusterError(
                f"{host} refuses the credentials", "sign in again, or have the kubeconfig renewed"
            ) from None
        raise ClusterError(
            f"{host} answers with {error.status}: {said}", "see to the API server, then try again"
        ) from None
    except urllib3.exceptions.HTTPError as error:
        raise _unreached(host, error) from None
    except (ValueError, AttributeError):
        fix = "see that the kubeconfig's server is the cluster's, and no proxy's own page answers for it"
        raise ClusterError(f"{host} answers with something that no API server does", fix) from None


def _said(body: Any) -> str:
    """The message of an API server's refusal."""
    try:
        return str(json.loads(body)["message"])
    except (TypeError, ValueError, KeyError):
        return ""


def _untrusted(host: str, reason: str) -> ClusterError:
    fix = "see that the kubeconfig has the cluster's own certificate authority, and is for this server"
    return ClusterError(f"{host} cannot be trusted: {reason}", fix)


def _unreached(host: str, error: Exception) -> ClusterError:
    """Why the server did not answer, in its own words where they help."""
    cause: Any = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason else error
    known = urllib3.exceptions
    if isinstance(cause, known.SSLError):
        return _untrusted(host, str(cause))
    inside = "run where the cluster's network can be reached (VPN, bastion, a CI runner in it)"
    if isinstance(cause, known.NameResolutionError):
        return ClusterError(f"the name in {host} is not known here", f"{inside}, or mend the server in the kubeconfig")
    if isinstance(cause, known.TimeoutError) and not isinstance(cause, known.NewConnectionError):
        return ClusterError(f"{host} does not answer in time", inside)
    if isinstance(cause, known.ProxyError):
        return ClusterError(f"the proxy on the way to {host} fails: {cause}", "mend proxy-url or HTTPS_PROXY")
    reason = str(cause).rpartition(": ")[2] or type(cause).__name__
    return ClusterError(f"{host} cannot be reached: {reason}", f"{inside}, or start the cluster")
