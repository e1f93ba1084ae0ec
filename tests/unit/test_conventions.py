"""What every component keeps to, checked by walking all of them."""

import ast
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import accelstack
import pulumi
import pytest


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(accelstack.__path__, "accelstack."):
        yield importlib.import_module(found.name)


CLASSES = [
    value
    for module in modules()
    for value in vars(module).values()
    if inspect.isclass(value) and value.__module__ == module.__name__
]
COMPONENTS = [c for c in CLASSES if issubclass(c, pulumi.ComponentResource)]
TYPED_DICTS = [c for c in CLASSES if typing.is_typeddict(c)]


def test_the_walk_finds_the_local_target() -> None:
    names = {f"{c.__module__.split('.')[1]}.{c.__name__}" for c in COMPONENTS}
    assert {f"local.{n}" for n in ("Cluster", "InferenceService", "Network", "ObjectStore", "TrainingJob")} <= names


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: f"{c.__module__}.{c.__name__}")
class TestEveryComponent:
    def test_takes_name_typed_args_and_options(self, component: type[pulumi.ComponentResource]) -> None:
        parameters = inspect.signature(component.__init__).parameters
        assert list(parameters) == ["self", "name", "args", "opts"]
        hints = typing.get_type_hints(component.__init__)
        assert hints["name"] is str
        assert typing.is_typeddict(hints["args"])
        assert parameters["opts"].default is None

    def test_has_a_type_token_of_its_own(self, component: type[pulumi.ComponentResource]) -> None:
        target = component.__module__.split(".")[1].capitalize()
        assert f'"accelstack:index:{target}{component.__name__}"' in inspect.getsource(component.__init__)


@pytest.mark.parametrize("described", [*COMPONENTS, *TYPED_DICTS], ids=lambda c: f"{c.__module__}.{c.__name__}")
def test_each_component_arg_and_output_is_explained(described: type) -> None:
    tree = class_node(described)
    assert ast.get_docstring(tree)
    assert documented(tree) == [node.target.id for node in tree.body if isinstance(node, ast.AnnAssign)]


def class_node(cls: type) -> ast.ClassDef:
    tree = ast.parse(Path(inspect.getfile(importlib.import_module(cls.__module__))).read_text())
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == cls.__name__)


def documented(tree: ast.ClassDef) -> list[str]:
    """The annotated names that a docstring follows."""
    pairs = zip(tree.body, tree.body[1:], strict=False)
    return [
        before.target.id
        for before, after in pairs
        if isinstance(before, ast.AnnAssign)
        and isinstance(before.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    ]
