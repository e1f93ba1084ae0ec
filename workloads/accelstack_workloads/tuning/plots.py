"""Pictures of a study."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import optuna
from optuna.trial import TrialState

PLOTS = {
    "history.png": "plot_optimization_history",
    "importances.png": "plot_param_importances",
    "parallel.png": "plot_parallel_coordinate",
}
FEWEST = 3  # finished trials that importances are told of


def draw(study: optuna.Study) -> dict[str, bytes]:
    """PNG files by name: the losses so far, how much each parameter matters, and the trials side by side."""
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    few = len(finished) < FEWEST or len({trial.value for trial in finished}) == 1
    return {
        name: _png(getattr(optuna.visualization.matplotlib, plot), study)
        for name, plot in PLOTS.items()
        if not (few and name != "history.png")
    }


def _png(plot: Callable[[optuna.Study], Any], study: optuna.Study) -> bytes:
    mpl.use("Agg")
    from matplotlib import pyplot

    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = plot(study)
        figure = getattr(axes, "figure", None) or axes.flat[0].figure
        figure.set_size_inches(10, 5)
        figure.savefig(content, format="png", dpi=110, bbox_inches="tight")
        pyplot.close(figure)
    return content.getvalue()
