"""Real engine, real processes: each checkout ends with nothing left running."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import checkout as checkouts
from tests.engine import programs


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[checkouts.Checkout]:
    """A fresh checkout with quick training settings."""
    made = checkouts.make(tmp_path / "checkout")
    made.set(**checkouts.QUICK)
    yield made
    made.leave_nothing()


@pytest.fixture(scope="module")
def shared_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[checkouts.Checkout]:
    """One checkout for the tests of a module, which build on each other in the order of the file."""
    made = checkouts.make(tmp_path_factory.mktemp("shared") / "checkout")
    made.set(**checkouts.QUICK)
    yield made
    made.leave_nothing()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[programs.Program]:
    """A program of its own in us-east-1, with a double of AWS."""
    with programs.attached(tmp_path / "program") as made:
        made.configure(aws__region="us-east-1")
        yield made
