"""`accelstack plan`: settings from a stack's files and from options, the plan or the comparison, the exit code."""

from pathlib import Path
from typing import Any, cast

import typer
import yaml

from accelstack.cli.main import emit
from accelstack.plan import compare as comparison
from accelstack.plan import plan as plans
from accelstack.plan import quota
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.request import POOL_KEYS, STACK_KEYS
from accelstack.report import layout
from accelstack.report import plans as shown

KEYS = (*STACK_KEYS, *POOL_KEYS, "pools")


def settings(stack: str | None, project: Path, options: dict[str, Any], versions: dict[str, str]) -> dict[str, Any]:
    """The plan's settings: those of the stack, overridden by options.

    Raises:
        typer.BadParameter: there is no such project or stack, or its file is no YAML of settings.
    """
    given = {**(_of_stack(stack, project) if stack else {}), **options}
    if versions:
        given["versions"] = {**(given.get("versions") or {}), **versions}
    return given


def plan(given: dict[str, Any], account: bool, as_json: bool) -> int:
    """Prints the plan; the exit code."""
    if given.get("target") == "local":
        from accelstack.local import planning

        decided = planning.plan(given)
    else:
        decided = plans.plan(given)
    if account and decided.request:
        from accelstack.cli import accounts

        limits, problem = accounts.limits(decided.request.target, decided.request.region, decided.quotas)
        found = [problem] if problem else quota.compare(decided.quotas, limits)
        decided = plans.with_findings(decided, found)
    if as_json:
        emit(plans.as_dict(decided))
    else:
        layout.console().print(shown.plan(decided))
    return exit_code(decided.findings)


def compare(given: dict[str, Any], as_json: bool) -> int:
    """Prints every place that fits; the exit code."""
    options, found = comparison.compare(given)
    if as_json:
        emit({"options": [option.as_dict() for option in options], "findings": plans.findings_dict(found)})
    else:
        console = layout.console()
        for line in shown.findings(found):
            console.print(line)
        if options:
            console.print(shown.options(options))
            console.print("Known prices first. Prices do not show what is available; capacity is known at launch.")
        elif not found:
            console.print(f"No target has it so; see `accelstack gpus {given.get('accelerator', '')}`.")
    return exit_code(found) or (0 if options else 1)


def exit_code(found: list[Finding] | tuple[Finding, ...]) -> int:
    """2 where the input is wrong, 1 where it does not fit, else 0."""
    severities = {finding.severity for finding in found}
    return 2 if Severity.INVALID in severities else int(Severity.ERROR in severities)


def _of_stack(stack: str, project: Path) -> dict[str, Any]:
    """The plan's settings in a stack's file, with the project's defaults."""
    file = next((folder / "Pulumi.yaml" for folder in _upwards(project) if (folder / "Pulumi.yaml").is_file()), None)
    if file is None:
        raise typer.BadParameter(f"no Pulumi.yaml in {project.resolve()} or above; name the folder with --project")
    described = _yaml(file)
    folder = file.parent / str(described.get("stackConfigDir", "."))
    chosen = folder / f"Pulumi.{stack}.yaml"
    if not chosen.is_file():
        there = sorted(path.name.split(".")[1] for path in folder.glob("Pulumi.*.yaml"))
        raise typer.BadParameter(f"there is no {chosen}; stacks with settings: {', '.join(there) or 'none'}")
    prefix = f"{described.get('name')}:"
    defaults: dict[str, Any] = {key.removeprefix(prefix): _default(entry) for key, entry in _config(described).items()}
    own: dict[str, Any] = {key.removeprefix(prefix): value for key, value in _config(_yaml(chosen)).items()}
    return {key: value for key, value in {**defaults, **own}.items() if key in KEYS and value is not None}


def _default(entry: Any) -> Any:
    """The value of a project's configuration entry, which may be plain or a table."""
    if not isinstance(entry, dict):
        return entry
    table = cast(dict[str, Any], entry)
    return table.get("value", table.get("default"))


def _config(content: dict[str, Any]) -> dict[str, Any]:
    return content.get("config") or {}


def _upwards(folder: Path) -> list[Path]:
    start = folder.resolve()
    return [start, *start.parents]


def _yaml(file: Path) -> dict[str, Any]:
    try:
        content: Any = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as error:
        raise typer.BadParameter(f"{file} is no YAML: {error}") from None
    if not isinstance(content, dict):
        raise typer.BadParameter(f"{file} holds no settings")
    return content  # pyright: ignore[reportUnknownVariableType]
