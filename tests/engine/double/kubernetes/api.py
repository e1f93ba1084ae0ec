"""A client of a Kubernetes API server: a few verbs on objects of any kind, over connections that stay open."""

from __future__ import annotations

import ssl
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.engine.double.kubernetes.kubeconfig import Access

Object = dict[str, Any]
CREATOR = "pulumi-kubernetes"
"""The field manager that creates objects: the provider's own name for it."""
_CONNECTIONS = 64


class Unreachable(Exception):  # noqa: N818 - an answer, not a mistake of this program
    """The API server does not answer."""


class Refused(Exception):  # noqa: N818 - the server's answer, not a mistake of this program
    """The API server said no."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        """The HTTP status."""
        self.reason = reason
        """The server's own word for it, such as `AlreadyExists`."""

    @property
    def missing(self) -> bool:
        """Whether the object, its kind or its namespace does not exist."""
        return self.code == httpx.codes.NOT_FOUND


@dataclass(frozen=True)
class Kind:
    """Where the objects of a kind live."""

    path: str
    """`/apis/apps/v1`."""
    plural: str
    namespaced: bool

    def url(self, namespace: str = "", name: str = "") -> str:
        """The address of one object, or of a collection."""
        place = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.path}{place}/{self.plural}" + (f"/{name}" if name else "")


class Cluster:
    """An API server. Its methods may be called from several threads."""

    def __init__(self, access: Access) -> None:
        self.access = access
        headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
        self._http = httpx.Client(
            base_url=access.server,
            verify=_context(access),
            headers={"Accept": "application/json", **headers},
            # never expired: one thread would close a connection that another has just been given
            limits=httpx.Limits(max_connections=_CONNECTIONS, keepalive_expiry=None),
            timeout=httpx.Timeout(60, connect=3),
            trust_env=False,
        )
        self._kinds: dict[tuple[str, str], Kind] = {}
        self._lock = threading.Lock()

    def version(self) -> str:
        """The server's version, such as `v1.36.3`.

        Raises:
            Unreachable: it does not answer.
        """
        return self._ask("GET", "/version")["gitVersion"]

    def kind(self, version: str, kind: str) -> Kind | None:
        """Where objects of this `apiVersion` and `kind` live; None as long as the server does not know the kind."""
        with self._lock:
            if found := self._kinds.get((version, kind)):
                return found
        path = f"/apis/{version}" if "/" in version else f"/api/{version}"
        try:
            listed = self._ask("GET", path)["resources"]
        except Refused as refused:
            if refused.missing:
                return None
            raise
        with self._lock:
            for one in listed:
                if "/" not in one["name"]:  # else a part of an object, such as its status
                    self._kinds[version, one["kind"]] = Kind(path, one["name"], one["namespaced"])
            return self._kinds.get((version, kind))

    def get(self, version: str, kind: str, namespace: str, name: str) -> Object | None:
        """An object; None where there is none, nor such a kind."""
        try:
            return self._ask("GET", self._url(version, kind, namespace, name))
        except Refused as refused:
            if refused.missing:
                return None
            raise

    def list(self, version: str, kind: str, namespace: str, labels: str = "") -> list[Object]:
        """The objects of a kind in a namespace, or everywhere where none is given.

        Args:
            labels: a selector, such as `app=a,tier in (b)`.
        """
        query = {"labelSelector": labels} if labels else {}
        return self._ask("GET", self._url(version, kind, namespace, ""), query=query)["items"]

    def create(self, manifest: Object, *, dry: bool = False) -> Object:
        """Creates an object; unknown fields are refused.

        Raises:
            Refused: it exists, or the server does not take it so.
        """
        query = {"fieldManager": CREATOR, "fieldValidation": "Strict", **_dry(dry)}
        return self._ask("POST", self._of(manifest, named=False), query=query, body=manifest)

    def apply(self, manifest: Object, manager: str, *, force: bool, dry: bool = False) -> Object:
        """Server-side apply: the fields of the manifest become the manager's, and those that it gives up go.

        Args:
            force: takes fields from their managers where they differ, which is refused otherwise.
        """
        query = {"fieldManager": manager, "fieldValidation": "Strict", "force": str(force).lower(), **_dry(dry)}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        return self._ask("PATCH", self._of(manifest), query=query, body=manifest, headers=headers)

    def replace(self, manifest: Object, manager: str, *, dry: bool = False) -> Object:
        """Puts a manifest, which holds the live object's `resourceVersion`, in the place of an object."""
        query = {"fieldManager": manager, "fieldValidation": "Strict", **_dry(dry)}
        return self._ask("PUT", self._of(manifest), query=query, body=manifest)

    def patch(self, live: Object, operations: list[Object]) -> Object:
        """Applies a JSON patch (RFC 6902)."""
        headers = {"Content-Type": "application/json-patch+json"}
        return self._ask("PATCH", self._of(live), body=operations, headers=headers)

    def delete(self, version: str, kind: str, namespace: str, name: str, propagation: str = "Foreground") -> bool:
        """Asks for an object to be deleted, which finalizers may delay; whether there was one."""
        try:
            options = {"propagationPolicy": propagation}
            self._ask("DELETE", self._url(version, kind, namespace, name), body=options)
        except Refused as refused:
            if refused.missing:
                return False
            raise
        return True

    def _of(self, manifest: Object, *, named: bool = True) -> str:
        about = manifest["metadata"]
        name = about["name"] if named else ""
        return self._url(manifest["apiVersion"], manifest["kind"], about.get("namespace", ""), name)

    def _url(self, version: str, kind: str, namespace: str, name: str) -> str:
        found = self.kind(version, kind)
        if found is None:
            raise Refused(httpx.codes.NOT_FOUND, "NoMatch", f"the API server knows no kind {kind} in {version}")
        return found.url(namespace, name)

    def _ask(
        self,
        method: str,
        url: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        try:
            answer = self._http.request(method, url, params=query, json=body, headers=headers)
        except httpx.TransportError as error:
            raise Unreachable(f"{self.access.server}: {error or type(error).__name__}") from error
        if answer.is_success:
            return answer.json()
        try:
            status = answer.json()
            raise Refused(answer.status_code, status.get("reason", ""), status.get("message", answer.text))
        except ValueError:  # no JSON
            raise Refused(answer.status_code, answer.reason_phrase, answer.text) from None


def _dry(dry: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry else {}


def _context(access: Access) -> ssl.SSLContext | bool:
    if not access.server.startswith("https:"):
        return True
    authority = access.authority.decode() if access.authority else None
    context = ssl.create_default_context(cadata=authority)
    if authority is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if access.certificate and access.key:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "user.pem"  # the library takes files alone
            file.write_bytes(access.certificate + b"\n" + access.key)
            context.load_cert_chain(file)
    return context
