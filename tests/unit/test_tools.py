"""How the CLI is found, where state and secrets go, and which locks are stale."""

import json
import os
import socket
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import engine
import pytest
import stack as stacks


def executable(path: Path, prints: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{prints}'\n")
    path.chmod(0o755)
    return path


def refuse(why: str) -> Path:
    raise engine.UnavailableError(why)


class TestFindingTheCli:
    def test_the_first_way_that_works_is_taken(self) -> None:
        found = engine.find_cli(
            {"a": lambda: refuse("no"), "b": lambda: Path("/b"), "c": lambda: refuse("never asked")}
        )
        assert found == Path("/b")

    def test_if_none_works_the_error_says_what_was_tried_why_it_failed_and_what_to_install(self) -> None:
        with pytest.raises(SystemExit) as failed:
            engine.find_cli({name: lambda name=name: refuse(f"{name} is broken") for name in engine.WAYS})
        message = str(failed.value)
        assert [line.split(":")[0].strip() for line in message.splitlines()[1:4]] == [*engine.WAYS]
        assert "a pulumi on PATH is broken" in message
        assert "Install Pulumi 3.255.0 or newer" in message
        assert "Go 1.26 or newer" in message

    def test_an_old_cli_on_path_is_passed_over_with_its_version(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        executable(tmp_path / "pulumi", "v3.9.1")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        with pytest.raises(engine.UnavailableError, match=r"is 3\.9\.1, older than 3\.255\.0"):
            engine.from_path()

    def test_a_new_cli_on_path_is_taken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        cli = executable(tmp_path / "pulumi", "v3.900.0")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert engine.from_path() == cli


class TestLaunchers:
    @pytest.fixture
    def tools(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(engine, "BIN", tmp_path / "bin")
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        (tmp_path / "bin").mkdir()
        return tmp_path

    def test_a_cli_that_lacks_them_gets_them(self, tools: Path) -> None:
        engine.add_launchers(executable(tools / "built" / "pulumi", ""))
        links = {link.name: link.resolve() for link in (tools / "bin").iterdir()}
        assert links == {
            name: engine.LAUNCHERS / name for name in ("pulumi-language-python", "pulumi-resource-pulumi-python")
        }

    def test_a_cli_that_brings_its_own_keeps_them(self, tools: Path) -> None:
        for name in ("pulumi-language-python", "pulumi-resource-pulumi-python"):
            executable(tools / "official" / name, "")
        engine.add_launchers(executable(tools / "official" / "pulumi", ""))
        assert list((tools / "bin").iterdir()) == []


class TestLogin:
    @pytest.mark.parametrize("name", ["PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN"])
    def test_a_backend_in_the_environment_is_the_users_choice(self, name: str, tmp_path: Path) -> None:
        assert stacks.logged_in({"PULUMI_HOME": str(tmp_path), name: "something"})

    @pytest.mark.parametrize(("content", "known"), [('{"current": "s3://state"}', True), ("{}", False), ("", False)])
    def test_so_is_a_login(self, content: str, known: bool, tmp_path: Path) -> None:
        (tmp_path / "credentials.json").write_text(content)
        assert stacks.logged_in({"PULUMI_HOME": str(tmp_path)}) is known


class TestSecrets:
    @pytest.fixture
    def stack(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> stacks.Stack:
        for name in [name for name in os.environ if name.startswith("PULUMI_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
        monkeypatch.setattr(stacks, "ROOT", tmp_path)
        monkeypatch.setattr(stacks, "HOME", tmp_path / ".accelstack")
        monkeypatch.setattr(stacks, "STATE", tmp_path / ".accelstack" / "state")
        monkeypatch.setattr(stacks, "PASSPHRASE", tmp_path / ".accelstack" / "passphrase")
        (tmp_path / "stacks").mkdir()
        return stacks.Stack("local")

    def write(self, stack: stacks.Stack, settings: str) -> stacks.Stack:
        stack.file.write_text(settings)
        return stacks.Stack(stack.name)

    def test_the_local_stack_gets_a_private_passphrase_that_stays(self, stack: stacks.Stack) -> None:
        environment = stack.environment()
        passphrase = Path(environment["PULUMI_CONFIG_PASSPHRASE_FILE"])
        first = passphrase.read_text()
        assert len(first) > 40
        assert stat.S_IMODE(passphrase.stat().st_mode) == 0o600
        assert stack.environment() == environment
        assert passphrase.read_text() == first

    def test_the_users_own_passphrase_is_left_alone(self, stack: stacks.Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "mine")
        assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in stack.environment()

    def test_the_salt_of_a_lost_passphrase_goes_when_no_secret_needs_it(self, stack: stacks.Stack) -> None:
        stack = self.write(stack, "encryptionsalt: v1:old\nconfig:\n  accelstack:epochs: 3\n")
        stack.environment()
        assert stack.file.read_text() == "config:\n  accelstack:epochs: 3\n"

    def test_secrets_whose_passphrase_is_lost_are_not_thrown_away(self, stack: stacks.Stack) -> None:
        settings = "encryptionsalt: v1:old\nconfig:\n  accelstack:key:\n    secure: v1:abc\n"
        stack = self.write(stack, settings)
        with pytest.raises(SystemExit, match="bring that file back"):
            stack.environment()
        assert stack.file.read_text() == settings

    def test_a_cloud_stack_without_a_key_is_refused(self, stack: stacks.Stack) -> None:
        stack = self.write(stack, "config:\n  accelstack:target: aws\n")
        with pytest.raises(SystemExit, match="names no secretsprovider"):
            stack.environment()

    def test_a_cloud_stack_uses_its_key_and_no_passphrase(self, stack: stacks.Stack) -> None:
        stack = self.write(stack, "secretsprovider: awskms://alias/x\nconfig:\n  accelstack:target: aws\n")
        assert stack.secrets_provider == "awskms://alias/x"
        assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in stack.environment()


class TestLocks:
    def lock(self, pid: int, taken: datetime, hostname: str = "") -> dict[str, object]:
        return {"pid": pid, "hostname": hostname or socket.gethostname(), "timestamp": taken.isoformat()}

    def test_of_a_living_process_it_holds(self) -> None:
        assert not stacks.is_stale(self.lock(os.getpid(), datetime.now(UTC)))

    def test_of_a_dead_process_it_is_stale(self) -> None:
        with subprocess.Popen(["true"]) as process:
            process.wait()
        assert stacks.is_stale(self.lock(process.pid, datetime.now(UTC)))

    def test_of_a_number_that_was_given_again_it_is_stale(self) -> None:
        assert stacks.is_stale(self.lock(os.getpid(), datetime.now(UTC) - timedelta(days=400)))

    def test_of_another_machine_it_holds(self) -> None:
        assert not stacks.is_stale(self.lock(2**22 - 1, datetime.now(UTC), hostname="elsewhere"))

    def test_the_engines_own_format_is_read(self) -> None:
        content = '{"pid":1,"username":"u","hostname":"elsewhere","timestamp":"2026-11-22T22:00:03.202570439Z"}'
        assert not stacks.is_stale(json.loads(content))
        own = {**json.loads(content), "hostname": socket.gethostname(), "pid": os.getpid()}
        assert not stacks.is_stale({**own, "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")})


class TestRecovery:
    NOTES: ClassVar[dict[str, Any]] = {
        "deployment": {
            "pending_operations": [
                {"type": "creating", "resource": {"urn": "urn:pulumi:x::p::aws:eks/nodeGroup:NodeGroup::train"}},
                {"type": "deleting", "resource": {"urn": "urn:pulumi:x::p::aws:ec2/vpc:Vpc::network"}},
            ]
        }
    }

    def test_what_was_half_created_in_a_cloud_is_told_and_nothing_is_made_twice(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stacks, "ROOT", tmp_path)
        (tmp_path / "stacks").mkdir()
        (tmp_path / "stacks" / "Pulumi.x.yaml").write_text("config:\n  accelstack:target: aws\n")
        called: list[list[str]] = []

        def answer(arguments: list[str], *_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
            called.append(arguments)
            return subprocess.CompletedProcess([], 0, json.dumps(self.NOTES), "")

        monkeypatch.setattr(stacks, "pulumi", answer)
        with pytest.raises(SystemExit, match=r"NodeGroup::train\nlook for each, and delete or adopt it"):
            stacks.recover(stacks.Stack("x"), {})
        assert called == [["stack", "export", "--stack", "x"]]

    def test_a_production_stack_is_not_taken_down(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stacks, "ROOT", tmp_path)
        (tmp_path / "stacks").mkdir()
        (tmp_path / "stacks" / "Pulumi.x.yaml").write_text(
            "config:\n  accelstack:target: aws\n  accelstack:production: true\n"
        )
        with pytest.raises(SystemExit, match="stack x is a production stack and is not taken down"):
            stacks.down(stacks.Stack("x"), {})
