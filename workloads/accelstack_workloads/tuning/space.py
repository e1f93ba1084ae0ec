"""What is tried: learning rate, batch size, schedule, and widths and depth where the architecture has them."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any

from accelstack_workloads.schedule import RISE
from accelstack_workloads.settings import Settings
from accelstack_workloads.tuning.search import Search

if TYPE_CHECKING:
    import optuna

WIDTHS = ("width", "conv1", "conv2", "hidden", "hidden1", "hidden2")
DEPTHS = ("depth",)
FACTORS = (0.5, 1, 2)
"""Times the usual width or depth."""
BATCH_FACTORS = (0.25, 0.5, 1, 2)
REACH = 10
"""Times the usual learning rate, and its part, that are tried at most."""
SIZE = "size_"


@dataclass(frozen=True)
class Space:
    """Bounds of a search.

    Attributes:
        lowest, highest: learning rates.
        choices: values of the other parameters, by name; sizes have the prefix `size_`.
        usual: value of each parameter that people would begin with.
    """

    lowest: float
    highest: float
    choices: dict[str, list[Any]]
    usual: dict[str, Any]

    def suggest(self, trial: optuna.Trial, search: Search) -> Settings:
        """The settings of a trial."""
        rate = trial.suggest_float("learning_rate", self.lowest, self.highest, log=True)
        chosen = {name: trial.suggest_categorical(name, values) for name, values in self.choices.items()}
        return self.settings({"learning_rate": rate, **chosen}, search)

    def settings(self, parameters: dict[str, Any], search: Search) -> Settings:
        """The settings that a trial's parameters say; usual sizes are left out."""
        sizes = {
            name.removeprefix(SIZE): value
            for name, value in parameters.items()
            if name.startswith(SIZE) and value != self.usual[name]
        }
        return search.settings(parameters["learning_rate"], parameters["batch_size"], parameters["schedule"], sizes)


def space(search: Search, counts: dict[str, int] | int) -> Space:
    """What is tried for a search.

    Args:
        search: it.
        counts: samples to train on, in all or of each class.
    """
    samples = sum(counts.values()) if isinstance(counts, dict) else counts
    network = search.usual.model_class().networks[search.architecture]
    usual = search.usual
    choices: dict[str, list[Any]] = {
        "batch_size": _scaled(min(usual.batch_size, samples), BATCH_FACTORS, samples),
        "schedule": [*RISE],
    }
    first = {
        "learning_rate": usual.learning_rate,
        "batch_size": min(usual.batch_size, samples),
        "schedule": next(iter(RISE)),
    }
    for name, parameter in [*signature(network).parameters.items()][1:]:
        if name in WIDTHS + DEPTHS and type(parameter.default) is int:
            first[SIZE + name] = parameter.default
            choices[SIZE + name] = _scaled(parameter.default, FACTORS)
    return Space(usual.learning_rate / REACH, usual.learning_rate * REACH, choices, first)


def _scaled(value: int, factors: tuple[float, ...], most: int | None = None) -> list[int]:
    """Different whole numbers from 1, in their order."""
    scaled = {max(1, round(value * factor)) for factor in factors}
    return sorted(each for each in scaled if most is None or each <= most)
