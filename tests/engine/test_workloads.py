"""Every bundled workload goes from its data to a served answer when the stack is told its name."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest
from scipy.io import wavfile

from tests.engine.checkout import Checkout


def ask(checkout: Checkout, content: str | bytes, kind: str) -> dict:
    """What the service answers to people."""
    outputs = checkout.outputs()
    assert (outputs["model"]["version"], outputs["training"]["metrics"]["samples_per_second"] > 0) == ("1", True)
    answer = httpx.post(f"{outputs['inference']['rest']}/predict", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 200, answer.text
    return answer.json()


def up(checkout: Checkout, **settings: str) -> str:
    checkout.set(**settings)
    done = checkout.tool("up")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("workload", "content", "kind", "key"),
    [
        ("tabular", "mean radius,worst area\n12.3,600\n", "text/csv", "classes"),
        ("text", "The following", "text/plain", "text"),
    ],
)
def test_its_name_is_all_that_a_workload_needs(
    checkout: Checkout, workload: str, content: str, kind: str, key: str
) -> None:
    up(checkout, workload=workload)
    answer = ask(checkout, content, kind)
    assert answer["model"] == workload
    assert answer[key]
    page = httpx.get(checkout.outputs()["inference"]["console"]).text
    assert "<textarea" in page


def test_speech_is_heard_in_a_folder_of_recordings(checkout: Checkout, tmp_path: Path) -> None:
    time = np.arange(2400) / 8000
    for word, frequency in (("yes", 500), ("no", 1500)):
        (tmp_path / "wav" / word).mkdir(parents=True)
        for number in range(10):
            sound = np.sin(2 * np.pi * (frequency + number) * time) * 8000
            wavfile.write(tmp_path / "wav" / word / f"{number}.wav", 8000, sound.astype(np.int16))
    up(checkout, workload="speech", dataset=(tmp_path / "wav").as_uri(), batch_size="8")
    answer = ask(checkout, (tmp_path / "wav" / "yes" / "0.wav").read_bytes(), "audio/wav")
    assert {*answer["text"]} <= {*"yesno"}
