# ruff: noqa: N802 - the protocol's own method names
"""The provider protocol, for the real engine: one server for each provider, one connection for each instance of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2

from tests.engine.double import diff, sdk, wire
from tests.engine.double.cloud import Cloud, Resource, Seen
from tests.engine.double.faults import HalfWay
from tests.engine.double.plugin import Plugin, fail_half_way
from tests.engine.double.types import Autoname, Inputs, Problem, Provider, Refusal, Situation, Type


class Double(Plugin):
    """A provider whose cloud is in memory."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.provider = Provider.load(name)
        self.cloud = Cloud(self.provider)
        self._configs: dict[str, dict[str, Any]] = {}

    def CheckConfig(self, request: provider_pb2.CheckRequest, context: Any) -> provider_pb2.CheckResponse:
        try:
            self.provider.surroundings(wire.reveal(wire.read(request.news)))
        except Refusal as refusal:
            failure = provider_pb2.CheckFailure(reason=str(refusal))
            return provider_pb2.CheckResponse(inputs=request.news, failures=[failure])
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: provider_pb2.DiffRequest, context: Any) -> provider_pb2.DiffResponse:
        return diff.answer(wire.read(request.old_inputs), wire.read(request.news), replacing=[])

    def Configure(self, request: provider_pb2.ConfigureRequest, context: Any) -> provider_pb2.ConfigureResponse:
        self._configs[context.peer()] = wire.reveal(wire.read(request.args))
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    # -- resources ---------------------------------------------------------------------------------------------------

    def Check(self, request: provider_pb2.CheckRequest, context: Any) -> provider_pb2.CheckResponse:
        token, news = request.type, wire.read(request.news)
        type_ = self.provider.types.get(token)
        if type_ is None:
            reason = f"no map describes {token}: add one to tests/engine/double/{self.provider.name}"
            return provider_pb2.CheckResponse(failures=[provider_pb2.CheckFailure(reason=reason)])
        try:
            config = self._config(context, news)
        except Refusal as refusal:
            failure = provider_pb2.CheckFailure(property="region", reason=str(refusal))
            return provider_pb2.CheckResponse(failures=[failure])
        news = self.provider.prepare(type_, news, config)
        if type_.name:
            news = _named(type_.name, news, wire.read(request.olds), request)
        self._see("check", token, request.name, news, config)
        plain = wire.reveal(news)
        problems = [*type_.problems(plain), *_made_up(plain)]
        failures = [provider_pb2.CheckFailure(property=one.path, reason=one.reason) for one in problems]
        return provider_pb2.CheckResponse(inputs=wire.write(news), failures=failures)

    def Diff(self, request: provider_pb2.DiffRequest, context: Any) -> provider_pb2.DiffResponse:
        type_, news, olds = self.provider.types[request.type], wire.read(request.news), wire.read(request.old_inputs)
        moved = self._config(context, news).get("region")
        if type_.regional and moved != (was := wire.read(request.olds).get("region", moved)):
            olds, news = {**olds, "region": was}, {**news, "region": moved}
        return diff.answer(olds, news, type_.replacing)

    def Create(self, request: provider_pb2.CreateRequest, context: Any) -> Any:
        token, inputs = request.type, wire.read(request.properties)
        type_, config = self.provider.types[token], self._config(context, inputs)
        self._see("create", token, request.name, inputs, config, preview=request.preview)
        if request.preview:
            outputs = self.cloud.preview(token, inputs, config, None)
            return provider_pb2.CreateResponse(properties=_answer(type_, outputs, inputs))
        made: list[Resource] = []

        def effect() -> Resource:
            made[:] = [self.cloud.create(token, request.name, inputs, config)]
            if reason := self.cloud.broken(made[0]):
                raise HalfWay(reason)
            return made[0]

        try:
            resource = self._attempt("create", token, request.name, context, effect)
        except HalfWay as reason:
            self.cloud.fail(made[0])
            properties = _answer(type_, made[0].outputs, inputs)
            fail_half_way(context, made[0].id, properties, wire.write(inputs), str(reason))
        return provider_pb2.CreateResponse(id=resource.id, properties=_answer(type_, resource.outputs, inputs))

    def Read(self, request: provider_pb2.ReadRequest, context: Any) -> provider_pb2.ReadResponse:
        token = request.type
        type_ = self.provider.types.get(token)
        if type_ is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"no map describes {token}")
        olds, old_inputs = wire.read(request.properties), wire.read(request.inputs)
        config = self._config(context, {"region": olds["region"]} if "region" in olds else {})
        self._see("read", token, request.name, old_inputs, config)
        region = config.get("region")
        resource = self._attempt(
            "read", token, request.name, context, lambda: self.cloud.get(token, request.id, region)
        )
        if resource is None:
            return provider_pb2.ReadResponse()
        importing = not request.HasField("inputs") or not old_inputs
        inputs = {name: value for name, value in resource.inputs.items() if importing or name in old_inputs}
        return provider_pb2.ReadResponse(
            id=resource.id,
            properties=_answer(type_, resource.outputs, {**olds, **old_inputs}),
            inputs=wire.write(wire.conceal(inputs, old_inputs)),
        )

    def Update(self, request: provider_pb2.UpdateRequest, context: Any) -> Any:
        token, inputs = request.type, wire.read(request.news)
        type_, config = self.provider.types[token], self._config(context, inputs)
        self._see("update", token, request.name, inputs, config, preview=request.preview)
        old = self.cloud.get(token, request.id, config.get("region"))
        if old is None:
            context.abort(grpc.StatusCode.UNKNOWN, f"NotFound: there is no {token} {request.id}")
        if request.preview:
            outputs = self.cloud.preview(token, inputs, config, old)
            return provider_pb2.UpdateResponse(properties=_answer(type_, outputs, inputs))
        try:
            self._attempt("update", token, request.name, context, lambda: self.cloud.update(old, inputs, config))
        except HalfWay as reason:
            properties = _answer(type_, old.outputs, inputs)
            fail_half_way(context, old.id, properties, wire.write(inputs), str(reason))
        return provider_pb2.UpdateResponse(properties=_answer(type_, old.outputs, inputs))

    def Delete(self, request: provider_pb2.DeleteRequest, context: Any) -> empty_pb2.Empty:
        token, olds = request.type, wire.read(request.properties)
        config = self._config(context, olds)
        self._see("delete", token, request.name, olds, config)

        def effect() -> None:
            resource = self.cloud.get(token, request.id, config.get("region"))
            if resource is not None:  # what is gone already counts as deleted
                self.cloud.delete(resource)

        self._attempt("delete", token, request.name, context, effect)
        return empty_pb2.Empty()

    def Invoke(self, request: provider_pb2.InvokeRequest, context: Any) -> provider_pb2.InvokeResponse:
        token, inputs = request.tok, wire.reveal(wire.read(request.args))
        function, config = self.provider.functions.get(token), self._config(context, inputs)
        self._see("invoke", token, "", inputs, config)
        if function is None:
            reason = f"no function answers {token}: add one to tests/engine/double/{self.provider.name}"
            return provider_pb2.InvokeResponse(failures=[provider_pb2.CheckFailure(reason=reason)])
        situation = Situation(self.cloud, config, inputs)
        answer = self._attempt("invoke", token, "", context, lambda: function(inputs, situation))
        message = provider_pb2.InvokeResponse()
        getattr(message, "return").CopyFrom(wire.write(answer))
        return message

    # -- shared ------------------------------------------------------------------------------------------------------

    def _config(self, context: Any, properties: Inputs) -> Mapping[str, Any]:
        """The connection's surroundings, in the region that the properties themselves name.

        Raises:
            Refusal: there is no such region.
        """
        region = wire.reveal(properties.get("region"))
        moved = {"region": region} if isinstance(region, str) else {}
        return self.provider.surroundings({**self._configs[context.peer()], **moved})

    def _see(
        self, operation: str, token: str, name: str, inputs: Inputs, config: Mapping[str, Any], *, preview: bool = False
    ) -> None:
        region = str(config.get("region", ""))
        self.cloud.seen.append(Seen(operation, token, name, wire.reveal(inputs), region, preview))


def _named(autoname: Autoname, news: Inputs, olds: Inputs, request: provider_pb2.CheckRequest) -> Inputs:
    """The inputs with a name: the program's, else the one that it has already, else a new one."""
    disabled = request.autonaming.mode == provider_pb2.CheckRequest.AutonamingOptions.DISABLE
    if autoname.property in news or autoname.unless in news or disabled:
        return news
    if autoname.property in olds:
        return {**news, autoname.property: olds[autoname.property]}
    return {
        **news,
        autoname.property: autoname.make(request.name, request.autonaming.proposed_name, request.randomSeed),
    }


def _made_up(inputs: Inputs) -> list[Problem]:
    """A stand-in of another resource must not be relied on: what it stands for has to be described."""
    return [
        Problem(
            name, f"comes from {value}, which no map computes: add it to the outputs of the type that it belongs to"
        )
        for name, value in inputs.items()
        if sdk.MADE_UP in repr(value)
    ]


def _answer(type_: Type, outputs: dict[str, Any], marked: Inputs) -> Any:
    """Outputs with the secrets of the inputs, and those that are secret by themselves."""
    secrets = {name: wire.Secret(outputs[name]) for name in type_.secret.split() if name in outputs}
    return wire.write({**wire.conceal(outputs, marked), **secrets})
