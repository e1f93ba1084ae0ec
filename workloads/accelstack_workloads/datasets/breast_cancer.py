"""The Wisconsin diagnostic breast-cancer table that scikit-learn ships: 569 tumours, 30 measures, two classes.

https://archive.ics.uci.edu/dataset/17/breast+cancer+wisconsin+diagnostic
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa

from accelstack_workloads.datasets.table_files import Table, TableFile
from accelstack_workloads.errors import WorkloadError

DIAGNOSES = np.array(["malignant", "benign"])
MEASURES = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)
NAMES = (
    *(f"mean {measure}" for measure in MEASURES),
    *(f"{measure} error" for measure in MEASURES),
    *(f"worst {measure}" for measure in MEASURES),
)


def read() -> Table:
    """All rows, with the measures' names and the target `diagnosis`.

    Raises:
        WorkloadError: scikit-learn is not installed, or has the table no more.
    """
    package = find_spec("sklearn")
    # Read as a file: importing scikit-learn takes longer than everything else here together.
    file = (
        Path(package.origin).parent / "datasets" / "data" / "breast_cancer.csv" if package and package.origin else None
    )
    if file is None or not file.exists():
        raise WorkloadError(
            "dataset: 'breast-cancer' comes with scikit-learn, which is not there or has it no more; install "
            "accelstack[workloads], or give a table"
        )
    values = np.loadtxt(file, delimiter=",", skiprows=1)
    columns = {name: values[:, index] for index, name in enumerate(NAMES)}
    columns["diagnosis"] = DIAGNOSES[values[:, -1].astype(int)]
    return Table(pa.table(columns), [TableFile(str(file), len(values), 2)])
