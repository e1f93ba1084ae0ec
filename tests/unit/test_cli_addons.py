"""`accelstack addons`, against a registry of this machine."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from accelstack.cli import registry_digest
from accelstack.cli.addons import NEEDED
from accelstack.cli.main import app
from accelstack.k8s import crds
from accelstack.plan.addons import addons
from accelstack.plan.compatibility import defaults
from accelstack.plan.images import parse
from typer.testing import CliRunner, Result

DIGEST = "sha256:" + "0123456789abcdef" * 4
OTHER = "sha256:" + "f" * 64
VERSION = defaults("any", ["jobset"])["jobset"]
DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: jobsets.jobset.x-k8s.io}
spec: {group: jobset.x-k8s.io}
"""


class Registry(BaseHTTPRequestHandler):
    """Images by path: open ones, one behind a token, and ones that answer strangely."""

    seen: ClassVar[list[tuple[str, str]]]

    def do_HEAD(self) -> None:
        self.seen.append((self.path, self.headers["Accept"]))
        name, _, reference = self.path.removeprefix("/v2/").partition("/manifests/")
        here = f"http://{self.headers['Host']}"
        realms = {
            "team/guarded": f"{here}/token",
            "team/hidden": f"{here}/nothing",
            "team/empty": f"{here}/empty",
            "team/plain": "http://tokens.example.com/token",
        }
        if name == "team/basic":
            self.answer(401, {"WWW-Authenticate": 'Basic realm="registry"'})
        elif name in realms and self.headers.get("Authorization") != f"Bearer for repository:{name}:pull":
            challenge = f'Bearer realm="{realms[name]}",service="registry",scope="repository:{name}:pull"'
            self.answer(401, {"WWW-Authenticate": challenge})
        elif name == "team/moved":
            self.answer(307, {"Location": f"/v2/team/open/manifests/{reference}"})
        elif name == "team/silent":
            self.answer(200, {})
        elif name == "team/odd":
            self.answer(200, {"Docker-Content-Digest": "md5:1"})
        elif name == "team/broken":
            self.answer(500, {})
        elif name in ("team/open", "team/guarded") and reference in ("v1", DIGEST, OTHER):
            self.answer(200, {"Docker-Content-Digest": DIGEST})
        else:
            self.answer(404, {})

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        query = parse_qs(asked.query)
        if asked.path == "/token" and query["service"] == ["registry"]:
            self.answer(200, {}, json.dumps({"token": f"for {query['scope'][0]}"}))
        elif asked.path == "/empty":
            self.answer(200, {}, "{}")
        else:
            self.answer(404, {})

    def answer(self, status: int, headers: dict[str, str], body: str = "") -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def registry() -> Iterator[str]:
    """Host and port of a registry."""
    Registry.seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def definitions(tmp_path: Path) -> str:
    """A folder with the definitions of JobSet alone."""
    (tmp_path / f"jobset-{VERSION}.yaml").write_text(DEFINITION)
    return str(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["addons", *arguments])


class TestDigest:
    @pytest.mark.parametrize("name", ["team/open:v1", "team/guarded:v1", "team/moved:v1", f"team/open@{DIGEST}"])
    def test_is_what_the_registry_says(self, registry: str, name: str) -> None:
        assert registry_digest.digest(parse(f"{registry}/{name}")) == DIGEST

    def test_is_of_the_images_index_where_there_is_one(self, registry: str) -> None:
        registry_digest.digest(parse(f"{registry}/team/open:v1"))
        ((path, accept),) = Registry.seen
        assert path == "/v2/team/open/manifests/v1"
        assert accept.startswith("application/vnd.oci.image.index.v1+json")

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("team/open:v2", "does not have it"),
            ("team/silent:v1", "tells no digest of it"),
            ("team/odd:v1", "tells no digest of it, but 'md5:1'"),
            ("team/broken:v1", "answers with 500"),
            ("team/basic:v1", "wants a login for it"),
            ("team/hidden:v1", "wants a login for it: http://.*/nothing answers with 404"),
            ("team/empty:v1", "answers without a token"),
            ("team/plain:v1", "gives tokens at http://tokens.example.com/token, which is not encrypted"),
            (f"team/open@{OTHER}", f"says that it is {DIGEST}"),
        ],
    )
    def test_is_never_made_up(self, registry: str, name: str, reason: str) -> None:
        with pytest.raises(registry_digest.UnresolvedError, match=reason):
            registry_digest.digest(parse(f"{registry}/{name}"))

    def test_of_a_registry_that_is_not_there_is_none(self) -> None:
        with socket.socket() as bound:  # and nobody listens
            bound.bind(("127.0.0.1", 0))
            with pytest.raises(registry_digest.UnresolvedError, match="cannot be reached"):
                registry_digest.digest(parse(f"127.0.0.1:{bound.getsockname()[1]}/team/open:v1"))


class TestLock:
    def test_holds_digests_of_images_and_definitions(self, registry: str, definitions: str, tmp_path: Path) -> None:
        out, image = tmp_path / "lock.json", f"{registry}/team/guarded:v1"
        result = run("lock", "jobset", "kueue", "--image", f"engine={image}", "--crds", definitions, "--out", str(out))
        assert result.exit_code == 0, result.output
        assert f"images.engine: {image}@{DIGEST}" in result.stdout
        content = json.loads(out.read_text())
        assert content.keys() == {"date", "images", "crds"}
        assert content["images"] == {image: DIGEST}
        assert content["crds"] == {f"jobset-{VERSION}": crds.digest(crds.parse(DEFINITION))}

    def test_is_what_definitions_are_held_against(self, definitions: str, tmp_path: Path) -> None:
        out = tmp_path / "lock.json"
        assert run("lock", "jobset", "--crds", definitions, "--out", str(out)).exit_code == 0
        urls = [f"{definitions}/jobset-{VERSION}.yaml"]
        assert crds.read("jobset", VERSION, urls, json.loads(out.read_text()))

    def test_stays_as_it_was_unless_everything_was_found(self, registry: str, definitions: str, tmp_path: Path) -> None:
        out = tmp_path / "lock.json"
        out.write_text("old")
        good, gone = f"{registry}/team/open:v1", f"{registry}/team/open:v2"
        result = run(
            *("lock", "jobset", "keda", "--crds", definitions, "--out", str(out)),
            *("--image", f"a={good}", "--image", f"b={gone}"),
        )
        assert result.exit_code == 1
        assert f"{gone}: {registry} does not have it" in result.stderr
        assert "keda-" in result.stderr
        assert "2 could not be found, so nothing was written" in result.stderr
        assert good not in result.stderr
        assert out.read_text() == "old"
        assert {path.name for path in tmp_path.iterdir()} == {"lock.json", f"jobset-{VERSION}.yaml"}

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (("--image", "engine"), "use NAME=IMAGE"),
            (("--image", "=quay.io/a:1"), "has no name"),
            (("--image", "a=quay.io/A:1"), "a name is lowercase"),
            (("--image", "a=quay.io/a"), "has no tag"),
            (("--image", "a=quay.io/a:1", "--image", "a=quay.io/a:2"), "names two images"),
            (("jobsets",), "did you mean jobset?"),
        ],
    )
    def test_of_what_nobody_can_mean_is_refused(self, arguments: tuple[str, ...], reason: str, tmp_path: Path) -> None:
        result = run("lock", *arguments, "--out", str(tmp_path / "lock.json"))
        assert result.exit_code == 2
        assert reason in " ".join(result.stderr.replace("│", " ").split())
        assert not [*tmp_path.iterdir()]

    def test_goes_into_a_folder_that_is_there(self, definitions: str, tmp_path: Path) -> None:
        result = run("lock", "jobset", "--crds", definitions, "--out", str(tmp_path / "nowhere" / "lock.json"))
        assert result.exit_code == 2
        assert "name a file in a folder that is there" in result.stderr


def test_the_list_has_every_add_on_with_version_chart_and_reason() -> None:
    rows = json.loads(run("list", "--json").stdout)
    assert [row["component"] for row in rows] == [*addons()]
    kueue = next(row for row in rows if row["component"] == "kueue")
    assert kueue["version"] == defaults("any", ["kueue"])["kueue"]
    assert kueue["chart"]["chart"].startswith("oci://")
    assert addons().keys() == NEEDED.keys()


def test_the_list_names_every_add_on_for_people() -> None:
    result = run("list")
    assert result.exit_code == 0
    words = result.stdout.split()
    assert {*addons()} <= {*words}
    assert NEEDED["keda"].split()[0] in words
