"""Model versions in the store's registry."""

from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from accelstack.dynamic import DynamicProvider, changed
from accelstack.local import steps

SIGNING_KEY = "signing-key.pem"
"""In the store; only its owner may read it."""
NOT_VERIFIED = 4  # exit code of `registry verify` where version and files do not match


def registry_uri(store: str) -> str:
    """The registry of a store, as MLflow names it."""
    return f"sqlite:///{steps.path_of(store) / 'registry.db'}"


class ModelVersionProvider(DynamicProvider):
    """Registers the model of a run. Former versions stay: they are what a rollback goes back to."""

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=changed(_olds, _news, ["name", "run_folder", "store"]))

    def create(self, props: dict[str, Any]) -> CreateResult:
        outs = _register(props)
        return CreateResult(f"{outs['name']}", outs)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_register(_news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        if not steps.path_of(props["store"]).is_dir():
            return ReadResult("", {})
        version = ["--name", props["name"], "--version", props["version"]]
        verify = ["registry", "verify", "--registry", registry_uri(props["store"]), *version, "--json"]
        try:
            steps.ask(verify, steps.path_of(props["store"]))
        except steps.StepError as error:
            if error.code != NOT_VERIFIED:
                raise
            print(*error.lines, sep="\n")
            return ReadResult("", {})
        return ReadResult(id_, props)


def _register(props: dict[str, Any]) -> dict[str, Any]:
    run = Path(props["run_folder"])
    answer = steps.ask(
        [
            "register",
            *("--model", str(run / "model")),
            *("--name", props["name"]),
            *("--registry", registry_uri(props["store"])),
            *("--store", str(steps.path_of(props["store"]) / "models")),
            *("--evaluation", str(run / "evaluation.json")),
            *("--signing-key", str(steps.path_of(props["store"]) / SIGNING_KEY)),
            "--json",
        ],
        run,
    )
    print(f"registered {answer['name']} version {answer['version']} ({answer['digest'][:19]})")
    return {**props, **answer}


class ModelVersionResource(Resource, module="accelstack", name="LocalModelVersion"):
    """A version of a model in the registry of a local store."""

    version: pulumi.Output[str]
    digest: pulumi.Output[str]
    uri: pulumi.Output[str]
    public_key: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        model: str,
        run_folder: pulumi.Input[str],
        store: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        results = dict.fromkeys(["version", "digest", "uri", "public_key"])
        props = {"name": model, "run_folder": run_folder, "store": store, **results}
        super().__init__(ModelVersionProvider(), name, props, opts)
