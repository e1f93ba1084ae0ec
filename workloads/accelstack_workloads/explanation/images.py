"""What pictures' classes rest on: pixels."""

from __future__ import annotations

import torch

from accelstack_workloads.datasets.prepared import Prepared
from accelstack_workloads.explanation.attribution import attribute
from accelstack_workloads.explanation.explained import Explained
from accelstack_workloads.models.pictures import PictureClassifier

BASELINE = "the mean of the training pictures' pixels, of each channel"
SCORE = "logit of the class that was answered"


def count(data: Prepared) -> int:
    """How many held-out samples there are."""
    return len(data.test["labels"])


def explain(model: PictureClassifier, data: Prepared, indices: list[int]) -> list[Explained]:
    """Attributions [height, width] to the pixels, summed over channels, of some held-out pictures."""
    names = model.description.facts["classes"]
    explained = []
    for index in indices:
        image = torch.from_numpy(data.test["images"][index : index + 1]).float() / 255
        with torch.no_grad():
            answer = int(model.logits(image).argmax())
        found = attribute(
            lambda images, to=answer: model.logits(images)[:, to], image, model.mean.expand_as(image[0])[None]
        )
        meant = names[data.test["labels"][index]]
        pixels = image[0].permute(1, 2, 0).numpy()
        explained.append(Explained(index, names[answer], meant, [], found.values.sum(0), found, pixels))
    return explained
