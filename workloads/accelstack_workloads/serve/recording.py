"""Workload `speech` for people: a wav file in, what is said out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from accelstack_workloads.datasets.recordings import LONGEST_SECONDS, decode
from accelstack_workloads.models import ctc
from accelstack_workloads.serve.form import Form
from accelstack_workloads.serve.protocol import RequestError
from accelstack_workloads.tensors import Arrays

FULL_SCALE = 32768


class RecordingForm(Form):
    """A wav file of any rate in, mixed to one channel; what is said out."""

    media_types = ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave")
    noun = "a recording"
    largest = 32 * 2**20
    page = "sound"

    def read(self, content: bytes) -> Arrays:
        """`audio`: FP32 [1, samples] in -1..1 at the model's rate, and `length` INT64 [1, 1]."""
        try:
            rate, samples = decode(content)
        except ValueError as error:
            raise RequestError(f"recording: {error}; send a whole wav file") from error
        seconds = len(samples) / rate if rate else 0
        if not 0 < seconds <= LONGEST_SECONDS:
            raise RequestError(f"recording: is {seconds:.1f} s long; send more than 0 and at most {LONGEST_SECONDS} s")
        wanted = self.description.facts["rate"]
        audio = samples.mean(axis=1) / FULL_SCALE
        if rate != wanted:
            shared = math.gcd(rate, wanted)
            audio = resample_poly(audio, wanted // shared, rate // shared)
        audio = audio[: self.description.facts["longest"]].clip(-1, 1).astype(np.float32)
        return {"audio": audio[np.newaxis], "length": np.array([[len(audio)]], np.int64)}

    def answer(self, outputs: Arrays) -> dict[str, Any]:
        """`text`, and `confidence`, its probability in 0..1."""
        answers, steps = outputs["log_probabilities"][0], int(outputs["steps"][0, 0])
        codes, logarithm = ctc.beam(answers[:steps], blank=answers.shape[1] - 1)
        symbols = self.description.facts["symbols"]
        return {"text": "".join(symbols[code] for code in codes), "confidence": round(math.exp(logarithm), 6)}
