"""One stack through its life, in the order of the tests: up, up again, a changed setting, losses mended, down."""

import json
import re
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

import httpx
import psutil
import pytest
from sklearn.datasets import load_digits

from tests.engine.checkout import PROJECT, Checkout, wait_until


def handwritten_zero() -> list[float]:
    """The pixels of a picture of a zero."""
    digits = load_digits()
    assert digits.target[0] == 0
    return (digits.images[0] / 16).ravel().tolist()


def answer(address: str, picture: list[float] | None = None) -> int:
    """The class that the service sees in a picture, a handwritten zero if none is given."""
    pixels = picture or handwritten_zero()
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": pixels}
    response = httpx.post(f"{address}/v2/models/vision/infer", json={"inputs": [tensor]})
    assert response.status_code == 200, response.text
    probabilities = response.json()["outputs"][0]["data"]
    return probabilities.index(max(probabilities))


def supervisors(checkout: Checkout) -> list[psutil.Process]:
    return [process for process in checkout.processes() if "supervisor.supervisord" in process.cmdline()]


@pytest.fixture(scope="module")
def first_up(shared_checkout: Checkout) -> str:
    """What the first `make up` prints."""
    shared_checkout.set(epochs="6", accelerator="cpu:2")
    result = shared_checkout.tool("up")
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_up_trains_serves_and_says_where_to_try_it(shared_checkout: Checkout, first_up: str) -> None:
    outputs = shared_checkout.outputs()
    assert f"Try it: {outputs['inference']['console']}" in first_up
    assert "epoch 6/6" in first_up
    assert "PULUMI_BACKEND_URL=" in first_up
    assert answer(outputs["inference"]["rest"]) == 0


def test_the_readmes_client_gets_the_answer_that_it_promises(shared_checkout: Checkout, first_up: str) -> None:
    readme = (PROJECT / "README.md").read_text()
    program = re.search(r"<<'EOF'\n(.*?)\nEOF", readme, re.DOTALL)
    assert program
    answered = subprocess.run(
        [sys.executable, "-", json.dumps(shared_checkout.outputs())],
        input=program[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answered.stdout == "[0]\n", answered.stderr
    assert "It prints `[0]`" in readme


def test_outputs_are_the_documented_ones(shared_checkout: Checkout, first_up: str) -> None:
    outputs = shared_checkout.outputs()
    assert outputs.keys() == {"plan", "cluster", "storage", "training", "model", "inference", "cost"}
    (pool,) = outputs["plan"]["pools"]
    assert (pool["accelerator"], pool["per_node"], pool["nodes"], pool["fabric"]) == ("cpu", 2, 1, "none")
    assert (pool["machine"], pool["hourly_usd"], pool["findings"]) == ("this machine", 0, [])
    cost = outputs["cost"]
    assert (cost["hourly_usd"], cost["monthly_usd"], cost["catalogue_date"]) == (0, 0, None)
    assert outputs["model"].keys() == {"name", "version", "digest", "uri", "public_key"}
    assert outputs["model"]["version"] == "1"
    assert outputs["training"]["metrics"]["accuracy"] > 0.9
    pictures = [Path(picture) for picture in outputs["training"]["metrics"]["pictures"]]
    assert [picture.name for picture in pictures] == ["confusion.png", "reliability.png"]
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    assert httpx.get(outputs["inference"]["console"]).status_code == 200
    assert list(Path(outputs["inference"]["logs"]).glob("replica-*.log"))
    host, port = outputs["inference"]["grpc"].split(":")
    socket.create_connection((host, int(port)), timeout=5).close()


def test_the_passphrase_is_private_and_no_tracked_file_changed(shared_checkout: Checkout, first_up: str) -> None:
    passphrase = shared_checkout.path / ".accelstack" / "passphrase"
    assert stat.S_IMODE(passphrase.stat().st_mode) == 0o600
    assert "encryptionsalt" in (shared_checkout.path / "stacks" / "Pulumi.local.yaml").read_text()
    git = ["git", "-C", str(shared_checkout.path)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    seen = subprocess.run([*git, "status", "--porcelain", "-uall"], capture_output=True, text=True, check=True).stdout
    assert "Pulumi.yaml" in seen
    assert "Pulumi.local.yaml" not in seen
    assert ".accelstack" not in seen


def test_every_resource_has_a_component_as_parent(shared_checkout: Checkout, first_up: str) -> None:
    exported = json.loads(shared_checkout.pulumi("stack", "export", "--stack", "local").stdout)
    dynamic = [r for r in exported["deployment"]["resources"] if r["type"].startswith("pulumi-python:")]
    assert len(dynamic) == 6
    assert all("::accelstack:index:Local" in resource["parent"] for resource in dynamic)


def test_up_again_changes_nothing(shared_checkout: Checkout, first_up: str) -> None:
    before = shared_checkout.outputs()
    (service,) = supervisors(shared_checkout)
    result = shared_checkout.pulumi("up", "--stack", "local", "--yes", "--expect-no-changes")
    assert result.returncode == 0, result.stdout + result.stderr
    assert shared_checkout.outputs() == before
    assert supervisors(shared_checkout) == [service]


def test_a_changed_setting_is_named_in_the_diff_and_makes_a_new_version(
    shared_checkout: Checkout, first_up: str
) -> None:
    before = shared_checkout.outputs()
    shared_checkout.set(epochs="7")
    preview = shared_checkout.pulumi("preview", "--stack", "local", "--diff")
    assert re.search(r"~ epochs +: 6 => 7", preview.stdout)
    assert not re.search(r"~ (batch_size|seed|dataset|data_digest|code_digest) ", preview.stdout)
    result = shared_checkout.pulumi("up", "--stack", "local", "--yes")
    assert result.returncode == 0, result.stdout + result.stderr
    after = shared_checkout.outputs()
    assert after["training"]["run_id"] != before["training"]["run_id"]
    assert after["model"]["version"] == "2"
    assert after["inference"]["rest"] == before["inference"]["rest"]
    assert answer(after["inference"]["rest"]) == 0
    served = httpx.get(f"{after['inference']['rest']}/v2/models/vision").json()
    assert served["versions"] == ["2"]
    assert Path(urlparse(before["model"]["uri"]).path).is_dir(), "the former version stays for a rollback"


def test_a_killed_replica_is_restarted(shared_checkout: Checkout, first_up: str) -> None:
    address = shared_checkout.outputs()["inference"]["rest"]
    (service,) = supervisors(shared_checkout)
    (replica,) = service.children()
    replica.kill()
    wait_until(lambda: bool({*service.children()} - {replica}) and up(address), "a new replica")
    assert answer(address) == 0


def up(address: str) -> bool:
    try:
        return httpx.get(f"{address}/v2/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_refresh_notices_a_dead_service_and_up_mends_it(shared_checkout: Checkout, first_up: str) -> None:
    address = shared_checkout.outputs()["inference"]["rest"]
    (service,) = supervisors(shared_checkout)
    service.kill()
    wait_until(lambda: not up(address), "the replicas to follow their supervisor")
    refreshed = shared_checkout.tool("refresh")
    assert "LocalService inference deleted" in " ".join(refreshed.stdout.split())
    result = shared_checkout.pulumi("up", "--stack", "local", "--yes")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "LocalTrainingRun" not in result.stdout, "nothing is trained again"
    assert answer(shared_checkout.outputs()["inference"]["rest"]) == 0


def test_a_deleted_model_is_noticed_and_mended_without_training(shared_checkout: Checkout, first_up: str) -> None:
    model = shared_checkout.outputs()["model"]
    shutil.rmtree(urlparse(model["uri"]).path)
    result = shared_checkout.tool("up")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "epoch 1/" not in result.stdout
    mended = shared_checkout.outputs()["model"]
    assert mended["digest"] == model["digest"]
    assert Path(urlparse(mended["uri"]).path, "model.safetensors").exists()
    assert answer(shared_checkout.outputs()["inference"]["rest"]) == 0


def test_a_forced_replacement_of_the_service_ends_with_one_that_serves(
    shared_checkout: Checkout, first_up: str
) -> None:
    exported = json.loads(shared_checkout.pulumi("stack", "export", "--stack", "local").stdout)
    (urn,) = [r["urn"] for r in exported["deployment"]["resources"] if r["type"].endswith(":LocalService")]
    result = shared_checkout.pulumi("up", "--stack", "local", "--yes", "--skip-preview", "--replace", urn)
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(supervisors(shared_checkout)) == 1
    assert answer(shared_checkout.outputs()["inference"]["rest"]) == 0


def test_tampered_weights_are_never_served_and_up_mends_them(shared_checkout: Checkout, first_up: str) -> None:
    outputs = shared_checkout.outputs()
    weights = Path(urlparse(outputs["model"]["uri"]).path, "model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-64] + bytes(64))
    (service,) = supervisors(shared_checkout)
    service.children()[0].kill()
    wait_until(lambda: not up(outputs["inference"]["rest"]), "the replica to be gone")
    result = shared_checkout.tool("up")
    assert result.returncode == 0, result.stdout + result.stderr
    mended = shared_checkout.outputs()
    assert mended["model"]["digest"] == outputs["model"]["digest"]
    assert answer(mended["inference"]["rest"]) == 0


def test_down_removes_every_process_file_and_port(shared_checkout: Checkout, first_up: str) -> None:
    address = shared_checkout.outputs()["inference"]["rest"]
    result = shared_checkout.tool("down")
    assert result.returncode == 0, result.stdout + result.stderr
    assert shared_checkout.processes() == []
    assert not [*(shared_checkout.path / ".accelstack").glob("stacks/local/*")]
    assert not up(address)
    assert shared_checkout.outputs() == {}
