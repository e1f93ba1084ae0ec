"""A model version in service on a cluster, with the args and outputs of every other target."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pulumi

from accelstack.k8s import bundle, gateway, scaling, serving_decision, serving_manifests
from accelstack.k8s.gang import name_of
from accelstack.k8s.gateway import Backend, Entrance
from accelstack.k8s.objects import KubernetesObject
from accelstack.k8s.scaling import Scaling
from accelstack.k8s.serving_args import K8sInferenceServiceArgs
from accelstack.k8s.serving_pod import Revision, Serving

ROUNDS = 4
"""In which a rollout replaces its copies, a quarter at a time."""


class InferenceService(pulumi.ComponentResource):
    """A model version in service on a cluster, with a second one beside it to be tried out on some of the requests.

    Each version has pods of its own, named by its digest. Requests move by weights in a route, and only once the pods
    they move to are ready; so a canary's share, its promotion and the way back restart nothing. Where the way back is
    to be one step after a promotion too, keep the former version as the canary, with 0 percent. A Service inside the
    cluster cannot weigh: it leads to the stable version. Servers are reached from the Gateway, from what reads metrics,
    and from nowhere else that is not named. A single copy goes with its node when that is drained; two do not.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule.
    """

    rest: pulumi.Output[str]
    """Base URL of the REST protocol, known when its servers are ready: at the Gateway where there is one, else in
    the cluster."""
    grpc: pulumi.Output[str | None]
    """`host:port` of gRPC: at the Gateway where it has a name there, else in the cluster; None where the engine has
    none."""
    console: pulumi.Output[str]
    """URL of the page for people; that of the REST protocol where the engine has none."""
    deployments: pulumi.Output[dict[str, str]]
    """What makes the pods: the names of the `stable` one and the `canary`."""
    route: pulumi.Output[str | None]
    """Name of the HTTPRoute; None where there is no Gateway."""

    def __init__(self, name: str, args: K8sInferenceServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        asked, served = serving_decision.serving(name, args), serving_decision.revisions(name, args)
        entrance, scaled = serving_decision.entrance(args), serving_decision.scale(args)
        super().__init__("accelstack:index:K8sInferenceService", name, None, opts)
        if "base_image" in args:
            code = self._made(f"{name}-code", bundle.config_map(name, args["namespace"]))
            asked = replace(asked, code=name_of(code))
        policy = serving_manifests.network_policy(
            asked,
            [*_gateway_pods(asked, args, entrance), *args.get("reachable_from", [])],
            args.get("reachable_from_addresses", []),
            args.get("monitoring_namespace", ""),
        )
        self._made(f"{name}-network", policy)
        made = [self._serve(asked, revision, scaled) for revision in served]
        stable = self._made(f"{name}-service", serving_manifests.service(asked, name, name_of(made[0][0])))
        inside = stable.id.apply(lambda _: name)
        ports = asked.engine.ports
        self.rest = pulumi.Output.format("http://{}.{}.svc:{}", inside, asked.namespace, ports["rest"])
        grpc = pulumi.Output.format("{}.{}.svc:{}", inside, asked.namespace, ports["grpc"]) if "grpc" in ports else None
        route: pulumi.Output[str] | None = None
        if entrance:
            percent = args["canary"]["percent"] if "canary" in args else 0
            percents = (100 - int(percent), int(percent))
            backends = [Backend(_ready(*each), share) for each, share in zip(made, percents, strict=False)]
            route, outside = self._routes(asked, entrance, backends)
            self.rest = pulumi.Output.format("{}://{}", entrance.scheme, route.apply(lambda _: entrance.hostname))
            grpc = outside or grpc
        names = {key: name_of(pods) for key, (pods, _) in zip(("stable", "canary"), made, strict=False)}
        self.grpc = pulumi.Output.from_input(grpc)
        self.console = pulumi.Output.concat(self.rest, "/") if asked.engine.page else self.rest
        self.deployments = pulumi.Output.all(**names)
        self.route = pulumi.Output.from_input(route)
        self.register_outputs(
            {
                "rest": self.rest,
                "grpc": self.grpc,
                "console": self.console,
                "deployments": self.deployments,
                "route": self.route,
            }
        )

    def _made(
        self, name: str, manifest: dict[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> KubernetesObject:
        return KubernetesObject(name, manifest, pulumi.ResourceOptions.merge(pulumi.ResourceOptions(parent=self), opts))

    def _serve(
        self, asked: Serving, revision: Revision, scaled: Scaling | None
    ) -> tuple[KubernetesObject, KubernetesObject]:
        """The pods of a revision and their Service, which is there before them and after them: a Gateway that has not
        heard yet of a change still finds them."""
        named = f"{asked.name}-{revision.slot}"
        service = self._made(f"{named}-service", serving_manifests.service(asked, revision.name, revision.name))
        claims = serving_manifests.claims(asked, revision)
        before = [service, *(self._made(f"{named}-{key}", each) for key, each in claims.items())]
        longest = f"{ROUNDS * asked.deadline_seconds}s"
        pods = self._made(
            f"{named}-pods",
            serving_manifests.workload(asked, revision),
            pulumi.ResourceOptions(
                depends_on=before,
                custom_timeouts=pulumi.CustomTimeouts(create=longest, update=longest),
                ignore_changes=["spec.replicas"] if scaled else None,
            ),
        )
        target = name_of(pods)
        self._made(f"{named}-budget", serving_manifests.disruption_budget(asked, revision, target))
        if scaled:
            self._made(f"{named}-scaler", scaling.scaler(asked, revision, scaled, target))
        return pods, service

    def _routes(
        self, asked: Serving, entrance: Entrance, backends: Sequence[Backend]
    ) -> tuple[pulumi.Output[str], pulumi.Output[str] | None]:
        """The HTTP route, and the address of gRPC where it has a route too."""
        name = asked.name
        own: pulumi.Input[str] = ""
        if not entrance.gateway:
            self._made(f"{name}-gateway-network", gateway.network_policy(asked))
            own = name_of(self._made(f"{name}-gateway", gateway.own_gateway(asked, entrance)))
        if entrance.issuer:
            self._made(f"{name}-certificate", gateway.certificate(asked, entrance))
            self._made(f"{name}-redirect", gateway.redirect(asked, entrance, own))
        route = name_of(self._made(f"{name}-http", gateway.http_route(asked, entrance, own, backends)))
        if entrance.grpc_hostname == "":
            return route, None
        grpc = name_of(self._made(f"{name}-grpc", gateway.grpc_route(asked, entrance, own, backends)))
        return route, pulumi.Output.format("{}:{}", grpc.apply(lambda _: entrance.grpc_hostname), entrance.port)


def _gateway_pods(
    asked: Serving, args: K8sInferenceServiceArgs, entrance: Entrance | None
) -> Sequence[pulumi.Input[str]]:
    """Namespaces that requests come from through the Gateway."""
    if not entrance:
        return []
    own = entrance.gateway.partition("/")[0] if entrance.gateway else asked.namespace
    return args.get("gateway_pods", [own])


def _ready(pods: KubernetesObject, service: KubernetesObject) -> pulumi.Output[str]:
    """Name of the Service, known when its pods are ready."""
    return pulumi.Output.all(pods.id, name_of(service)).apply(lambda known: known[1])
