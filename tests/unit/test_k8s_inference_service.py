"""A model in service on a cluster: what its pods are, how they come and go, and what is refused."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from accelstack.k8s.inference_service import InferenceService
from accelstack.k8s.pod import amount

from tests.unit.k8s_serving import IMAGE, WAY_IN, Made, args, pool, refused, serve, version

A, B = "digits-aaaaaaaa", "digits-bbbbbbbb"


@pytest.fixture(scope="module")
def alone() -> Made:
    return serve(replicas=2, monitoring_namespace="monitoring", reachable_from=["shop"])


class TestPods:
    def test_the_server_serves_what_was_fetched_and_checked_by_its_digest(self, alone: Made) -> None:
        fetch, server = alone.pod(f"{A}-pods")["initContainers"][0], alone.server(f"{A}-pods")
        digest = f"sha256:{'a' * 64}"
        assert fetch["command"] == [
            *("python", "-m", "accelstack_workloads", "fetch", "--uri", "s3://ours/models/a"),
            *("--digest", digest, "--out", "/model"),
        ]
        assert server["command"] == [
            *("python", "-m", "accelstack_workloads", "serve", "--model", "/model", "--name", "digits"),
            *("--version", "1", "--digest", digest),
            *("--host", "0.0.0.0", "--rest-port", "8080", "--grpc-port", "8081"),
        ]
        assert fetch["envFrom"] == [{"secretRef": {"name": "store"}}]
        assert "envFrom" not in server  # only what fetches knows the store's secret
        mounts = {mount["name"]: mount for mount in server["volumeMounts"]}
        assert mounts["model"] == {"name": "model", "mountPath": "/model", "readOnly": True}

    def test_it_starts_is_ready_and_lives_by_probes_of_its_own(self, alone: Made) -> None:
        server = alone.server(f"{A}-pods")
        paths = {each: server[f"{each}Probe"]["httpGet"]["path"] for each in ("startup", "readiness", "liveness")}
        assert paths == {
            "startup": "/v2/health/ready",
            "readiness": "/v2/health/ready",
            "liveness": "/v2/health/live",
        }
        assert server["startupProbe"]["failureThreshold"] * server["startupProbe"]["periodSeconds"] == 600

    @pytest.mark.parametrize("seconds", [1, 30, 300])
    def test_a_request_in_flight_ends_before_its_server_does(self, seconds: int) -> None:
        made = serve(timeout_seconds=seconds)
        sleep = made.server(f"{A}-pods")["lifecycle"]["preStop"]["sleep"]["seconds"]
        server_drains = 5
        assert sleep >= 10  # proxies hear of it first
        assert sleep + server_drains >= seconds + 10
        assert made.pod(f"{A}-pods")["terminationGracePeriodSeconds"] > sleep + server_drains

    def test_a_rollout_takes_no_copy_away_before_another_serves(self, alone: Made) -> None:
        spec = alone.spec(f"{A}-pods")
        assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": "25%"}
        assert spec["minReadySeconds"] > 0
        assert spec["progressDeadlineSeconds"] > 600

    def test_copies_spread_over_zones_and_hosts_and_go_one_at_a_time(self, alone: Made) -> None:
        spread = alone.pod(f"{A}-pods")["topologySpreadConstraints"]
        assert [each["topologyKey"] for each in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        budget = alone.spec(f"{A}-budget")
        assert budget["maxUnavailable"] == 1
        pods = alone.spec(f"{A}-pods")["template"]["metadata"]["labels"]
        assert budget["selector"]["matchLabels"].items() <= pods.items()

    def test_a_server_on_gpus_has_one_and_its_part_of_the_node(self) -> None:
        found = serve(pool=pool("H100:8"), engine="native").server(f"{A}-pods")["resources"]
        assert found["limits"]["nvidia.com/gpu"] == "1"
        assert amount(found["requests"]["cpu"]) == 192 * 0.85 / 8
        assert (
            serve(pool=pool("H100:8"), accelerators=4).server(f"{A}-pods")["resources"]["limits"]["nvidia.com/gpu"]
            == "4"
        )

    def test_a_small_node_has_room_for_what_replaces_a_copy_and_for_a_canary(self) -> None:
        resources = serve().server(f"{A}-pods")["resources"]
        assert amount(resources["requests"]["cpu"]) * 4 <= pool()["cores"]
        assert amount(resources["requests"]["memory"]) * 4 <= pool()["memory_gib"] * 2**30
        assert amount(resources["limits"]["cpu"]) == 2
        assert serve(cpu="3").server(f"{A}-pods")["resources"]["limits"]["cpu"] == "3"

    def test_code_that_no_image_has_is_brought_along(self) -> None:
        made = serve(image=None, base_image=IMAGE)
        unpack, fetch = made.pod(f"{A}-pods")["initContainers"]
        archive = made.objects["digits-code"]["metadata"]["name"]
        assert {"name": "bundle", "configMap": {"name": archive}} in made.pod(f"{A}-pods")["volumes"]
        assert any(each.startswith("uvicorn") for each in unpack["command"])
        assert "s3fs" in unpack["command"]
        paths = [each["env"] for each in (fetch, made.server(f"{A}-pods"))]
        assert all(any(variable["name"] == "PYTHONPATH" for variable in each) for each in paths)


class TestWhoReachesIt:
    def test_nobody_but_those_named(self, alone: Made) -> None:
        spec = alone.spec("digits-network")
        clients, monitoring = spec["ingress"]
        name = "kubernetes.io/metadata.name"
        assert clients["from"] == [{"namespaceSelector": {"matchLabels": {name: "shop"}}}]
        assert [each["port"] for each in clients["ports"]] == [8080, 8081]
        assert monitoring["from"] == [{"namespaceSelector": {"matchLabels": {name: "monitoring"}}}]
        assert [each["port"] for each in monitoring["ports"]] == [8080]
        assert spec["policyTypes"] == ["Ingress"]

    def test_with_nobody_named_nobody_at_all(self) -> None:
        assert serve().spec("digits-network")["ingress"] == []

    def test_the_gateway_s_proxies(self) -> None:
        def peers(**more: Any) -> list[str]:
            (rule,) = serve(hostname="digits.example.org", **more).spec("digits-network")["ingress"]
            return [next(iter(each["namespaceSelector"]["matchLabels"].values())) for each in rule["from"]]

        assert peers(gateway="ways/public") == ["ways"]
        assert peers(gateway_class="istio") == ["models"]
        assert peers(gateway_class="eg", gateway_pods=["envoy-gateway-system"]) == ["envoy-gateway-system"]

    def test_inside_the_cluster_its_name_leads_to_the_version_in_service(self, alone: Made) -> None:
        assert alone.spec("digits-service")["selector"]["accelstack/revision"] == A
        assert alone.outputs["rest"] == "http://digits.models.svc:8080"
        assert alone.outputs["grpc"] == "digits.models.svc:8081"
        assert alone.outputs["console"] == "http://digits.models.svc:8080/"
        assert (alone.outputs["deployments"], alone.outputs["route"]) == ({"stable": A}, None)


def test_its_name_leaves_room_for_a_digest() -> None:
    with pytest.raises(pulumi.InputPropertyError, match="36 at most"):
        InferenceService("d" * 37, args())


class TestVersions:
    def test_a_canary_keeps_its_pods_when_it_is_promoted(self) -> None:
        tried = serve(canary={"model": version("b", "2"), "percent": 10}, **WAY_IN)
        promoted = serve(model=version("b", "2"), **WAY_IN)
        kept = serve(model=version("b", "2"), canary={"model": version("a"), "percent": 0}, **WAY_IN)
        assert tried.objects[f"{B}-pods"] == promoted.objects[f"{B}-pods"] == kept.objects[f"{B}-pods"]
        assert tried.objects[f"{A}-pods"] == kept.objects[f"{A}-pods"]
        assert f"{A}-pods" not in promoted.objects

    def test_shares_change_routes_alone(self) -> None:
        shares = [serve(canary={"model": version("b", "2"), "percent": each}, **WAY_IN) for each in (0, 10, 50, 100)]
        for made in shares[1:]:
            changed = {name for name, each in made.objects.items() if each != shares[0].objects[name]}
            assert changed == {"digits-http"}

    def test_a_version_that_was_just_trained_never_shares_a_name_with_a_pinned_one(self) -> None:
        made = serve(model=lambda: pulumi.Output.from_input(version("a")))
        assert made.outputs["deployments"] == {"stable": "digits-latest-aaaaaaaa"}
        assert made.server("digits-latest-pods")["command"][7] == "digits"
        assert (
            made.objects["digits-latest-pods"]["metadata"]["annotations"]["accelstack/model-uri"]
            == "s3://ours/models/a"
        )

    def test_one_without_a_digest_fails_when_it_is_known(self) -> None:
        with pytest.raises(Exception, match="is no model version that exists: version and digest is empty"):
            serve(model=lambda: pulumi.Output.from_input({**version("a"), "digest": "", "version": ""}))


@pytest.mark.parametrize(
    ("change", "path", "told"),
    [
        ({"model": {**version("a"), "uri": ""}}, "model", "is no model version that exists: uri is empty"),
        ({"model": {**version("a"), "digest": "sha256:0"}}, "model", "64 hexadecimal digits"),
        ({"replicas": 0}, "replicas", "1 or more"),
        ({"engine": "trition"}, "engine", "did you mean triton"),
        ({"image": "registry.example/workloads:latest"}, "image", "by digest"),
        ({"base_image": IMAGE}, "image", "one of the two"),
        ({"image": None}, "image", "one of the two"),
        ({"engine_image": IMAGE}, "engine_image", "ignored by native"),
        ({"index_url": "https://pypi.example"}, "index_url", "base_image"),
        ({"accelerators": 1}, "accelerators", "has none"),
        ({"pool": pool("H100:8"), "accelerators": 9}, "accelerators", "has 8"),
        ({"nodes": 2}, "nodes", "one node only; use 1, or engine vllm"),
        ({"nodes": 0}, "nodes", "1 or more"),
        ({"memory": "much"}, "memory", "no quantity"),
        ({"reachable_from_addresses": ["10.0.0.1/8"]}, "reachable_from_addresses", "10.0.0.1/8"),
        ({"timeout_seconds": 0}, "timeout_seconds", "1 to 3600"),
        ({"canary": {"model": version("b"), "percent": 10}}, "canary", "a Service alone cannot weigh"),
        ({"canary": {"model": version("b"), "percent": 101}, **WAY_IN}, "canary.percent", "0 to 100"),
        ({"canary": {"model": version("b"), "percent": -1}, **WAY_IN}, "canary.percent", "0 to 100"),
        ({"canary": {"model": version("b"), "percent": 2.5}, **WAY_IN}, "canary.percent", "whole number"),
        ({"canary": {"model": version("a"), "percent": 10}, **WAY_IN}, "canary.model", "in service already"),
        (
            {"canary": {"model": {**version("b"), "version": ""}, "percent": 10}, **WAY_IN},
            "canary.model",
            "version is empty",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(change: dict[str, Any], path: str, told: str) -> None:
    found = refused(**change)
    assert (found[0], told in found[1]) == (path, True), found
