"""The way in: routes by weight, certificates, and what a Gateway cannot do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.k8s_serving import ENGINE_IMAGE, WAY_IN, Made, refused, serve, version

TLS = {**WAY_IN, "issuer": "letsencrypt"}


def weights(made: Made, name: str = "digits-http") -> dict[str, int]:
    """Shares of the requests that ask for nothing special."""
    return {each["name"]: each["weight"] for each in made.spec(name)["rules"][-1]["backendRefs"]}


class TestRoutes:
    @pytest.mark.parametrize("percent", [0, 10, 50, 100])
    def test_requests_are_shared_out_as_asked(self, percent: int) -> None:
        made = serve(canary={"model": version("b"), "percent": percent}, **WAY_IN)
        assert weights(made) == {"digits-aaaaaaaa": 100 - percent, "digits-bbbbbbbb": percent}

    def test_the_canary_can_be_asked_for_at_any_share(self) -> None:
        tried, _ = serve(canary={"model": version("b"), "percent": 0}, **WAY_IN).spec("digits-http")["rules"]
        headers = [{"type": "Exact", "name": "x-accelstack-canary", "value": "always"}]
        assert all(match["headers"] == headers for match in tried["matches"])
        assert [(each["name"], each["weight"]) for each in tried["backendRefs"]] == [("digits-bbbbbbbb", 100)]

    def test_the_outside_sees_neither_metrics_nor_what_manages_the_server(self) -> None:
        rule = serve(**WAY_IN).spec("digits-http")["rules"][0]
        paths = {match["path"]["value"] for match in rule["matches"]}
        assert paths == {"/", "/v2", "/page", "/predict"}
        assert {"type": "Exact", "value": "/"} in [match["path"] for match in rule["matches"]]
        triton = serve(engine="triton", engine_image=ENGINE_IMAGE, **WAY_IN).spec("digits-http")["rules"][0]
        assert not any("repository" in match["path"]["value"] for match in triton["matches"])
        assert {"type": "PathPrefix", "value": "/v2"} not in [match["path"] for match in triton["matches"]]

    def test_a_request_has_as_long_as_its_server_stays(self) -> None:
        assert serve(timeout_seconds=45, **WAY_IN).spec("digits-http")["rules"][0]["timeouts"] == {"request": "45s"}

    def test_grpc_has_a_name_and_weights_of_its_own(self) -> None:
        canary = {"model": version("b"), "percent": 20}
        made = serve(canary=canary, grpc_hostname="grpc.example.org", **TLS)
        assert weights(made, "digits-grpc") == {"digits-aaaaaaaa": 80, "digits-bbbbbbbb": 20}
        assert {each["port"] for each in made.spec("digits-grpc")["rules"][-1]["backendRefs"]} == {8081}
        assert made.spec("digits-grpc")["hostnames"] == ["grpc.example.org"]
        assert made.spec("digits-grpc")["parentRefs"][0]["sectionName"] == "grpcs"
        assert made.outputs["grpc"] == "grpc.example.org:443"


class TestGateways:
    def test_one_of_its_own_ends_tls_with_a_certificate_of_its_issuer(self) -> None:
        made = serve(**TLS)
        listeners = {each["name"]: each for each in made.spec("digits-gateway")["listeners"]}
        assert [(name, each["port"]) for name, each in listeners.items()] == [("https", 443), ("http", 80)]
        secret = listeners["https"]["tls"]["certificateRefs"][0]["name"]
        certificate = made.spec("digits-certificate")
        assert (certificate["secretName"], certificate["dnsNames"]) == (secret, ["digits.example.org"])
        assert certificate["issuerRef"]["name"] == "letsencrypt"
        redirect = made.spec("digits-redirect")
        assert redirect["parentRefs"][0]["sectionName"] == "http"
        assert redirect["rules"][0]["filters"][0]["requestRedirect"] == {"scheme": "https", "statusCode": 301}
        assert made.spec("digits-http")["parentRefs"][0]["sectionName"] == "https"
        assert made.outputs["rest"] == "https://digits.example.org"
        assert made.outputs["console"] == "https://digits.example.org/"
        assert made.outputs["grpc"] == "digits.models.svc:8081"  # gRPC has no name outside

    def test_without_an_issuer_it_is_plain_http(self) -> None:
        made = serve(**WAY_IN)
        assert [each["name"] for each in made.spec("digits-gateway")["listeners"]] == ["http"]
        assert made.outputs["rest"] == "http://digits.example.org"
        assert "digits-certificate" not in made.objects

    def test_an_existing_one_is_left_as_it_is(self) -> None:
        made = serve(gateway="ways/public", hostname="digits.example.org", listener="tls")
        assert not [each for each in made.objects.values() if each["kind"] in ("Gateway", "Certificate")]
        parent = made.spec("digits-http")["parentRefs"][0]
        assert (parent["namespace"], parent["name"], parent["sectionName"]) == ("ways", "public", "tls")
        assert made.outputs["rest"] == "https://digits.example.org"
        plain = serve(gateway="ways/public", hostname="digits.example.org", gateway_tls=False)
        assert plain.outputs["rest"] == "http://digits.example.org"

    def test_a_service_without_one_has_no_objects_of_gateway_api(self) -> None:
        assert not [each for each in serve().objects.values() if "gateway" in each["apiVersion"]]


@pytest.mark.parametrize(
    ("change", "path", "told"),
    [
        ({"issuer": "letsencrypt", "gateway_class": "eg"}, "issuer", "no name to sign"),
        ({"gateway_class": "eg"}, "hostname", "takes every request"),
        ({"hostname": "digits.example.org"}, "hostname", "no Gateway"),
        ({**WAY_IN, "gateway": "ways/public"}, "gateway_class", "one of the two"),
        ({"gateway": "public", "hostname": "a.example"}, "gateway", "<namespace>/<name>"),
        ({"gateway": "ways/public", "hostname": "a.example", "issuer": "i"}, "issuer", "listeners and certificates"),
        ({**WAY_IN, "hostname": "https://a.example"}, "hostname", "no name of a host"),
        ({**WAY_IN, "grpc_hostname": "*.example"}, "grpc_hostname", "no name of a host"),
        ({**WAY_IN, "listener": "tls"}, "listener", "existing Gateway"),
        ({**WAY_IN, "gateway_tls": True}, "gateway_tls", "existing Gateway"),
        ({**WAY_IN, "grpc_hostname": WAY_IN["hostname"]}, "grpc_hostname", "under one name"),
        (
            {**WAY_IN, "engine": "vllm", "engine_image": ENGINE_IMAGE, "grpc_hostname": "g.example"},
            "grpc_hostname",
            "vllm speaks no gRPC",
        ),
    ],
)
def test_what_a_gateway_cannot_do_is_refused_by_name(change: dict[str, Any], path: str, told: str) -> None:
    found = refused(**change)
    assert (found[0], told in found[1]) == (path, True), found
