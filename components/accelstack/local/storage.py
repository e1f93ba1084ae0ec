"""A folder as object storage."""

from pathlib import Path
from typing import Any, TypedDict

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource

from accelstack.local import processes
from accelstack.local.provider import LocalProvider, changed, clear_errors, failed

MARKER = ".accelstack-store"


class ObjectStoreArgs(TypedDict):
    """Args of `local.ObjectStore`."""

    folder: str
    """Absolute path of the folder; it is made, and removed with the store. One with foreign content is refused."""


class FolderProvider(LocalProvider):
    """Makes and removes the folder; a marker file in it says that it is a store's own."""

    @clear_errors
    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        folder = Path(news["folder"])
        foreign = folder.exists() and not (folder / MARKER).exists() and (not folder.is_dir() or any(folder.iterdir()))
        reason = f"{folder} exists and holds something else; name a folder that is new or empty"
        return failed(news, {"folder": reason} if foreign else {})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        moved = changed(_olds, _news, ["folder"])
        return DiffResult(changes=moved, replaces=["folder"] if moved else [])

    @clear_errors
    def create(self, props: dict[str, Any]) -> CreateResult:
        folder = Path(props["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).touch()
        return CreateResult(str(folder), props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_ if (Path(props["folder"]) / MARKER).exists() else "", props)

    @clear_errors
    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        folder = Path(_props["folder"])
        processes.stop_all_below(folder)  # trainers that write into it
        if (folder / MARKER).exists():
            processes.remove_folder(folder)


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
    """`file://` URI of the folder."""

    def __init__(self, name: str, args: ObjectStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        if not Path(args["folder"]).is_absolute():
            raise pulumi.InputPropertyError("folder", f"{args['folder']!r} is relative; give an absolute path")
        super().__init__("accelstack:index:LocalObjectStore", name, None, opts)
        made = _Folder(name, {"folder": args["folder"]}, pulumi.ResourceOptions(parent=self))
        self.uri = made.folder.apply(lambda folder: Path(folder).as_uri())
        self.register_outputs({"uri": self.uri})
