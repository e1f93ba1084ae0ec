"""Objects of any kind on a real API server: checked, compared, applied, waited for, deleted."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import httpx
from pulumi.runtime.proto import provider_pb2

from tests.engine.double import diff, wire
from tests.engine.double.kubernetes import asked, checking, ownership, shape, waiting
from tests.engine.double.kubernetes.api import Cluster, Object, Refused
from tests.engine.double.kubernetes.session import HalfMade, Made, Session
from tests.engine.double.types import Inputs, Problem

TRIES = 30.0
"""Seconds for which a kind or a namespace that does not exist is looked for again, as with the provider's retries."""
_FIRST, _LONGEST = 0.1, 2.0  # seconds between two looks
_LEFT_AT_ONCE = frozenset({"DaemonSet", "Deployment", "Job", "Namespace", "Pod", "StatefulSet"})
"""Kinds whose deletion is not waited for either where they are not to be waited for."""


class Applied:
    """Objects in a provider instance's cluster; values may be marked as secret or unknown."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @property
    def cluster(self) -> Cluster:
        """The API server: callers have seen that it is there."""
        assert self.session.cluster is not None, self.session.unreachable
        return self.session.cluster

    def check(self, news: Inputs, request: provider_pb2.CheckRequest) -> tuple[Inputs, list[Problem]]:
        """Complete inputs, and what is wrong with them."""
        found = list(checking.problems(request.type, news, request))
        if found:
            return news, found
        made = checking.completed(news, wire.read(request.olds), request, self.session)
        self.session.declare(made)
        return shape.secretive(made), []

    def diff(self, request: provider_pb2.DiffRequest) -> provider_pb2.DiffResponse:
        """How the live object, as far as the program spoke of it, differs from what the program says now."""
        state, new = wire.reveal(wire.read(request.olds)), wire.reveal(wire.read(request.news))
        said = shape.normal(state.get("__inputs") or wire.reveal(wire.read(request.old_inputs)))
        cut = shape.pruned({key: value for key, value in state.items() if key not in shape.INTERNAL}, said)
        for side in (cut, new):
            if isinstance(side.get("metadata"), dict) and not self.session.namespaced(side):
                side["metadata"].pop("namespace", None)
        old = shape.aligned(cut, new, typed=shape.native(str(new.get("apiVersion"))))
        answer = diff.answer(old, new, shape.replacing(new, self.session.options), request.ignoreChanges)
        was, now = (side.get("metadata", {}) if isinstance(side.get("metadata"), dict) else {} for side in (old, new))
        stays = was.get("name") == now.get("name") and was.get("namespace") == now.get("namespace")
        answer.deleteBeforeReplace = bool(answer.replaces) and stays and asked.of(new, "autonamed") != "true"
        return answer

    def preview(self, inputs: Inputs, request: Any) -> Inputs:
        """What a creation or an update would make of the object, from a dry run where one is possible.

        Raises:
            Refused: the server does not take it so.
        """
        plain, urn = wire.reveal(inputs), request.urn
        if not wire.knows(plain) or not self.session.knows(plain):
            return inputs
        try:
            if isinstance(request, provider_pb2.UpdateRequest):
                manager = wire.reveal(wire.read(request.olds)["__fieldManager"])
                live = self._change(plain, request.id, manager, list(request.ignoreChanges), dry=True)
            else:
                manager = _manager(urn)
                live = self._make(plain, manager, dry=True)
        except Refused as refused:
            if _passes(refused, creating=isinstance(request, provider_pb2.CreateRequest)):
                return inputs
            raise
        shown = {key: value for key, value in live.items() if key != "status"}  # nothing may count on it yet
        return _kept(shown, inputs, manager)

    def create(self, inputs: Inputs, request: provider_pb2.CreateRequest) -> Made:
        """Creates an object and waits until it is as its kind, or its annotations, ask.

        Raises:
            Refused: the server does not take it, or it exists.
            HalfMade: it does not become ready in time.
        """
        plain, manager = wire.reveal(inputs), _manager(request.urn)
        end, pause = time.monotonic() + TRIES, _FIRST
        while True:
            try:
                live = self._make(plain, manager)
                break
            except Refused as refused:
                if not refused.missing or time.monotonic() > end or self.session.cancelled.wait(pause):
                    raise
                pause = min(2 * pause, _LONGEST)
        live = self._await(live, inputs, manager, request.timeout)
        return Made(_id(live), _kept(live, inputs, manager), inputs)

    def update(self, inputs: Inputs, request: provider_pb2.UpdateRequest) -> Made:
        """Applies new inputs to an object and waits as for a new one.

        Raises:
            Refused: it is gone.
            HalfMade: the server does not take it so, which the next update may mend, or it does not become ready.
        """
        manager = wire.reveal(wire.read(request.olds)["__fieldManager"])
        plain = wire.reveal(inputs)
        try:
            live = self._change(plain, request.id, manager, list(request.ignoreChanges))
        except Refused as refused:
            found = self._get(plain, request.id)
            if found is None:
                raise
            raise HalfMade(Made(request.id, _kept(found, inputs, manager), inputs), str(refused)) from refused
        live = self._await(live, inputs, manager, request.timeout)
        return Made(request.id, _kept(live, inputs, manager), inputs)

    def read(self, request: provider_pb2.ReadRequest) -> Made | None:
        """The live object, with what the program spoke of as its inputs; None where there is none.

        Raises:
            HalfMade: it is there, and not ready.
        """
        version, kind = checking.about(request.type)
        old_inputs = wire.read(request.inputs)
        plain = shape.normal(wire.reveal(old_inputs))
        live = self._get({"apiVersion": version, "kind": kind}, request.id)
        if live is None:
            return None
        typed = shape.native(version)
        found = shape.aligned(shape.pruned(live, plain), plain, typed=typed) if plain else shape.imported(live)
        inputs = shape.secretive(wire.conceal(found, old_inputs))
        manager = wire.reveal(wire.read(request.properties).get("__fieldManager")) or _manager(request.urn)
        made = Made(request.id, _kept(live, inputs, manager), inputs)
        if plain and asked.of(plain, "skipAwait") != "true":
            state = waiting.verdict(live, self.cluster)
            if not state.ready:
                raise HalfMade(made, "; ".join(state.reasons))
        return made

    def delete(self, request: provider_pb2.DeleteRequest) -> None:
        """Deletes an object and what it owns, and waits until it is gone; one that is gone already is no error.

        Raises:
            Refused: the server does not let it go, or finalizers hold it for too long.
        """
        state = wire.reveal(wire.read(request.properties))
        inputs = state.get("__inputs", {})
        version, kind = checking.about(request.type)
        namespace, _, name = request.id.rpartition("/")
        policy = asked.of(inputs, "deletionPropagationPolicy").capitalize()
        propagation = policy if policy in ("Orphan", "Background") else "Foreground"
        if not self.cluster.delete(version, kind, namespace, name, propagation):
            return
        if asked.of(inputs, "skipAwait") == "true" and kind in _LEFT_AT_ONCE:
            return
        left: Object | None = {}

        def gone() -> bool:
            nonlocal left
            left = self._get({"apiVersion": version, "kind": kind}, request.id)
            return left is None or left["metadata"]["uid"] != state.get("metadata", {}).get("uid")

        seconds = asked.patience(inputs, request.timeout)
        if not self._until(gone, seconds) and left:
            holding = ", ".join(left["metadata"].get("finalizers", [])) or "none"
            reason = (
                f"{kind} {request.id} is still there after {seconds:.0f} s: finalizers might be preventing deletion"
            )
            raise Refused(httpx.codes.CONFLICT, "Timeout", f"{reason} ({holding})")

    # -- steps -------------------------------------------------------------------------------------------------------

    def _make(self, plain: Inputs, manager: str, *, dry: bool = False) -> Object:
        manifest = self.session.sent(plain)
        if self.session.options["upsertExistingObjects"]:
            return self.cluster.apply(manifest, manager, force=dry or self.session.forces(plain), dry=dry)
        return self.cluster.create(manifest, dry=dry)

    def _change(self, plain: Inputs, id: str, manager: str, ignored: list[str], *, dry: bool = False) -> Object:  # noqa: A002
        manifest, live = self.session.sent(plain), self._get(plain, id)
        if live is None:
            raise Refused(
                httpx.codes.NOT_FOUND, "NotFound", f"there is no {plain['kind']} {id}: `pulumi refresh` first"
            )
        if plain["kind"] == "CustomResourceDefinition":
            version = {"resourceVersion": live["metadata"]["resourceVersion"]}
            manifest["metadata"] = {**manifest["metadata"], **version}
            return self.cluster.replace(manifest, manager, dry=dry)
        if not dry and (operations := ownership.takeover(live, manager)):
            live = self.cluster.patch(live, operations)
        manifest = ownership.without_ignored(manifest, live, manager, ignored)
        force = self.session.forces(plain) or (dry and ownership.forced(live))
        return self.cluster.apply(manifest, manager, force=force, dry=dry)

    def _get(self, like: Inputs, id: str) -> Object | None:  # noqa: A002
        namespace, _, name = id.rpartition("/")
        return self.cluster.get(like["apiVersion"], like["kind"], namespace, name)

    def _await(self, live: Object, inputs: Inputs, manager: str, timeout: float) -> Object:
        """The live object once it is ready.

        Raises:
            HalfMade: it does not become so in time.
        """
        if asked.of(live, "skipAwait") == "true":
            return live
        wanted, id, verdict = asked.of(live, "waitFor"), _id(live), waiting.READY  # noqa: A001

        def settled() -> bool:
            nonlocal live, verdict
            if verdict is not waiting.READY:  # it was looked at before
                live = self._get(live, id) or live
            reasons = asked.unmet(wanted, live) if wanted else []
            verdict = waiting.Verdict(not reasons, reasons) if wanted else waiting.verdict(live, self.cluster)
            return verdict.ready or verdict.final

        self._until(settled, asked.patience(live, timeout))
        if not verdict.ready:
            reason = f"{live['kind']} {id} failed to fully initialize or become live: {'; '.join(verdict.reasons)}"
            raise HalfMade(Made(id, _kept(live, inputs, manager), inputs), reason)
        return live

    def _until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Looks again and again, ever less often, until it is done or the time is up."""
        end, pause = time.monotonic() + seconds, _FIRST
        while not done():
            left = end - time.monotonic()
            if left <= 0 or self.session.cancelled.wait(min(pause, left)):
                return False
            pause = min(1.5 * pause, _LONGEST)
        return True


def _manager(urn: str) -> str:
    """A field manager for one resource."""
    return f"pulumi-kubernetes-{hashlib.sha256(urn.encode()).hexdigest()[:8]}"


def _id(live: Object) -> str:
    namespace = live["metadata"].get("namespace", "")
    return f"{namespace}/{live['metadata']['name']}" if namespace else live["metadata"]["name"]


def _kept(live: Object, inputs: Inputs, manager: str) -> Inputs:
    """What the engine keeps: the live object, secret where the inputs are, and beside it what made it.

    Who manages which field is left out: it is read anew before it counts.
    """
    about = {key: value for key, value in live["metadata"].items() if key != "managedFields"}
    shown = shape.secretive(wire.conceal({**live, "metadata": about}, inputs))
    version = inputs.get("apiVersion", live["apiVersion"])
    return {**shown, "__inputs": inputs, "__initialApiVersion": version, "__fieldManager": manager}


def _passes(refused: Refused, *, creating: bool) -> bool:
    """Whether a dry run's refusal says nothing about the real run, or is the real run's to make."""
    if refused.code == httpx.codes.FORBIDDEN or "does not support dry run" in str(refused):
        return True
    return creating and (refused.missing or refused.reason == "AlreadyExists")
