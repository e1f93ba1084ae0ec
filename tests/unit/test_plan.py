"""Decisions that need neither an engine nor a machine."""

import pytest
from accelstack.plan import accelerators, training
from accelstack_workloads.workloads import WORKLOADS

GOOD = {
    "workload": "vision",
    "architecture": "cnn",
    "dataset": "digits",
    "epochs": 3,
    "batch_size": 64,
    "learning_rate": 0.003,
    "seed": 0,
    "model": "digits",
}


@pytest.mark.parametrize(("text", "name", "count"), [("cpu", "cpu", None), ("cpu:2", "cpu", 2), ("H100:8", "H100", 8)])
def test_an_accelerator_is_a_name_and_perhaps_a_count(text: str, name: str, count: int | None) -> None:
    assert accelerators.parse(text) == accelerators.Accelerator(name, count)


@pytest.mark.parametrize(
    ("text", "hint"),
    [("H10", "did you mean H100"), ("h100", "H100"), ("gpu:0", "'gpu'"), ("cpu:0", "whole number"), ("L4:x", "'x'")],
)
def test_a_wrong_accelerator_is_refused_with_the_nearest_names_or_the_rule(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        accelerators.parse(text)


def test_good_settings_have_no_problem() -> None:
    assert training.problems(GOOD) == {}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("workload", "poetry", "'poetry' is no bundled workload"),
        ("architecture", "gpt", "'gpt' is none of vision; use one of: cnn, resnet18"),
        ("epochs", 0, "is 0; it must be 1 or more"),
        ("batch_size", -4, "is -4; it must be 1 or more"),
        ("seed", -1, "is -1"),
        ("learning_rate", 0.0, "must be above 0"),
        ("learning_rate", float("nan"), "must be above 0"),
        ("learning_rate", float("inf"), "at most 10"),
        ("dataset", "", "is empty"),
        ("model", "Bad Name", "is no model name"),
        ("model", "../up", "is no model name"),
        ("model", "a" * 64, "is no model name"),
    ],
)
def test_each_wrong_setting_is_named_with_its_rule(name: str, value: object, reason: str) -> None:
    found = training.problems({**GOOD, name: value})
    assert list(found) == [name]
    assert reason in found[name]


def test_what_a_training_job_leaves_out_is_usual_for_its_workload_as_the_workloads_have_it() -> None:
    assert training.WORKLOADS.keys() == WORKLOADS.keys()
    for name, own in WORKLOADS.items():
        settled = training.settled({"workload": name})
        assert settled == {
            "workload": name,
            "architecture": own.architectures[0],
            "dataset": own.dataset,
            "epochs": own.epochs,
            "batch_size": own.batch_size,
            "learning_rate": own.learning_rate,
            "seed": 0,
            "model": name,
        }
        assert training.problems(settled) == {}
        assert training.WORKLOADS[name].architectures == own.architectures


def test_a_batch_that_does_not_divide_names_the_next_that_does() -> None:
    assert training.uneven_batch(64, 2) is None
    assert "use 66" in (training.uneven_batch(65, 2) or "")
