"""Takes a new stack of a real account through its whole life and writes a report that can be shared.

usage: acceptance.py --stack NAME [--keep]

It costs what the stack's plan says while the stack is up. The stack must hold no resources yet; `--keep` leaves it up
at the end. Account numbers, IP addresses and e-mail addresses are masked in the report.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from stack import BIN, ROOT, Stack, pulumi, say

MASKS = {
    r"\b\d{12}\b": "<account>",
    r"\b\d{1,3}(\.\d{1,3}){3}\b": "<address>",
    r"[\w.+-]+@[\w-]+\.[\w.]+": "<e-mail>",
}
TAIL = 60
"""Lines of each step's output that the report keeps."""


@dataclass(frozen=True)
class Step:
    """One thing to do, and what it shows that only a real account can."""

    name: str
    shows: str
    command: list[str]
    undoes: bool = False
    """Whether it is done even after a step that failed."""


@dataclass(frozen=True)
class Outcome:
    """How a step went."""

    step: Step
    code: int
    seconds: float
    output: str


def steps(stack: str, keep: bool) -> list[Step]:
    """The life of a stack: checked, made, found unchanged, compared with what is there, removed."""
    command = [str(ROOT / ".venv" / "bin" / "accelstack")]
    engine = [str(BIN / "pulumi")]
    named = ["--stack", stack]
    life = [
        Step("doctor", "credentials, permissions, quota and offers", [*command, "doctor", *named]),
        Step("plan", "the account's quotas against the plan", [*command, "plan", *named, "--account"]),
        Step("preview", "data sources of the account", [*engine, "preview", *named]),
        Step("up", "every resource is accepted, made and ready", [*engine, "up", *named, "--yes", "--skip-preview"]),
        Step("outputs", "what the stack tells of itself", [*engine, "stack", "output", *named, "--json"]),
        Step("up again", "nothing changes", [*engine, "up", *named, "--yes", "--expect-no-changes"]),
        Step(
            "refresh",
            "what is there is what was asked for",
            [*engine, "refresh", *named, "--yes", "--expect-no-changes"],
        ),
    ]
    if keep:
        return life
    return [*life, Step("down", "all is removed in one go", [*engine, "destroy", *named, "--yes"], undoes=True)]


def left(outcomes: list[Outcome], life: list[Step]) -> list[Step]:
    """The steps still to do: after one that failed, those alone that undo."""
    rest = life[life.index(outcomes[-1].step) + 1 :] if outcomes else life
    return [step for step in rest if step.undoes or all(done.code == 0 for done in outcomes)]


def run(step: Step, environment: Mapping[str, str]) -> Outcome:
    """Runs one step, showing what it prints."""
    say(f"acceptance: {step.name}: {' '.join(step.command)}")
    start = time.monotonic()
    process = subprocess.Popen(
        step.command,
        cwd=ROOT,
        env={**os.environ, **environment, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    with process:
        for line in process.stdout or ():
            sys.stderr.write(line)
            lines.append(line)
    return Outcome(step, process.returncode, time.monotonic() - start, "".join(lines))


def masked(text: str) -> str:
    """The text without what tells of its sender."""
    for pattern, mask in MASKS.items():
        text = re.sub(pattern, mask, text)
    return text


def report(stack: str, outcomes: list[Outcome], versions: Mapping[str, str]) -> str:
    """The report, as Markdown."""
    lines = [
        f"# Acceptance of stack {stack}, {datetime.now(UTC):%Y-%m-%d}",
        "",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        "",
        "| step | shows | result | seconds |",
        "| --- | --- | --- | --- |",
    ]
    for done in outcomes:
        result = "passed" if done.code == 0 else f"FAILED (exit {done.code})"
        lines.append(f"| {done.step.name} | {done.step.shows} | {result} | {done.seconds:.0f} |")
    for done in outcomes:
        printed = done.output.splitlines()
        shown = [line for line in printed[:-TAIL] if "error:" in line] + printed[-TAIL:]
        lines += ["", f"## {done.step.name}", "", "```", masked("\n".join(shown)), "```"]
    return "\n".join([*lines, ""])


def refuse_existing(stack: Stack, environment: Mapping[str, str]) -> None:
    """Ends where the stack already holds resources: a report is of a new one, which can be taken down at the end.

    Raises:
        SystemExit: it does.
    """
    exported = pulumi(["stack", "export", "--stack", stack.name], environment, capture=True)
    state = json.loads(exported.stdout) if exported.returncode == 0 else {}
    if len(state.get("deployment", {}).get("resources") or []) > 1:
        raise SystemExit(
            f"error: stack {stack.name} holds resources; choose a new one, or `make down STACK={stack.name}`"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    stack = Stack(arguments.stack)
    if not stack.file.exists():
        raise SystemExit(f"error: there is no {stack.file.relative_to(ROOT)}; write the stack's settings into it first")
    environment = stack.environment()
    stack.ensure(environment)
    refuse_existing(stack, environment)
    life, outcomes = steps(stack.name, arguments.keep), list[Outcome]()
    while following := left(outcomes, life):
        outcomes.append(run(following[0], environment))
    engine = pulumi(["version"], environment, capture=True).stdout.strip()
    versions = {"pulumi": engine, "python": platform.python_version(), "system": platform.system()}
    path = ROOT / f"acceptance-{stack.name}.md"
    path.write_text(report(stack.name, outcomes, versions))
    say(f"acceptance: the report is {path.relative_to(ROOT)}; read it before you send it")
    return int(any(done.code for done in outcomes))


if __name__ == "__main__":
    sys.exit(main())
