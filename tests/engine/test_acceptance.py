"""`make acceptance`: a new stack's whole life, and a report that does not tell who sent it."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import acceptance
import pytest
from moto.server import ThreadedMotoServer

from tests.engine import checkout as checkouts
from tests.engine import programs
from tests.engine.double.server import Double
from tests.engine.programs import DOUBLES

SETTINGS: dict[str, Any] = {
    "config": {
        "accelstack:target": "aws",
        "accelstack:region": "us-east-1",
        "accelstack:accelerator": "L4:1",
        "accelstack:nat": "single",
        "accelstack:image": f"123456789012.dkr.ecr.us-east-1.amazonaws.com/w@sha256:{'a' * 64}",
    },
    "secretsprovider": "passphrase",
}


def test_a_stack_is_taken_through_its_life_and_the_report_masks_its_sender(tmp_path: Path) -> None:
    made = checkouts.make(tmp_path / "checkout")
    crds = str(programs.definitions(made.path / "definitions"))
    settings = {**SETTINGS, "config": {**SETTINGS["config"], "accelstack:crds": crds}}
    (made.path / "stacks" / "Pulumi.try.yaml").write_text(json.dumps(settings, indent=2))
    amazon = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    amazon.start()
    doubles = {name: Double(name) for name in DOUBLES}
    with ExitStack() as serving:
        serving.callback(amazon.stop)
        host, port = amazon.get_host_and_port()
        environment = {
            **made.environment,
            **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "testing"),
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "PULUMI_DEBUG_PROVIDERS": ",".join(serving.enter_context(each.serving()) for each in doubles.values()),
        }
        done = subprocess.run(
            [sys.executable, "tools/acceptance.py", "--stack", "try"],
            cwd=made.path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=checkouts.PATIENCE,
            check=False,
        )
    report = (made.path / "acceptance-try.md").read_text()
    assert done.returncode == 0, report
    for step in ("doctor", "plan", "preview", "up", "outputs", "up again", "refresh", "down"):
        assert f"| {step} |" in report
    assert report.count("| passed |") == 8
    assert "123456789012" not in report
    assert not doubles["aws"].cloud.resources


def test_numbers_of_accounts_addresses_and_mails_are_masked_and_the_rest_is_not() -> None:
    told = acceptance.masked("arn:aws:iam::123456789012:role/x from 203.0.113.7, ask a.b@example.com, 10 of 1024")
    assert told == "arn:aws:iam::<account>:role/x from <address>, ask <e-mail>, 10 of 1024"


def test_after_a_step_that_failed_the_stack_is_taken_down_and_nothing_else_is_tried() -> None:
    life = acceptance.steps("try", keep=False)
    failed = acceptance.Outcome(life[0], 1, 0.1, "no credentials")
    assert [step.name for step in acceptance.left([failed], life)] == ["down"]


@pytest.mark.parametrize(("resources", "refused"), [(0, False), (1, False), (5, True)])
def test_a_stack_that_holds_resources_is_refused(
    resources: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = json.dumps({"deployment": {"resources": [{}] * resources}})
    answer = subprocess.CompletedProcess[str]([], 0, state, "")
    monkeypatch.setattr(acceptance, "pulumi", lambda *_, **__: answer)
    stack = acceptance.Stack("try")
    if refused:
        with pytest.raises(SystemExit, match="stack try holds resources; choose a new one"):
            acceptance.refuse_existing(stack, {})
    else:
        acceptance.refuse_existing(stack, {})
