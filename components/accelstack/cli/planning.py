"""`accelstack plan`: settings from a stack's files and from options, the plan or the comparison, the exit code."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import typer
import yaml

from accelstack.plan import compare as comparison
from accelstack.plan import export, quota
from accelstack.plan import plan as plans
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.request import SETTINGS
from accelstack.report import layout
from accelstack.report import plans as shown


def settings(stack: str | None, project: Path, options: dict[str, Any], versions: dict[str, str]) -> dict[str, Any]:
    """The plan's settings: those of the stack, overridden by options.

    Raises:
        typer.BadParameter: there is no such project or stack, or its file holds no settings.
    """
    given = {**(_of_stack(stack, project) if stack is not None else {}), **options}
    if versions:
        table: Any = given.get("versions") or {}
        given["versions"] = {**table, **versions} if isinstance(table, dict) else table
    return given


def plan(given: dict[str, Any], account: bool, as_json: bool) -> int:
    """Prints the plan; the exit code."""
    if given.get("target") == "local":
        from accelstack.local import planning

        decided = planning.plan(given)
    elif given.get("target") == "private":
        from accelstack.private import planning

        decided = planning.plan(given)
    else:
        decided = plans.plan(given)
    if account and decided.request and decided.quotas:
        from accelstack.cli import accounts

        limits, problem = accounts.limits(decided.request.target, decided.request.region, decided.quotas)
        found = [problem] if problem else quota.compare(decided.quotas, limits)
        decided = plans.with_findings(decided, found)
    if as_json:
        layout.emit(export.as_dict(decided))
    else:
        layout.console().print(shown.plan(decided))
    return exit_code(decided.findings)


def compare(given: dict[str, Any], as_json: bool) -> int:
    """Prints every place that fits; the exit code."""
    options, found = comparison.compare(given)
    if as_json:
        layout.emit({"options": [option.as_dict() for option in options], "findings": export.findings_dict(found)})
    else:
        console = layout.console()
        for line in shown.findings(found):
            console.print(line)
        if options:
            console.print(shown.options(options))
            console.print("Known prices first. Prices do not show what is available; capacity is known at launch.")
        elif not found:
            name = str(given["accelerator"]).partition(":")[0]
            console.print(f"No target has it so; see `accelstack gpus {name}` for what there is.")
    return exit_code(found) or (0 if options else 1)


def exit_code(found: list[Finding] | tuple[Finding, ...]) -> int:
    """2 where the input is wrong, 1 where it does not fit, else 0."""
    severities = {finding.severity for finding in found}
    return 2 if Severity.INVALID in severities else int(Severity.ERROR in severities)


def _of_stack(stack: str, project: Path) -> dict[str, Any]:
    """The plan's settings in a stack's file, with the project's defaults; named as its preview names them."""
    file = next((folder / "Pulumi.yaml" for folder in _upwards(project) if (folder / "Pulumi.yaml").is_file()), None)
    if file is None:
        raise typer.BadParameter(f"no Pulumi.yaml in {project.resolve()} or above; name the folder with --project")
    described = _table(file)
    if not isinstance(described.get("name"), str):
        raise typer.BadParameter(f"{file} names no project; write `name: …` into it")
    folder = file.parent / str(described.get("stackConfigDir", "."))
    short = stack.rpartition("/")[2]  # of organisation/project/stack
    chosen = folder / f"Pulumi.{short}.yaml"
    if not chosen.is_file():
        there = [
            path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in sorted(folder.glob("Pulumi.*.yaml"))
        ]
        raise typer.BadParameter(f"there is no {chosen}; stacks with settings: {', '.join(there) or 'none'}")
    prefix = f"{described['name']}:"
    declared = {key.removeprefix(prefix): _default(entry) for key, entry in _config(described, file).items()}
    config = _config(_table(chosen), chosen)
    own = {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix) or ":" not in key}
    if "target" not in {**declared, **own} and (strange := [key for key in config if key.endswith(":target")]):
        raise typer.BadParameter(f"{chosen}: {strange[0]} is of another project; this one is {described['name']}")
    for key, value in own.items():
        if key in SETTINGS and isinstance(value, dict) and "secure" in value:
            raise typer.BadParameter(f"{chosen}: {key} is secret, but plans are shown; set it without --secret")
        if key not in (*SETTINGS, *declared) and (near := get_close_matches(key, SETTINGS, n=1, cutoff=0.8)):
            raise typer.BadParameter(f"{chosen}: {key} is no setting; did you mean {near[0]}?")
    given = {key: value for key, value in {**declared, **own}.items() if key in SETTINGS and value is not None}
    return {**given, "name": f"{described['name']}-{short}"}


def _default(entry: Any) -> Any:
    """The value of a project's configuration entry, which may be plain or a table."""
    if not isinstance(entry, dict):
        return entry
    table = cast(dict[str, Any], entry)
    return table.get("value", table.get("default"))


def _config(content: dict[str, Any], file: Path) -> dict[str, Any]:
    config: Any = content.get("config") or {}
    if not isinstance(config, dict) or not all(isinstance(key, str) for key in cast(dict[Any, Any], config)):
        raise typer.BadParameter(f"{file}: config is no table of settings by name")
    return cast(dict[str, Any], config)


def _upwards(folder: Path) -> list[Path]:
    start = folder.resolve()
    return [start, *start.parents]


def _table(file: Path) -> dict[str, Any]:
    try:
        content: Any = yaml.safe_load(file.read_bytes()) or {}
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} is no YAML: {error}") from None
    if not isinstance(content, dict):
        raise typer.BadParameter(f"{file} holds no settings")
    return cast(dict[str, Any], content)
