"""Texts: the arrays and facts of workload `text`.

A dataset is a text file or a folder of them at any fsspec URI, each file a document; in `.jsonl` files each line is
one, with its text in the field `text`. Below `train/` and `test/` they are taken as they lie there; else a fifth of the
documents is held out, or, where they are fewer than five, the last fifth of each.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from accelstack_workloads.datasets import held_out
from accelstack_workloads.datasets.files import listing, open_place, reason
from accelstack_workloads.datasets.prepared import Prepared
from accelstack_workloads.errors import WorkloadError

WORKLOAD = "text"
TOPICS = "python-topics"
SUFFIXES = (".txt", ".md", ".rst", ".jsonl")
VOCABULARY = 1024  # tokens at most
CONTEXT = 128  # tokens that a model sees at once
END = "<end>"  # of a document
FEWEST_DOCUMENTS = 5  # of fewer, each is cut

Documents = dict[str, str]


def read(dataset: str) -> Prepared:
    """The bundled `python-topics`, the texts of Python's own help, or the texts at a path or URI, as tokens.

    Tokens are byte-level BPE (Sennrich 2016, https://arxiv.org/abs/1508.07909), learnt from the training part alone, so
    that any text can be written with them.

    Returns:
        Its arrays: `tokens` int32 [tokens], the documents one after the other, each ended by a token of its own. Its
        facts: `tokenizer`, as JSON; `vocabulary`, its tokens; `context`, tokens that a model sees at once;
        `bytes_per_token` of the held-out part.

    Raises:
        WorkloadError: it is missing, no UTF-8, or holds too little text.
    """
    if not dataset:
        raise WorkloadError(f"dataset: '' is empty; give {TOPICS!r} or the path or URI of texts")
    documents = _topics() if dataset == TOPICS else _documents(dataset)
    train, test = _split(documents, dataset)
    tokenizer = _learn([*train.values()])
    arrays = [_tokens(tokenizer, part) for part in (train, test)]
    for name, array in zip(("training", "held-out"), arrays, strict=True):
        if len(array) <= CONTEXT:
            raise WorkloadError(
                f"dataset: {dataset!r} has {len(array)} {name} tokens and needs more than {CONTEXT}; give more text"
            )
    facts = {
        "tokenizer": tokenizer.to_str(),
        "vocabulary": tokenizer.get_vocab_size(),
        "context": CONTEXT,
        "bytes_per_token": round(sum(len(text.encode()) for text in test.values()) / len(arrays[1]), 6),
    }
    counts = {"train": len(arrays[0]) // CONTEXT, "test": len(arrays[1]) // CONTEXT}
    kind = TOPICS if dataset == TOPICS else "texts"
    return Prepared(WORKLOAD, dataset, kind, facts, {"tokens": arrays[0]}, {"tokens": arrays[1]}, counts)


def _topics() -> Documents:
    from pydoc_data.topics import topics

    return topics


def _documents(uri: str) -> Documents:
    """Each document's text by its name below the URI."""
    fs, root, kind = open_place(uri)
    name = root.rstrip("/").rsplit("/", 1)[-1]
    paths = {(name,): root} if kind == "file" else listing(fs, root, uri)
    texts = {parts: path for parts, path in paths.items() if parts[-1].lower().endswith(SUFFIXES)}
    if not texts:
        raise WorkloadError(f"dataset: {uri!r} has no texts; give files that end in {', '.join(SUFFIXES)}")
    documents: Documents = {}
    for parts, path in sorted(texts.items()):
        content = _text(fs, path)
        documents |= _lines(path, "/".join(parts), content) if path.endswith(".jsonl") else {"/".join(parts): content}
    return documents


def _text(fs: Any, path: str) -> str:
    try:
        content: bytes = fs.cat_file(path)
    except Exception as error:  # each storage library raises its own kinds
        raise WorkloadError(f"dataset: {path} cannot be read ({reason(error)}); check its permissions") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WorkloadError(
            f"dataset: {path} is not UTF-8 at byte {error.start} ({content[error.start]:#04x}); use iconv"
        ) from error


def _lines(path: str, name: str, content: str) -> Documents:
    found: Documents = {}
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, TypeError, KeyError) as error:
            raise WorkloadError(
                f'dataset: {path} line {number} is no JSON object with a text ({reason(error)}); write {{"text": "…"}}'
            ) from error
        if not isinstance(text, str):
            raise WorkloadError(f"dataset: {path} line {number}: text is {text!r:.40}; give a string")
        found[f"{name}#{number}"] = text
    return found


def _split(documents: Documents, uri: str) -> tuple[Documents, Documents]:
    """Training and held-out documents: never the same text in both."""
    named = {split: {n: t for n, t in documents.items() if n.startswith(f"{split}/")} for split in ("train", "test")}
    if named["train"] and named["test"]:
        known = {text: name for name, text in named["train"].items()}
        for name, text in named["test"].items():
            if text in known:
                raise WorkloadError(
                    f"dataset: {name} in {uri!r} is the same text as {known[text]}: the split leaks; remove one"
                )
        return named["train"], named["test"]
    distinct = {text: name for name, text in sorted(documents.items(), reverse=True) if text.strip()}
    texts = {name: text for text, name in distinct.items()}
    if len(texts) >= FEWEST_DOCUMENTS:
        test = held_out(texts)
        return ({n: t for n, t in texts.items() if n not in test}, {n: t for n, t in texts.items() if n in test})
    cut = {name: len(text) * 4 // 5 for name, text in texts.items()}
    return ({n: t[: cut[n]] for n, t in texts.items()}, {n: t[cut[n] :] for n, t in texts.items()})


def _learn(texts: list[str]) -> Tokenizer:
    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer: Any = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _tokens(tokenizer: Tokenizer, documents: Documents) -> np.ndarray:
    end = tokenizer.token_to_id(END)
    encoded = tokenizer.encode_batch_fast([documents[name] for name in sorted(documents)], add_special_tokens=False)
    return np.concatenate([np.array([*each.ids, end], np.int32) for each in encoded])
