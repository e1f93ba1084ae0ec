"""The bundled workloads: what each is for, where its parts are, and what is usual for it. Nothing here loads torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from accelstack_workloads.errors import WorkloadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from accelstack_workloads.datasets.prepared import Prepared
    from accelstack_workloads.models.model import Model
    from accelstack_workloads.serve.form import Form


@dataclass(frozen=True)
class Workload:
    """A bundled workload.

    Attributes:
        name: by which people call it.
        reader: module and function that read a dataset for it.
        dataset: name of a dataset that needs no download; empty where there is none.
        model: module and class of its model.
        form: module and class of what people ask it by.
        architectures: networks of that model, the usual one first.
        epochs: usual passes over the training samples.
        batch_size: usual samples per step.
        learning_rate: usual highest value of the schedule.
    """

    name: str
    reader: str
    dataset: str
    model: str
    form: str
    architectures: tuple[str, ...]
    epochs: int
    batch_size: int
    learning_rate: float

    def read(self, dataset: str) -> Prepared:
        """A dataset, by its name or its path or fsspec URI, read, checked and split.

        Raises:
            WorkloadError: it is missing, empty, broken, or laid out in another way.
        """
        read: Callable[[str], Prepared] = _import(self.reader)
        return read(dataset)

    def model_class(self) -> type[Model]:
        """Its model, for which torch is loaded."""
        return _import(self.model)

    def form_class(self) -> type[Form]:
        """How people ask it."""
        return _import(self.form)


WORKLOADS = {
    each.name: each
    for each in (
        Workload(
            name="vision",
            reader="datasets.pictures:read",
            dataset="digits",
            model="models.pictures:PictureClassifier",
            form="serve.picture:PictureForm",
            architectures=("cnn", "resnet18"),
            epochs=20,
            batch_size=64,
            learning_rate=0.005,
        ),
        Workload(
            name="tabular",
            reader="datasets.table:read",
            dataset="breast-cancer",
            model="models.tables:TablePredictor",
            form="serve.row:RowForm",
            architectures=("mlp",),
            epochs=20,
            batch_size=32,
            learning_rate=0.005,
        ),
        Workload(
            name="speech",
            reader="datasets.recordings:read",
            dataset=(
                "zip://free-spoken-digit-dataset-1.0.10/recordings::simplecache::"
                "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip"
            ),
            model="models.recordings:SpeechModel",
            form="serve.recording:RecordingForm",
            architectures=("lstm",),
            epochs=20,
            batch_size=32,
            learning_rate=0.003,
        ),
        Workload(
            name="text",
            reader="datasets.texts:read",
            dataset="python-topics",
            model="models.texts:TextModel",
            form="serve.prompt:PromptForm",
            architectures=("gpt",),
            epochs=10,
            batch_size=16,
            learning_rate=0.003,
        ),
    )
}


def workload(name: str) -> Workload:
    """The workload of that name.

    Raises:
        WorkloadError: there is none.
    """
    if name not in WORKLOADS:
        raise WorkloadError(f"--workload: {name!r} is not bundled; use one of: {', '.join(WORKLOADS)}")
    return WORKLOADS[name]


def _import(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"accelstack_workloads.{module}"), name)
