"""What people get wrong: each is told with its name, its value and the fix, and nothing is made."""

import socket
from pathlib import Path

import pytest
from PIL import Image

from tests.engine.checkout import Checkout


def pictures(folder: Path, classes: dict[str, int]) -> Path:
    """A dataset of grey pictures, so many a class."""
    for shade, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", (8, 8), 60 * shade + number).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"target": "moon"}, "target: 'moon' is no target; use one of: local, private, aws, gcp, azure"),
        ({"nodes": "4"}, "nodes: 4: means nothing on target local"),
        ({"pools": "train"}, "pools: 'train' is no table"),
        ({"epoch": "3"}, "epoch: is no setting; did you mean epochs?"),
        ({"epochs": "0"}, "epochs: is 0; it must be 1 or more"),
        ({"epochs": "many"}, "epochs: is 'many', not a whole number"),
        ({"batch_size": "-1"}, "batch_size: is -1; it must be 1 or more"),
        ({"learning_rate": "fast"}, "learning_rate: is 'fast', not a number"),
        ({"accelerator": "H10"}, "'H10' is no known accelerator; did you mean"),
        ({"accelerator": "H200"}, "'H200' is not here: this machine has"),
        ({"batch_size": "65", "accelerator": "cpu:2"}, "is 65, not a multiple of 2 processes; use 66"),
        ({"dataset": "/no/such/folder"}, "'/no/such/folder' is missing or holds no file"),
        ({"replicas": "0"}, "replicas: is 0; it must be 1 to 64"),
        ({"rest_port": "99999"}, "rest_port: is 99999; it must be 1 to 65535"),
        ({"model": "No Good"}, "model: 'No Good' is no model name"),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_is_refused_in_the_preview(checkout: Checkout, settings: dict[str, str], reason: str) -> None:
    checkout.set(**settings)
    result = checkout.pulumi("preview", "--stack", "local")
    printed = result.stdout + result.stderr
    assert result.returncode != 0
    assert reason in printed
    assert "Traceback" not in printed
    assert not (checkout.path / ".accelstack" / "stacks").exists()


def test_a_taken_port_is_refused_before_anything_is_made(checkout: Checkout) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        checkout.set(rest_port=str(port))
        result = checkout.pulumi("preview", "--stack", "local")
    assert result.returncode != 0
    assert f"port {port} is taken by" in result.stdout
    assert not (checkout.path / ".accelstack" / "stacks").exists()


def test_a_broken_picture_is_named_and_stops_the_run_before_training(checkout: Checkout, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "data", {"dark": 8, "light": 8})
    (folder / "light" / "5.png").write_bytes(b"no picture at all")
    checkout.set(dataset=str(folder))
    result = checkout.pulumi("up", "--stack", "local", "--yes", "--skip-preview")
    assert result.returncode != 0
    assert "light/5.png" in result.stdout
    assert "epoch 1/" not in result.stdout
    assert "Traceback" not in result.stdout


def test_a_dataset_of_one_class_stops_the_run_before_training(checkout: Checkout, tmp_path: Path) -> None:
    checkout.set(dataset=pictures(tmp_path / "data", {"dark": 8}).as_uri())
    result = checkout.pulumi("up", "--stack", "local", "--yes", "--skip-preview")
    assert result.returncode != 0
    assert "one class" in result.stdout
    assert "epoch 1/" not in result.stdout


def test_two_ups_at_once_the_second_is_told_and_the_first_goes_on(checkout: Checkout) -> None:
    checkout.set(epochs="500")
    with checkout.up_in_background() as first:
        first.wait_for("epoch 2/500")
        second = checkout.tool("up")
        assert second.returncode != 0
        assert "the stack is currently locked" in second.stdout + second.stderr
        assert first.process.poll() is None, "the first is not disturbed"
        first.interrupt()
        assert first.process.wait(timeout=60) != 0
    assert "stopped after checkpoint" in first.log.read_text()
