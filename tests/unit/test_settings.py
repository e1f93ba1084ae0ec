"""The stack's configuration: what is refused, and how the message helps."""

from pathlib import Path

import settings
import yaml

ROOT = Path(__file__).resolve().parents[2]


def declared() -> dict[str, dict[str, object]]:
    return yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]


def defaults() -> dict[str, str]:
    return {key: str(entry["default"]) for key, entry in declared().items()}


def test_every_setting_is_declared_with_type_default_and_description_and_the_defaults_are_good() -> None:
    values, problems = settings.parse(defaults(), "local")
    assert problems == []
    asked = {"target": "local", "accelerator": "auto"}
    assert values.pop("plan") == asked
    assert values.keys() == {field.name for field in settings.fields(settings.Settings)} - {"plan"}
    assert values.keys() - {*settings.OPTIONAL} == declared().keys()
    assert all(entry.keys() == {"type", "default", "description"} for entry in declared().values())


def test_an_unknown_key_is_named_with_the_nearest_known_one() -> None:
    _, problems = settings.parse({**defaults(), "epoch": "3"}, "local")
    assert len(problems) == 1
    assert "epoch: is no setting" in problems[0]
    assert "did you mean epochs?" in problems[0]


def test_all_problems_are_told_at_once() -> None:
    wrong = {**defaults(), "epochs": "many", "learning_rate": "fast", "target": "moon", "colour": "red"}
    _, problems = settings.parse(wrong, "local")
    assert [line.strip().split(":")[0] for line in problems] == ["colour", "epochs", "learning_rate", "target"]
    assert "'many', not a whole number" in problems[1]
    assert "'fast', not a number" in problems[2]
    assert "'moon' is no target; use one of: local" in problems[3]


def test_a_missing_setting_is_named() -> None:
    given = defaults()
    del given["seed"]
    _, problems = settings.parse(given, "local")
    assert problems == ["  seed: is not set; set it with `pulumi config set --stack local seed VALUE`"]


def test_what_is_usual_for_the_workload_need_not_be_set() -> None:
    values, _ = settings.parse({**defaults(), "epochs": "3"}, "local")
    chosen = settings.Settings(**values)
    assert chosen.training == {"workload": "vision", "seed": 0, "epochs": 3}
    assert chosen.model_name == "vision"
    assert settings.Settings(**{**values, "model": "mine"}).model_name == "mine"


def test_settings_of_the_plan_are_passed_on_and_tables_among_them_are_read() -> None:
    given = {**defaults(), "nodes": "4", "pools": '{"train": {"accelerator": "L4:1"}}'}
    values, problems = settings.parse(given, "local")
    assert problems == []
    assert values["plan"]["nodes"] == "4"
    assert values["plan"]["pools"] == {"train": {"accelerator": "L4:1"}}
    _, problems = settings.parse({**given, "pools": "train"}, "local")
    assert problems == ["  pools: 'train' is no table; write it into Pulumi.local.yaml as one"]
