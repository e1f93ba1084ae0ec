"""The networks for pictures compute what their papers say, and a ResNet resumes as every network does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelstack_workloads import model_format
from accelstack_workloads.datasets import prepared
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.exports import onnx_file
from accelstack_workloads.group import Group
from accelstack_workloads.model_files import ModelDescription
from accelstack_workloads.models.cnn import Cnn
from accelstack_workloads.models.resnet import ResNet18
from accelstack_workloads.optimizer import WEIGHT_DECAY
from accelstack_workloads.run_folder import RunFolder
from accelstack_workloads.sampling import batch, order
from accelstack_workloads.schedule import learning_rate
from accelstack_workloads.settings import Execution, Settings
from accelstack_workloads.train import Trainer
from safetensors.torch import load_file
from torch.nn import functional

FACTS = {"shape": [3, 32, 32], "classes": [*"0123456789"]}
RATE = 0.005


def trainer(data: Path, folder: Path, architecture: str, batch_size: int, epochs: int) -> Trainer:
    loaded = prepared.load(data)
    settings = Settings(loaded.digest, epochs, batch_size, RATE, 1, architecture)
    return Trainer(loaded, RunFolder(folder), settings, Group(0, 1, torch.device("cpu")), Execution())


def test_a_step_of_the_cnn_is_that_of_plain_torch(digits_data: Path, tmp_path: Path) -> None:
    """The loss, its gradients and the first step of AdamW, with convolutions as products of unfolded patches."""
    ours = trainer(digits_data, tmp_path, "cnn", 32, 2)
    network = ours.model.network
    before = {name: value.detach().double().requires_grad_() for name, value in network.named_parameters()}
    indices = order(1, 0, ours.feed.count)
    images, labels = ours.feed.batch(batch(indices, 0, 32), slice(None), 0, 0)
    x = (images.double() - ours.model.mean) / ours.model.std
    for layer in ("conv1", "conv2"):
        kernel = before[f"{layer}.weight"].flatten(1)
        patches = functional.unfold(x, 3, padding=1)
        x = (kernel @ patches + before[f"{layer}.bias"][:, None]).relu().unflatten(2, x.shape[2:])
        x = x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).amax((3, 5))
    x = (x.flatten(1) @ before["hidden.weight"].T + before["hidden.bias"]).relu()
    logits = x @ before["output.weight"].T + before["output.bias"]
    smooth = torch.full_like(logits, 0.05 / 10).scatter(1, labels[:, None], 0.95 + 0.05 / 10)
    loss = -(smooth * (logits - logits.logsumexp(1, keepdim=True))).sum(1).mean()
    loss.backward()

    ours.train_step(network, indices, 0, 0)
    measured, _, count = ours.totals.tolist()
    assert measured / count == pytest.approx(loss.item(), rel=1e-5)
    rate = learning_rate(ours.settings.schedule, 0, 2 * ours.steps, RATE)
    for name, parameter in network.named_parameters():
        gradient, start = before[name].grad, before[name].detach()
        assert gradient is not None
        torch.testing.assert_close(parameter.grad.double(), gradient, rtol=1e-4, atol=1e-6)
        own = parameter.grad.double()
        stepped = start * (1 - rate * WEIGHT_DECAY) - rate * own / (own.abs() + 1e-8)
        torch.testing.assert_close(parameter.detach().double(), stepped, rtol=1e-5, atol=1e-7)


def test_the_cnn_s_gradients_are_what_differences_show() -> None:
    torch.manual_seed(0)
    network = Cnn({"shape": [1, 4, 4], "classes": ["a", "b"]}, conv1=2, conv2=2, hidden=3).double()
    images = torch.rand(2, 1, 4, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(network, images)


class TestResNet:
    def test_it_has_as_many_weights_as_resnet_18_for_cifar(self) -> None:
        # https://arxiv.org/abs/1512.03385, table 1, with a 3x3 first layer, projections as shortcuts and ten classes
        assert sum(weight.numel() for weight in ResNet18(FACTS).parameters()) == 11_173_962

    @pytest.mark.parametrize("training", [True, False])
    def test_it_computes_what_plain_functions_compute(self, training: bool) -> None:
        torch.manual_seed(0)
        network = ResNet18(FACTS, width=4)
        with torch.no_grad():
            for name, value in network.state_dict().items():
                if "norm" in name and value.is_floating_point():  # as begun, half of the norms would hide what is wrong
                    value.uniform_(0.5, 1.5)
        network.train(training)
        before = {name: value.clone() for name, value in network.state_dict().items()}

        def norm(x: torch.Tensor, name: str) -> torch.Tensor:
            variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
            if not training:
                variance, mean = before[f"{name}.running_var"], before[f"{name}.running_mean"]
            scale = before[f"{name}.weight"] / (variance + 1e-5).sqrt()
            return (x - mean[:, None, None]) * scale[:, None, None] + before[f"{name}.bias"][:, None, None]

        def convolved(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
            weight = before[f"{name}.weight"]
            return functional.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)

        images = torch.rand(6, 3, 32, 32)
        x = norm(convolved(images, "first"), "norm").relu()
        for number in range(8):
            block, stride = f"blocks.{number}", 2 if number in (2, 4, 6) else 1
            inner = norm(convolved(x, f"{block}.conv1", stride), f"{block}.norm1").relu()
            inner = norm(convolved(inner, f"{block}.conv2"), f"{block}.norm2")
            beside = norm(convolved(x, f"{block}.shortcut.0", stride), f"{block}.shortcut.1") if stride > 1 else x
            x = (inner + beside).relu()
        assert x.shape == (6, 32, 4, 4)
        expected = x.mean((2, 3)) @ before["output.weight"].T + before["output.bias"]
        torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-4)

    def test_a_run_stopped_between_epochs_ends_with_exactly_the_same_weights(
        self, digits_data: Path, tmp_path: Path
    ) -> None:
        whole = trainer(digits_data, tmp_path / "whole", "resnet18", 720, 2)
        whole.fit(whole.resume(), stop=False)
        whole.finish(whole.resume())
        first = trainer(digits_data, tmp_path / "parts", "resnet18", 720, 2)
        start = first.resume()
        first.fit(start, stop=Later())
        again = trainer(digits_data, tmp_path / "parts", "resnet18", 720, 2)
        start = again.resume()
        assert (start.epoch, start.step) == (1, 0)
        again.fit(start, stop=False)
        again.finish(start)
        meant, found = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "parts"))
        assert meant.keys() == found.keys()
        assert all(torch.equal(meant[name], found[name]) for name in meant)
        assert found["norm.num_batches_tracked"] == 2 * again.steps

    def test_onnx_runtime_gives_what_it_gives(self, tmp_path: Path) -> None:
        facts = {**FACTS, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
        model = model_format.build(ModelDescription("vision", "resnet18", facts, sizes={"width": 8})).eval()
        assert onnx_file.write(model, tmp_path) < 1e-4

    def test_pictures_that_are_too_small_are_refused(self) -> None:
        with pytest.raises(WorkloadError, match="4x8 pixels are too small; resnet18 needs 8x8 or more, or use cnn"):
            ResNet18({**FACTS, "shape": [1, 4, 8]})


class Later:
    """A stop request that arrives after the first epoch has begun."""

    asked = 0

    def __bool__(self) -> bool:
        self.asked += 1
        return self.asked > 1
