"""Recordings of speech: the arrays and facts of workload `speech`.

A dataset is a folder of wav files at any fsspec URI, in one of four layouts:

- `<transcript>/<files>.wav`: what is said is the folder's name; a fifth of each is held out,
- `{train,test}/<transcript>/<files>.wav`,
- `<transcript>_<speaker>_<number>.wav`, as the Free Spoken Digit Dataset has it; numbers 0 to 4 are held out,
- any files, and `transcripts.csv` with the columns `file`, `transcript` and, if it is to say, `split`.
"""

from __future__ import annotations

import csv
import io
import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.io import wavfile

from accelstack_workloads.datasets import held_out
from accelstack_workloads.datasets.files import Listing, listing, open_folder, reason
from accelstack_workloads.datasets.prepared import Arrays, Prepared
from accelstack_workloads.errors import WorkloadError

WORKLOAD = "speech"
TRANSCRIPTS = "transcripts.csv"
NUMBERED = re.compile(r"(?P<transcript>[^_]+)_[^_]+_(?P<number>\d+)\.wav", re.IGNORECASE)
OFFICIAL_TEST = 5  # numbers below it are the test set of the Free Spoken Digit Dataset
SPLITS = ("train", "test")
LONGEST_SECONDS = 30
STEP_SECONDS = 0.03  # between two answers of the model, each a symbol or none
NAMED = 5  # broken files named in the error


@dataclass(frozen=True)
class Entry:
    """A file, what is said in it, and where it belongs."""

    path: str
    transcript: str
    split: str


def read(dataset: str) -> Prepared:
    """The recordings of a folder at a path or fsspec URI.

    Returns:
        Its arrays: `audio` int16 [samples], all recordings one after the other, and `audio_ends` int64 [recordings];
        `text` int64 [symbols], what is said as indices of symbols, and `text_ends` int64 [recordings]. Its facts:
        `rate`, samples a second; `symbols`, the characters of the training part's transcripts; `longest`, samples that
        a recording may have.

    Raises:
        WorkloadError: a rule of the layout is broken, or a file is.
    """
    if not dataset:
        raise WorkloadError("dataset: '' is empty; give the path or URI of a folder of wav files")
    fs, root = open_folder(dataset)
    entries = _entries(fs, dataset, listing(fs, root, dataset))
    sounds = _sounds(fs, [entry.path for entry in entries], dataset)
    (rate,) = {rate for rate, _ in sounds}
    symbols = sorted({*"".join(entry.transcript for entry in entries if entry.split == "train")})
    parts: dict[str, Arrays] = {}
    for split in SPLITS:
        chosen = [(entry, sound) for entry, (_, sound) in zip(entries, sounds, strict=True) if entry.split == split]
        if not chosen:
            raise WorkloadError(f"dataset: {dataset!r} has no recordings to {split}; give both parts, or neither")
        for entry, sound in chosen:
            _check(entry, sound, rate, symbols)
        parts[split] = _arrays(chosen, symbols)
    facts = {"rate": rate, "symbols": symbols, "longest": LONGEST_SECONDS * rate}
    counts = {split: len(parts[split]["audio_ends"]) for split in SPLITS}
    return Prepared(WORKLOAD, dataset, "recordings", facts, parts["train"], parts["test"], counts)


def _entries(fs: Any, uri: str, paths: Listing) -> list[Entry]:
    sounds = {parts: path for parts, path in sorted(paths.items()) if parts[-1].lower().endswith(".wav")}
    if not sounds:
        raise WorkloadError(f"dataset: {uri!r} has no wav files; put recordings into one folder per transcript")
    if table := paths.get((TRANSCRIPTS,)):
        return _listed(fs, table, sounds)
    if any(parts[0] in SPLITS and len(parts) > 2 for parts in sounds):
        placed = [(parts, path) for parts, path in sounds.items() if parts[0] in SPLITS and len(parts) > 2]
        return [Entry(path, parts[1], parts[0]) for parts, path in placed]
    if all(len(parts) > 1 for parts in sounds):
        names: dict[str, set[str]] = {}
        for parts in sounds:
            names.setdefault(parts[0], set()).add("/".join(parts))
        test = set[str]().union(*map(held_out, names.values()))
        return [Entry(path, p[0], "test" if "/".join(p) in test else "train") for p, path in sounds.items()]
    found = [(NUMBERED.fullmatch(parts[-1]), path) for parts, path in sounds.items()]
    unnamed = next((path for match, path in found if not match), None)
    if unnamed:
        raise WorkloadError(
            f"dataset: {unnamed} does not say what is spoken; put it into a folder of that name, call it "
            f"<transcript>_<speaker>_<number>.wav, or list it in {TRANSCRIPTS}"
        )
    return [
        Entry(path, match["transcript"], "test" if int(match["number"]) < OFFICIAL_TEST else "train")
        for match, path in found
        if match
    ]


def _listed(fs: Any, table: str, sounds: Listing) -> list[Entry]:
    try:
        rows = list(csv.DictReader(io.StringIO(fs.cat_file(table).decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise WorkloadError(f"dataset: {table} cannot be read ({reason(error)}); write it as UTF-8 CSV") from error
    names = {"/".join(parts): path for parts, path in sounds.items()}
    files = [row.get("file") or "" for row in rows]
    test = held_out(files)
    entries = []
    for number, row in enumerate(rows, start=2):
        where = f"dataset: {table} line {number}:"
        missing = [name for name in ("file", "transcript") if not (row.get(name) or "").strip()]
        if missing:
            raise WorkloadError(f"{where} {missing[0]} is missing; give file and transcript in every line")
        if row["file"] not in names:
            raise WorkloadError(f"{where} file {row['file']!r} is not there; give paths below the folder")
        if files.count(row["file"]) > 1:
            raise WorkloadError(f"{where} file {row['file']!r} is listed twice; list it once")
        split = row.get("split") or ("test" if row["file"] in test else "train")
        if split not in SPLITS:
            raise WorkloadError(f"{where} split {split!r} is none; use train or test, or leave the column out")
        entries.append(Entry(names[row["file"]], row["transcript"].strip(), split))
    return entries


def decode(content: bytes) -> tuple[int, np.ndarray]:
    """Samples a second, and the samples of a wav file: int16 [samples, channels].

    Raises:
        ValueError: it is no whole wav file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that are not sound
        warnings.filterwarnings("error", "Reached EOF prematurely", wavfile.WavFileWarning)
        try:
            rate, samples = wavfile.read(io.BytesIO(content))
        except wavfile.WavFileWarning as error:
            raise ValueError("truncated") from error
        except Exception as error:  # the reader raises many kinds on damaged files
            raise ValueError(f"no wav file: {reason(error)}") from error
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.int16) - 128) << 8
    elif samples.dtype == np.int32:  # 24 bits are read so too
        samples = (samples >> 16).astype(np.int16)
    elif samples.dtype.kind == "f":
        if not np.isfinite(samples).all():
            raise ValueError("holds NaN or Infinity")
        samples = (samples.clip(-1, 1) * 32767).astype(np.int16)
    return rate, samples[:, None] if samples.ndim == 1 else samples


def _sounds(fs: Any, paths: list[str], uri: str) -> list[tuple[int, np.ndarray]]:
    """Samples a second, the same for all, and int16 [samples] of every file."""
    sounds: list[tuple[int, np.ndarray]] = []
    broken: dict[str, str] = {}
    for path in paths:
        try:
            rate, samples = decode(fs.cat_file(path))
        except Exception as error:  # each storage library raises its own kinds
            broken[path] = reason(error)
            continue
        sounds.append((rate, samples[:, 0]))
        if samples.shape[1] != 1:
            broken[path] = f"{samples.shape[1]} channels; make it mono"
        elif not len(samples):
            broken[path] = "empty"
        elif len(samples) > LONGEST_SECONDS * rate:
            broken[path] = f"{len(samples) / rate:.1f} s long; cut it into pieces of {LONGEST_SECONDS} s at most"
        elif not samples.any():
            broken[path] = "silent"
        elif rate != sounds[0][0]:
            broken[path] = f"{rate} samples a second, and {paths[0]} has {sounds[0][0]}; give all one rate"
    if broken:
        named = "; ".join(f"{path} ({why})" for path, why in sorted(broken.items())[:NAMED])
        more = f"; and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
        raise WorkloadError(
            f"dataset: {len(broken)} of the {len(paths)} recordings in {uri!r} cannot be used: {named}{more}; "
            "replace or remove them"
        )
    return sounds


def _check(entry: Entry, sound: np.ndarray, rate: int, symbols: list[str]) -> None:
    unknown = [symbol for symbol in entry.transcript if symbol not in symbols]
    if unknown:
        raise WorkloadError(
            f"dataset: {entry.path} is to say {entry.transcript!r}, and {unknown[0]!r} is in no training transcript; "
            "move one like it there"
        )
    # A repeated symbol takes an empty step between its two (https://www.cs.toronto.edu/~graves/icml_2006.pdf).
    steps = len(entry.transcript) + sum(a == b for a, b in zip(entry.transcript, entry.transcript[1:], strict=False))
    if len(sound) < (steps + 1) * STEP_SECONDS * rate:
        raise WorkloadError(
            f"dataset: {entry.path} is {len(sound) / rate:.2f} s long, too short to say {entry.transcript!r}; "
            "check the transcript"
        )


def _arrays(chosen: list[tuple[Entry, np.ndarray]], symbols: list[str]) -> Arrays:
    codes = {symbol: code for code, symbol in enumerate(symbols)}
    spoken = [[codes[symbol] for symbol in entry.transcript] for entry, _ in chosen]
    return {
        "audio": np.concatenate([sound for _, sound in chosen]),
        "audio_ends": np.cumsum([len(sound) for _, sound in chosen]),
        "text": np.array([code for codes_of in spoken for code in codes_of], np.int64),
        "text_ends": np.cumsum([len(codes_of) for codes_of in spoken]),
    }
