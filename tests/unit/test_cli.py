"""The `accelstack` command, as people and programs use it."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from accelstack.cli.main import app
from typer.testing import CliRunner, Result

ASKED = ["plan", "--target", "aws", "--region", "us-east-1", "--accelerator", "H100", "--per-node", "8", "--nodes", "4"]
ZONE = ["--zones", "use1-az1"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def as_json(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    return json.loads(result.stdout)


def test_the_plan_of_the_readme_names_machine_fabric_price_and_verdict() -> None:
    result = run(*ASKED, "--capacity", "spot", *ZONE)
    assert result.exit_code == 0
    for word in ("p5.48xlarge", "H100-80:8", "efa x32", "use1-az1", "cluster", "USD/month", "The plan fits."):
        assert word in result.stdout


def test_the_plan_as_json_has_every_promised_key() -> None:
    answer = as_json(*ASKED, "--capacity", "spot", *ZONE)
    assert answer["fits"] is True
    pool = answer["pools"][0]
    promised = "target region machine nodes gpus fabric fabric_interfaces capacity placement hourly_usd monthly_usd"
    assert {*promised.split(), "catalogue_date", "findings"} <= pool.keys()
    assert (pool["gpus"], pool["fabric_interfaces"], pool["placement"]) == (32, 32, "cluster")
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", pool["catalogue_date"])
    assert pool["monthly_usd"] == pytest.approx(pool["hourly_usd"] * 730, rel=1e-4)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (ZONE, 0),
        ([*ZONE, "--budget", "100"], 1),
        ([*ZONE, "--capacity", "flex_start"], 1),
        (["--capacity", "sport"], 2),
        (["--nodes", "many"], 2),
        (["--colour", "red"], 2),
        (["--stack", "nowhere"], 2),
    ],
)
def test_the_exit_code_tells_whether_it_fits(more: list[str], code: int) -> None:
    assert run(*ASKED, *more).exit_code == code


def test_a_plan_that_does_not_fit_says_what_would() -> None:
    result = run(
        *ASKED,
        "--capacity",
        "spot",
        "--reservation",
        "cr-0123456789abcdef0",
        "--budget",
        "100",
        "--cidr",
        "10.0.0.0/26",
    )
    assert result.exit_code == 1
    words = " ".join(result.stdout.split())
    assert "The plan does not fit: 3 errors." in words
    for part in ("reservation: cr-0123456789abcdef0:", "budget: 100 USD a month:", "cidr: 10.0.0.0/26:"):
        assert part in words


def project(folder: Path) -> Path:
    (folder / "stacks").mkdir()
    (folder / "Pulumi.yaml").write_text(
        "name: mine\nruntime: python\nstackConfigDir: stacks\n"
        "config:\n  target: {type: string, default: aws}\n  colour: {type: string, default: red}\n"
    )
    (folder / "stacks" / "Pulumi.dev.yaml").write_text(
        "config:\n  mine:region: us-east-1\n  mine:zones: [use1-az1]\n  mine:budget: 1000000\n"
        "  mine:pools:\n    train: {accelerator: 'H100:8', nodes: 2, capacity: spot}\n"
    )
    return folder


def test_the_settings_of_a_stack_are_read_from_its_files_and_options_override_them(tmp_path: Path) -> None:
    where = ["--project", str(project(tmp_path))]
    answer = as_json("plan", "--stack", "dev", *where)
    first = answer["pools"][0]
    assert (first["name"], first["machine"], first["nodes"]) == ("train", "p5.48xlarge", 2)
    assert run("plan", "--stack", "dev", *where, "--budget", "5").exit_code == 1
    below = tmp_path / "stacks"
    assert as_json("plan", "--stack", "dev", "--project", str(below)) == answer


def test_an_unknown_stack_or_project_is_told_with_what_there_is(tmp_path: Path) -> None:
    result = run("plan", "--stack", "prod", "--project", str(project(tmp_path)))
    assert result.exit_code == 2
    assert "dev" in result.stderr
    (tmp_path / "stacks" / "Pulumi.bad.yaml").write_text("config: [")
    assert run("plan", "--stack", "bad", "--project", str(tmp_path)).exit_code == 2
    assert "no Pulumi.yaml" in " ".join(run("plan", "--stack", "dev", "--project", "/").stderr.replace("│", "").split())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("config: [", "is no YAML"),
        ("config: 5", "is no table of settings"),
        ("config: {5: 6}", "is no table of settings"),
        ("- a", "holds no settings"),
        ("config: {mine:budget: {secure: abc}}", "budget is secret"),
        ("config: {mine:budgte: 100}", "did you mean budget"),
        ("config: {other:target: aws}", "other:target is of another project; this one is mine"),
    ],
)
def test_an_odd_stack_file_is_refused_with_the_reason(tmp_path: Path, content: str, reason: str) -> None:
    text = (project(tmp_path) / "Pulumi.yaml").read_text().replace("  target: {type: string, default: aws}\n", "")
    (tmp_path / "Pulumi.yaml").write_text(text)
    (tmp_path / "stacks" / "Pulumi.odd.yaml").write_text(content)
    result = run("plan", "--stack", "odd", "--project", str(tmp_path))
    assert result.exit_code == 2
    assert reason in " ".join(result.stderr.replace("│", "").split())


def test_the_command_plans_a_stack_under_the_name_that_its_preview_gives_it(tmp_path: Path) -> None:
    text = (project(tmp_path) / "Pulumi.yaml").read_text()
    (tmp_path / "Pulumi.yaml").write_text(text.replace("name: mine", f"name: {'m' * 100}"))
    file = tmp_path / "stacks" / "Pulumi.dev.yaml"
    file.write_text(file.read_text().replace("mine:", "m" * 100 + ":"))
    result = run("plan", "--stack", "dev", "--project", str(tmp_path))
    assert result.exit_code == 1
    assert "at most 100" in " ".join(result.stdout.split())


def test_this_machine_is_planned_too_and_costs_nothing() -> None:
    answer = as_json("plan", "--target", "local", "--accelerator", "cpu:1")
    assert answer["cost"]["hourly_usd"] == 0
    assert answer["pools"][0]["per_node"] == 1
    assert run("plan", "--target", "local", "--nodes", "3").exit_code == 2
    assert run("plan", "--target", "local", "--accelerator", "cpu:100000").exit_code == 1


def test_compare_lists_every_target_and_region_known_prices_first() -> None:
    answer = as_json("plan", "--compare", "--accelerator", "A100-80:8", "--nodes", "2")
    options = answer["options"]
    assert {option["target"] for option in options} == {"aws", "azure", "gcp"}
    prices = [option["hourly_usd"] for option in options]
    known = [price for price in prices if price is not None]
    assert known == sorted(known)
    assert prices[: len(known)] == known
    assert run("plan", "--compare", "--accelerator", "A100-80:3").exit_code == 1
    assert run("plan", "--compare", "--accelerator", "A100-8O").exit_code == 2
    assert run("plan", "--compare", "--accelerator", "L4:1", "--region", "moon").exit_code == 2
    cheap = as_json("plan", "--compare", "--accelerator", "L4:1", "--budget", "600")["options"]
    assert 0 < len([option for option in cheap if option["monthly_usd"]]) < len(options) * 10
    assert all(option["monthly_usd"] is None or option["monthly_usd"] <= 600 for option in cheap)
    only = as_json("plan", "--compare", "--accelerator", "L4:1", "--target", "gcp", "--region", "us-central1")
    assert {(option["target"], option["region"]) for option in only["options"]} == {("gcp", "us-central1")}


def test_gpus_lists_accelerators_and_the_machines_of_one() -> None:
    assert "H200" in run("gpus").stdout
    machines = as_json("gpus", "H100")
    assert {machine["accelerator"] for machine in machines} == {"H100-80", "H100-94"}
    assert {machine["target"] for machine in machines} == {"aws", "azure", "gcp"}
    wrong = run("gpus", "H10")
    assert wrong.exit_code == 2
    assert "did you mean H100" in wrong.stderr


def test_prices_have_dates_and_unknown_ones_are_null() -> None:
    rows = as_json("prices", "--target", "aws", "--region", "us-east-1", "--accelerator", "H100")
    p5 = next(row for row in rows if row["machine"] == "p5.48xlarge")
    assert p5["prices"]["on_demand"]["usd"] < 60
    assert p5["prices"]["on_demand"]["date"] > "2025-06"
    assert run("prices", "--target", "awz").exit_code == 2
    assert run("prices", "--region", "moon").exit_code == 2


def test_doctor_looks_at_this_machine_and_says_what_it_could_not_check() -> None:
    checks = as_json("doctor", "--target", "local")
    assert {"Pulumi CLI", "packages", "disk", "machine"} == {check["name"] for check in checks}
    assert run("doctor", "--target", "moon").exit_code == 2
    assert run("doctor", "--target", "aws", "--region", "moon").exit_code == 2


def test_the_command_starts_without_the_engine_and_the_clouds() -> None:
    code = (
        "import sys; from accelstack.cli.main import app; from accelstack.cli import catalogue, planning; "
        "print([m for m in ('pulumi', 'boto3', 'google', 'azure', 'torch') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def test_the_commands_of_the_readme_do_what_it_says() -> None:
    lines = re.findall(r"^accelstack ([^#\n]+)", README, re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        if not line.startswith(("doctor", "status")):  # asks an account, or a cluster
            assert run(*shlex.split(line)).exit_code == 0, line


def test_the_stack_file_of_the_readme_makes_a_plan_that_fits(tmp_path: Path) -> None:
    found = re.search(r"```yaml\n# stacks/Pulumi.train.yaml\n(.*?)```", README, re.DOTALL)
    assert found
    (tmp_path / "Pulumi.yaml").write_text("name: accelstack\nruntime: python\n")
    (tmp_path / "Pulumi.train.yaml").write_text(found[1])
    result = run("plan", "--stack", "train", "--project", str(tmp_path))
    assert result.exit_code == 0, result.stdout
    assert "a2-ultragpu-8g" in result.stdout
