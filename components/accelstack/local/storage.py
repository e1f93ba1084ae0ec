"""A folder as object storage."""

from pathlib import Path
from typing import Any, TypedDict

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource

from accelstack.dynamic import DynamicProvider, changed, child_of, failed
from accelstack.local import folders


class ObjectStoreArgs(TypedDict):
    """Args of `local.ObjectStore`."""

    folder: str
    """Absolute path of the folder; it is made, and removed with the store. One with foreign content is refused."""


class FolderProvider(DynamicProvider):
    """Makes and removes the folder; a marker file in it says that it is a store's own."""

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        return failed(news, folders.problems(Path(news["folder"]), news["owner"]))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        moved = changed(_olds, _news, ["folder"])
        return DiffResult(changes=moved, replaces=["folder"] if moved else [])

    def create(self, props: dict[str, Any]) -> CreateResult:
        folders.claim(Path(props["folder"]), props["owner"])
        return CreateResult(props["folder"], props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_ if folders.owned(Path(props["folder"]), props["owner"]) else "", props)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        folders.give_up(Path(_props["folder"]), _props["owner"])


class _Folder(Resource, module="accelstack", name="LocalFolder"):
    folder: pulumi.Output[str]

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(FolderProvider(), name, props, opts)


class ObjectStore(pulumi.ComponentResource):
    """A folder that stands for object storage: runs, prepared data, models and their registry lie in it.

    Works from Python programs alone, since it stands on a dynamic resource.

    Raises:
        pulumi.InputPropertyError: the path is not absolute.
    """

    uri: pulumi.Output[str]
    """`file://` URI of the folder, its path as it is: fsspec decodes nothing."""

    def __init__(self, name: str, args: ObjectStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        folders.refuse_relative(args["folder"])
        super().__init__("accelstack:index:LocalObjectStore", name, None, opts)
        made = _Folder(name, {"folder": args["folder"], "owner": folders.owner("store", name)}, child_of(self))
        self.uri = pulumi.Output.concat("file://", made.folder)
        self.register_outputs({"uri": self.uri})
