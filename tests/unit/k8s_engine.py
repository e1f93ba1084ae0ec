"""Components over Pulumi's mocks: what they ask the engine to make in a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pulumi


class Cluster(pulumi.runtime.Mocks):
    """Takes every object as an API server would, and remembers it."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str, dict[str, Any]]] = []
        """Kind, logical name and inputs, in the order in which they came."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.made.append((args.typ.rpartition(":")[2], args.name, dict(args.inputs)))
        metadata = args.inputs.get("metadata")
        if not metadata:
            return f"{args.name}-id", dict(args.inputs)
        known = {**metadata, "uid": f"uid-{metadata['name']}"}
        return f"{metadata.get('namespace', '')}/{metadata['name']}", {**args.inputs, "metadata": known}

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        raise NotImplementedError(args.token)

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """Inputs of what was made of a kind."""
        return [inputs for made, _, inputs in self.made if made == kind]


def run(program: Callable[[], Any]) -> tuple[Cluster, Any]:
    """The cluster after a program, and what that returns with outputs in it resolved."""
    cluster, result = Cluster(), list[Any]()
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # where several resources fail for one reason, the first one tells it
    asyncio.set_event_loop(loop)
    pulumi.runtime.set_mocks(cluster, project="test", stack="dev", preview=False)

    @pulumi.runtime.test
    def within() -> Any:
        return pulumi.Output.from_input(program()).apply(result.append)

    within()
    return cluster, result[0]
