"""The plan in the engine: printed once, exported, and refused before anything is made."""

from pathlib import Path

import pytest

from tests.engine import programs
from tests.engine.checkout import Checkout

IMAGE = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/workload@sha256:{'a' * 64}"

TRAIN = '{"train": {"accelerator": "H100:8", "nodes": 4, "capacity": "spot", "zones": ["use1-az1"]}}'


def test_a_preview_prints_the_plan_once_and_exports_it(tmp_path: Path) -> None:
    with programs.attached(tmp_path / "p", ("aws", "docker-build", "kubernetes"), stacks=True) as program:
        program.configure(target="aws", region="us-east-1", budget="1000000", pools=TRAIN, image=IMAGE)
        run = program.preview()
    assert run.ok, run.output
    assert run.output.count("p5.48xlarge   H100-80:8") == 1
    assert run.output.count("The plan fits.") == 1
    outputs = run.output.partition("--outputs:--")[2]
    for line in ("fabric_interfaces: 32", 'machine          : "p5.48xlarge"', "monthly_usd"):
        assert line in outputs


@pytest.mark.parametrize(
    ("settings", "reasons"),
    [
        (
            {"accelerator": "H100:8", "capacity": "spot", "reservation": "cr-0123456789abcdef0", "budget": "100"},
            [
                "reservation: cr-0123456789abcdef0: spot capacity never uses a reservation",
                "budget: 100 USD a month: the plan costs",
            ],
        ),
        ({"accelerator": "TPU-v6e:4"}, ["accelerator: TPU-v6e: is not on aws; it is on gcp"]),
        ({"accelerator": "H100:8", "region": "us-esat-1"}, ["region: us-esat-1: is no known region of aws"]),
    ],
    ids=["several", "elsewhere", "typo"],
)
def test_a_plan_that_does_not_fit_is_refused_with_every_reason(
    checkout: Checkout, settings: dict[str, str], reasons: list[str]
) -> None:
    checkout.set(**{"target": "aws", "region": "us-east-1", **settings})
    result = checkout.pulumi("preview", "--stack", "local")
    assert result.returncode != 0
    assert all(reason in result.stdout for reason in reasons), result.stdout
    assert "Traceback" not in result.stdout


def test_a_target_that_is_planned_only_is_not_brought_up_and_says_so(checkout: Checkout) -> None:
    checkout.set(target="gcp", region="us-central1", accelerator="L4:1")
    result = checkout.pulumi("up", "--stack", "local", "--yes")
    assert result.returncode != 0
    assert "target gcp is planned, but not provisioned yet; use `pulumi preview`" in result.stdout
