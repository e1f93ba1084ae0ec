"""Kubeconfigs good and bad, programs that sign in, and API servers that answer, refuse, or do not answer at all."""

import base64
import json
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml
from accelstack.checks import State
from accelstack.cli import checking, planning
from accelstack.private import credentials, doctor, kubeconfig, reading
from accelstack.private.kubeconfig import ClusterError
from accelstack.private.planning import decide

from tests.unit.existing_clusters import bare_metal, deployment, storage_class

LISTS = {
    "/api/v1/nodes": bare_metal(),
    "/apis/storage.k8s.io/v1/storageclasses": [storage_class("fast", True)],
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": [
        {"metadata": {"name": "jobsets.jobset.x-k8s.io"}, "spec": {"versions": [{"name": "v1alpha2", "served": True}]}}
    ],
    "/apis/apps/v1/deployments": [deployment("kueue", "registry.k8s.io/kueue/kueue:v0.17.1")],
    "/apis/apps/v1/daemonsets": [],
}
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class ApiServer(ThreadingHTTPServer):
    """Answers as an API server would: lists in pages of two, and refusals where it is told so."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.refusals: dict[str, int] = {}
        self.denied: set[str] = set()
        self.tokens: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    """One request."""

    server: ApiServer

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self.server.tokens.add(self.headers.get("Authorization", ""))
        if path in self.server.refusals:
            self.answer(self.server.refusals[path], {"message": f"user may not list {path.rpartition('/')[2]}"})
        elif path == "/version/":
            self.answer(200, {"gitVersion": "v1.34.2+k3s1"})
        elif path in LISTS:
            start = int(parse_qs(query).get("continue", ["0"])[0])
            more = {"continue": str(start + 2)} if start + 2 < len(LISTS[path]) else {}
            self.answer(200, {"metadata": more, "items": LISTS[path][start : start + 2]})
        else:
            self.answer(404, {"message": "not found"})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["spec"]["resourceAttributes"]
        self.answer(201, {"status": {"allowed": asked["resource"] not in self.server.denied}})

    def answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing is to be said of each request."""


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.02,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def config(server: str, user: dict[str, Any] | None = None, **cluster: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "contexts": [
            {"name": "lab", "context": {"cluster": "c", "user": "u"}},
            {"name": "other", "context": {"cluster": "gone", "user": "u"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user or {"token": "secret"}}],
    }


def written(folder: Path, content: Any) -> str:
    path = folder / "config"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def program(folder: Path, script: str) -> dict[str, Any]:
    """A program that signs in, named by a path relative to the kubeconfig."""
    path = folder / "sign-in"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./sign-in", "args": ["now"]}}


def test_a_kubeconfig_stands_alone_with_its_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("authority")
    content = config("https://api:6443", {"tokenFile": "token"}, **{"certificate-authority": "ca.pem"})
    alone = kubeconfig.standing_alone(written(tmp_path, content))
    assert alone["clusters"][0]["cluster"] == {
        "server": "https://api:6443",
        "certificate-authority-data": base64.b64encode(b"authority").decode(),
    }
    assert alone["users"][0]["user"] == {"tokenFile": str(tmp_path / "token")}
    assert [each["name"] for each in alone["contexts"]] == ["lab"]
    assert kubeconfig.standing_alone(yaml.safe_dump(alone)) == alone
    assert kubeconfig.standing_alone(json.dumps(alone)) == alone


def test_kubectls_own_choice_is_taken_and_several_files_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    mine = {**config("https://one"), "contexts": [], "current-context": "lab"}
    first.write_text(yaml.safe_dump(mine))
    second.write_text(yaml.safe_dump({**config("https://two"), "current-context": "other"}))
    monkeypatch.setenv("KUBECONFIG", f"{first}:{second}:{tmp_path / 'none'}")
    assert kubeconfig.server(kubeconfig.standing_alone("")) == "https://one"
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ClusterError, match=r"there is no kubeconfig at .*/\.kube/config; set kubeconfig"):
        kubeconfig.standing_alone("")


@pytest.mark.parametrize(
    ("content", "context", "said"),
    [
        ("a: [", "", "is no YAML"),
        ("- a", "", "is no kubeconfig"),
        ("clusters: 3", "", "clusters is no list"),
        (config("https://api"), "prod", "there is no context 'prod'; use one of: lab, other"),
        (config("https://api"), "other", "names cluster 'gone', which has no server"),
        ({**config("https://api"), "current-context": ""}, "", "no context is chosen"),
        ({**config("https://api"), "users": []}, "", "names user 'u', who is not there"),
        (config("https://api", {"auth-provider": {"name": "gcp"}}), "", "signs in by auth-provider"),
        (config("https://api", {"client-key": "gone.pem"}), "", "client-key gone.pem cannot be read"),
    ],
)
def test_a_bad_kubeconfig_is_told_with_what_mends_it(tmp_path: Path, content: Any, context: str, said: str) -> None:
    with pytest.raises(ClusterError, match=said):
        kubeconfig.standing_alone(written(tmp_path, content), context)


def test_a_program_signs_in(tmp_path: Path) -> None:
    answer = 'test "$1" = now && echo \'{"status": {"token": "fresh"}}\''
    alone = kubeconfig.standing_alone(written(tmp_path, config("https://api", program(tmp_path, answer))))
    assert kubeconfig.user(alone)["exec"]["command"] == str(tmp_path / "sign-in")
    assert kubeconfig.user(credentials.resolved(alone)) == {"token": "fresh"}


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'login expired' >&2; exit 3", "failed with code 3: login expired"),
        ("echo hello", "no ExecCredential"),
        ("echo '{\"status\": {}}'", "answered without credentials"),
        ("exec tail -f /dev/null", "did not answer within"),
    ],
)
def test_a_program_that_does_not_sign_in_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    monkeypatch.setattr(credentials, "PATIENCE", 0.5)
    alone = kubeconfig.standing_alone(written(tmp_path, config("https://api", program(tmp_path, script))))
    with pytest.raises(ClusterError, match=said):
        credentials.resolved(alone)


def test_a_program_that_is_not_there_is_told_with_its_hint(tmp_path: Path) -> None:
    user = {"exec": {"command": "no-such-program", "installHint": "get it\nfrom there"}}
    alone = kubeconfig.standing_alone(written(tmp_path, config("https://api", user)))
    with pytest.raises(ClusterError, match="no-such-program, which is not on PATH; get it from there"):
        credentials.resolved(alone)


def test_a_cluster_is_read_in_pages(server: ApiServer) -> None:
    inventory = reading.read(config(server.url))
    assert inventory.version == "1.34.2"
    assert [node.name for node in inventory.nodes] == ["cpu-0", "cpu-1", "gpu-0", "gpu-1", "gpu-2", "gpu-3"]
    assert (inventory.storage_classes[0].name, inventory.storage_classes[0].default) == ("fast", True)
    assert (inventory.crds[0].name, inventory.crds[0].versions) == ("jobsets.jobset.x-k8s.io", ("v1alpha2",))
    assert [(each.component, each.version) for each in inventory.installed] == [("kueue", "0.17.1")]
    assert inventory.gateway_classes == ()
    assert inventory.warnings == ()
    assert server.tokens == {"Bearer secret"}


def test_what_may_not_be_listed_is_left_out_and_told(server: ApiServer) -> None:
    server.refusals = {"/apis/storage.k8s.io/v1/storageclasses": 403}
    inventory = reading.read(config(server.url))
    assert len(inventory.nodes) == 6
    assert inventory.warnings == ("storageclasses could not be listed: user may not list storageclasses",)


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "refuses the credentials; sign in again"), (503, "answers with 503"), (404, "does not tell its version")],
)
def test_a_server_that_refuses_is_told(server: ApiServer, status: int, said: str) -> None:
    server.refusals = {"/version/": status}
    with pytest.raises(ClusterError, match=said):
        reading.read(config(server.url))


def test_a_server_that_is_not_there_or_not_trusted_is_told(server: ApiServer) -> None:
    with pytest.raises(ClusterError, match="cannot be reached"):
        reading.read(config("http://127.0.0.1:1"))
    with pytest.raises(ClusterError, match="is not known here"):
        reading.read(config("https://api.cluster.invalid"))
    with pytest.raises(ClusterError, match="cannot be trusted"):
        reading.read(config(server.url.replace("http", "https")))


def test_a_plan_reads_the_cluster_and_gives_its_pools(server: ApiServer, tmp_path: Path) -> None:
    given = {"target": "private", "name": "lab", "accelerator": "H100:8", "nodes": 4, "store": "s3://runs"}
    decided = decide({**given, "kubeconfig": written(tmp_path, config(server.url))})
    assert decided.plan.fits
    (pool,) = decided.pools
    assert pool["labels"] == {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert (pool["resource"], pool["per_node"], pool["pod_fabric"]["resources"]) == (
        "nvidia.com/gpu",
        8,
        {"rdma/ib": "8"},
    )
    assert kubeconfig.server(yaml.safe_load(decided.kubeconfig)) == server.url


def test_a_plan_of_a_cluster_that_is_away_still_plans_and_says_so(tmp_path: Path) -> None:
    given = {"target": "private", "name": "lab", "accelerator": "H100:8", "store": "s3://runs"}
    decided = decide({**given, "kubeconfig": written(tmp_path, config("http://127.0.0.1:1"))})
    assert decided.plan.fits
    assert decided.inventory is None
    assert "cannot be reached" in next(each.rule for each in decided.plan.findings if each.property == "kubeconfig")
    assert decided.pools[0]["labels"] == {"accelstack/pool": "gpu"}


def test_a_plan_without_a_kubeconfig_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"target": "private", "name": "lab", "accelerator": "H100:8", "store": "s3://runs"}
    assert planning.plan({**given, "kubeconfig": str(tmp_path / "none")}, account=False, as_json=True) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert ("error", "kubeconfig") in {(each["severity"], each["property"]) for each in findings}
    bad = decide({**given, "kubeconfig": written(tmp_path, config("https://api")), "context": "prod"})
    assert {each.property for each in bad.plan.findings if each.value == "prod"} == {"context"}


def states(found: list[Any]) -> dict[str, State]:
    return {check.name: check.state for check in found}


def test_the_doctor_finds_a_cluster_well(server: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"target": "private", "kubeconfig": written(tmp_path, config(server.url)), "store": "s3://runs"}
    given |= {"accelerator": "H100:8", "nodes": 4, "name": "lab"}
    assert checking.doctor(given, as_json=True) == 0
    told = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert {each["state"] for each in told.values()} == {"ok"}
    assert told["accelerators"]["detail"] == "4 nodes of H100-80:8"
    assert told["add-ons"]["detail"] == "there already: kueue 0.17.1"


def test_the_doctor_names_each_right_that_is_missing(server: ApiServer, tmp_path: Path) -> None:
    server.denied = {"clusterroles", "nodes"}
    server.refusals = {"/api/v1/nodes": 403}
    found = doctor.checks({"kubeconfig": written(tmp_path, config(server.url)), "mirror": "127.0.0.1:1/mirror"})
    rights = next(check for check in found if check.name == "rights")
    assert rights.detail == "may not: list nodes, create clusterroles.rbac.authorization.k8s.io"
    assert states(found) | {"rights": State.FAILED, "nodes": State.UNCHECKED, "mirror": State.FAILED} == states(found)


def test_the_doctor_stops_where_nothing_more_can_be_seen(tmp_path: Path) -> None:
    away = doctor.checks({"kubeconfig": written(tmp_path, config("http://127.0.0.1:1"))})
    assert states(away)["cluster API"] is State.FAILED
    assert states(away)["version"] is State.UNCHECKED
    none = doctor.checks({"kubeconfig": str(tmp_path / "none")})
    assert [check.state for check in none] == [State.FAILED, *[State.UNCHECKED] * (len(none) - 1)]
    unsigned = config("https://api", program(tmp_path, "exit 1"))
    assert states(doctor.checks({"kubeconfig": written(tmp_path, unsigned)}))["credentials"] is State.FAILED
