# ruff: noqa: N802 - the protocol's own method names
"""pulumi-kubernetes against a real API server, for the real engine.

The provider's own plugin is a binary that package registries do not have, so this does what its users notice, after its
source (4.32, https://github.com/pulumi/pulumi-kubernetes) and documentation:

- An object is created by a plain POST of field manager `pulumi-kubernetes`. One that exists already is an error, unless
  `upsertExistingObjects` is set, and only in the update: its preview says nothing. A kind or namespace that does not
  exist yet is tried again for half a minute; a preview lets it pass.
- An update takes over what the creation and kubectl own and applies the inputs server-side as a field manager of the
  resource's own. A field that another manager owns and that differs is an error, without `pulumi.com/patchForce`.
  A CustomResourceDefinition is replaced as a whole instead.
- What differs is found by comparing the live object of the last operation or refresh, cut to the properties that the
  program gave, with the new inputs. The id of a resource is `<namespace>/<name>`, and a replacement keeps it.
- Previews are dry runs on the server. Where that is forbidden, where it cannot run dry, and where the namespace or kind
  is not there yet, the inputs count as they are.
- A cluster that does not answer is an error in Create, Update, Delete and Read; with `skipUpdateUnreachable` Check
  answers with the old inputs and Read with the old state, each with a warning. Check and Diff need no cluster.
- Waiting is described in `waiting` and `asked`, replacement in `shape`, charts in `releases`.

Stricter than the provider: unknown and doubled fields are refused (`fieldValidation=Strict`), where the provider leaves
them to the server, which only warns. Left out: Patch resources, List kinds, rendering to YAML, client-side apply,
`replaceUnready`, Invoke.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2

from tests.engine.double import diff, wire
from tests.engine.double.cloud import Seen
from tests.engine.double.kubernetes import surroundings
from tests.engine.double.kubernetes.api import Refused, Unreachable
from tests.engine.double.kubernetes.applied import Applied
from tests.engine.double.kubernetes.kubeconfig import Unusable, access
from tests.engine.double.kubernetes.objects import RELEASE
from tests.engine.double.kubernetes.releases import Releases
from tests.engine.double.kubernetes.session import HalfMade, Session, Sessions
from tests.engine.double.plugin import Plugin, fail_half_way
from tests.engine.double.types import Inputs, Refusal

T = TypeVar("T")
_UNREACHABLE = "configured Kubernetes cluster is unreachable"


class ClusterDouble(Plugin):
    """The provider `kubernetes` with a real API server.

    Args:
        stand_in: kubeconfig of the API server that answers for every cluster which is not on this machine; a
            kubeconfig for one on this machine (a loopback address) leads there itself.
        charts: folders of Helm charts by name, for `helm.v3.Release`: see `releases`.
    """

    def __init__(self, stand_in: Path | None = None, charts: Mapping[str, Path] | None = None) -> None:
        super().__init__("kubernetes")
        self.sessions = Sessions(access(str(stand_in)) if stand_in else None)
        self.charts = dict(charts or {})
        self.seen: list[Seen] = []
        self._open: dict[str, Session] = {}

    def CheckConfig(self, request: provider_pb2.CheckRequest, context: Any) -> provider_pb2.CheckResponse:
        try:
            surroundings(wire.reveal(wire.read(request.news)))
        except Refusal as refusal:
            failure = provider_pb2.CheckFailure(reason=str(refusal))
            return provider_pb2.CheckResponse(inputs=request.news, failures=[failure])
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: provider_pb2.DiffRequest, context: Any) -> provider_pb2.DiffResponse:
        """Another server is another cluster: everything in it is replaced; another user of the same one is not."""
        old, new = (wire.reveal(wire.read(one)) for one in (request.old_inputs, request.news))
        was, now = old.get("clusterIdentifier"), new.get("clusterIdentifier")
        if was and now:
            fixed = ["clusterIdentifier"]
        else:
            fixed = [] if _server(old) == _server(new) else ["kubeconfig", "context", "cluster"]
        return diff.answer(old, new, fixed)

    def Configure(self, request: provider_pb2.ConfigureRequest, context: Any) -> provider_pb2.ConfigureResponse:
        self._open[context.peer()] = self.sessions.open(wire.reveal(wire.read(request.args)))
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    def Cancel(self, request: empty_pb2.Empty, context: Any) -> empty_pb2.Empty:
        if session := self._open.get(context.peer()):
            session.cancelled.set()
        return empty_pb2.Empty()

    def Check(self, request: provider_pb2.CheckRequest, context: Any) -> provider_pb2.CheckResponse:
        session, news = self._open[context.peer()], wire.read(request.news)
        self._see("check", request, news)
        if session.skips:
            flag = "Cluster is unreachable but skipUpdateUnreachable flag is set to true, skipping..."
            self._warn(context, request.urn, flag)
            return provider_pb2.CheckResponse(inputs=request.olds)
        inputs, problems = self._at(context, request).check(news, request)
        failures = [provider_pb2.CheckFailure(property=one.path, reason=one.reason) for one in problems]
        return provider_pb2.CheckResponse(inputs=wire.write(inputs), failures=failures)

    def Diff(self, request: provider_pb2.DiffRequest, context: Any) -> provider_pb2.DiffResponse:
        return self._at(context, request).diff(request)

    def Create(self, request: provider_pb2.CreateRequest, context: Any) -> provider_pb2.CreateResponse:
        inputs, worker = wire.read(request.properties), self._at(context, request)
        self._see("create", request, inputs, preview=request.preview)
        if request.preview:
            outputs = self._do("preview", request, context, lambda: worker.preview(inputs, request))
            return provider_pb2.CreateResponse(properties=wire.write(outputs))
        self._reach(request, context)
        made = self._do("create", request, context, lambda: worker.create(inputs, request))
        return provider_pb2.CreateResponse(id=made.id, properties=wire.write(made.outputs))

    def Update(self, request: provider_pb2.UpdateRequest, context: Any) -> provider_pb2.UpdateResponse:
        inputs, worker = wire.read(request.news), self._at(context, request)
        self._see("update", request, inputs, preview=request.preview)
        if request.preview:
            outputs = self._do("preview", request, context, lambda: worker.preview(inputs, request))
            return provider_pb2.UpdateResponse(properties=wire.write(outputs))
        self._reach(request, context)
        made = self._do("update", request, context, lambda: worker.update(inputs, request))
        return provider_pb2.UpdateResponse(properties=wire.write(made.outputs))

    def Read(self, request: provider_pb2.ReadRequest, context: Any) -> provider_pb2.ReadResponse:
        session = self._open[context.peer()]
        self._see("read", request, wire.read(request.inputs))
        if session.cluster is None and session.options["deleteUnreachable"]:
            return provider_pb2.ReadResponse()
        if session.skips:
            self._warn(context, request.urn, f"{_UNREACHABLE}: {session.unreachable}")
            return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)
        self._reach(request, context)
        worker = self._at(context, request)
        made = self._do("read", request, context, lambda: worker.read(request))
        if made is None:
            return provider_pb2.ReadResponse()
        outputs, inputs = wire.write(made.outputs), wire.write(made.inputs)
        return provider_pb2.ReadResponse(id=made.id, properties=outputs, inputs=inputs)

    def Delete(self, request: provider_pb2.DeleteRequest, context: Any) -> empty_pb2.Empty:
        session, worker = self._open[context.peer()], self._at(context, request)
        self._see("delete", request, wire.read(request.properties))
        if session.cluster is None and session.options["deleteUnreachable"]:
            return empty_pb2.Empty()
        self._reach(request, context)
        self._do("delete", request, context, lambda: worker.delete(request))
        return empty_pb2.Empty()

    def _at(self, context: Any, request: Any) -> Applied | Releases:
        session = self._open[context.peer()]
        return Releases(session, self.charts) if request.type == RELEASE else Applied(session)

    def _reach(self, request: Any, context: Any) -> None:
        """Ends the call where the cluster does not answer."""
        session = self._open[context.peer()]
        if session.cluster is None:
            self._warn(context, request.urn, f"{_UNREACHABLE}: {session.unreachable}")
            _refuse(context, f"{_UNREACHABLE}: {session.unreachable}")

    def _do(self, operation: str, request: Any, context: Any, effect: Callable[[], T]) -> T:
        """Does it, with planned faults, and tells the engine what went wrong in its words."""
        try:
            return self._attempt(operation, request.type, request.name, context, effect)
        except HalfMade as half:
            outputs, inputs = wire.write(half.made.outputs), wire.write(half.made.inputs)
            fail_half_way(context, half.made.id, outputs, inputs, str(half))
        except (Refused, Unreachable) as error:
            _refuse(context, f"{operation} of {request.name}: {error}")

    def _see(self, operation: str, request: Any, inputs: Inputs, *, preview: bool = False) -> None:
        self.seen.append(Seen(operation, request.type, request.name, wire.reveal(inputs), "", preview))


def _refuse(context: Any, message: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNKNOWN, message)
    raise AssertionError("abort raises")


def _server(config: Inputs) -> str:
    """The API server that a configuration leads to; the text itself where it leads to none."""
    given = str(config.get("kubeconfig", ""))
    try:
        return access(given, str(config.get("context", "")), str(config.get("cluster", ""))).server
    except Unusable:
        return given
