"""Workload `text`: tokens, a small GPT that learns from what comes before, and continuations of prompts."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from accelstack_workloads import model_format
from accelstack_workloads.datasets import prepared, texts
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.model_files import ModelDescription
from accelstack_workloads.models.gpt import Gpt
from accelstack_workloads.models.texts import TextFeed
from accelstack_workloads.serve.prompt import PromptForm
from accelstack_workloads.serve.protocol import RequestError
from tokenizers import Tokenizer
from torch import nn

from tests.workloads.serving import serving
from tests.workloads.steps import run, run_json

# Which animal it is, only the word before the last tells.
SENTENCES = [f"the {pair[0]} old {pair[1]} runs. " for pair in (("red", "fox"), ("blue", "cat"), ("grey", "hen"))]


def documents(folder: Path, count: int = 10, length: int = 60) -> Path:
    """Texts of a few words, each in another order."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number}.txt").write_text("".join(random.choice(SENTENCES, length)))
    return folder


def refusal(uri: object) -> str:
    with pytest.raises(WorkloadError) as caught:
        texts.read(str(uri))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` and a `run` that has learnt the sentences."""
    folder = tmp_path_factory.mktemp("text")
    run_json("prepare", "--workload", "text", "--dataset", documents(folder / "texts"), "--out", folder / "data")
    done = run("train", "--data", folder / "data", "--out", folder / "run", "--epochs", 30, "--batch-size", 4)
    assert done.returncode == 0, done.stderr
    return folder


class TestData:
    def test_tokens_are_the_texts_with_a_fifth_of_the_documents_held_out(self, tmp_path: Path) -> None:
        data = texts.read(str(documents(tmp_path / "texts")))
        tokenizer = Tokenizer.from_str(data.facts["tokenizer"])
        end = tokenizer.token_to_id("<end>")
        parts = []
        for arrays in (data.train, data.test):
            pieces = np.split(arrays["tokens"], np.flatnonzero(arrays["tokens"] == end) + 1)[:-1]
            parts.append({tokenizer.decode(piece[:-1].tolist()) for piece in pieces})
        train, test = parts
        assert train | test == {path.read_text() for path in (tmp_path / "texts").iterdir()}
        assert (len(train), len(test)) == (8, 2)

    def test_python_topics_need_no_download(self) -> None:
        data = texts.read("python-topics")
        assert data.facts["vocabulary"] == 1024
        assert data.counts["train"] > 500
        assert 2 < data.facts["bytes_per_token"] < 5

    def test_the_same_text_is_never_on_both_sides(self, tmp_path: Path) -> None:
        folder = documents(tmp_path / "texts", count=12)
        for number in range(6):
            (folder / f"again-{number}.txt").write_text((folder / f"{number}.txt").read_text())
        once = texts.read(str(documents(tmp_path / "once", count=12)))
        twice = texts.read(str(folder))
        assert sum(map(sum, (twice.counts.values(),))) == sum(map(sum, (once.counts.values(),)))

    def test_a_leaking_split_is_refused(self, tmp_path: Path) -> None:
        for split in ("train", "test"):
            documents(tmp_path / "texts" / split)
        assert "test/0.txt" in (message := refusal(tmp_path / "texts"))
        assert "leaks" in message

    def test_one_file_is_cut_and_lines_of_jsonl_are_documents(self, tmp_path: Path) -> None:
        whole = "".join(path.read_text() for path in sorted(documents(tmp_path / "texts").iterdir()))
        (tmp_path / "one.txt").write_text(whole)
        one = texts.read(str(tmp_path / "one.txt"))
        assert one.counts["train"] / sum(one.counts.values()) == pytest.approx(0.8, abs=0.05)
        lines = [json.dumps({"text": path.read_text()}) for path in sorted((tmp_path / "texts").iterdir())]
        (tmp_path / "all.jsonl").write_text("\n".join(lines))
        assert texts.read(str(tmp_path / "all.jsonl")).counts["test"] > 0

    def test_what_is_wrong_is_named_with_its_place(self, tmp_path: Path) -> None:
        assert "does not exist" in refusal(tmp_path / "none")
        (tmp_path / "few.txt").write_text("a few words")
        assert "needs more than 128" in refusal(tmp_path / "few.txt")
        (tmp_path / "latin.txt").write_bytes("für".encode("latin-1"))
        assert "latin.txt is not UTF-8 at byte 1 (0xfc)" in refusal(tmp_path / "latin.txt")
        (tmp_path / "lines.jsonl").write_text('{"text": "good"}\n{"words": "bad"}\n')
        assert "lines.jsonl line 2" in refusal(tmp_path / "lines.jsonl")
        (tmp_path / "picture.png").write_bytes(b"")
        assert "has no texts" in refusal(tmp_path / "picture.png")


class TestNetwork:
    def network(self) -> Gpt:
        torch.manual_seed(0)
        return Gpt({"vocabulary": 50, "context": 16}, width=32, depth=2, heads=4).eval()

    def test_no_token_sees_a_later_one(self) -> None:
        network = self.network()
        tokens = torch.randint(50, (1, 16), generator=torch.Generator().manual_seed(0))
        other = tokens.clone()
        other[0, 9] = (other[0, 9] + 1) % 50
        same = (network(tokens) - network(other)).abs().amax(-1)[0]
        assert same[:9].max() == 0
        assert same[9:].min() > 0

    def test_it_computes_what_torchs_own_transformer_computes(self) -> None:
        network = self.network()
        layer = nn.TransformerEncoderLayer(32, 4, 128, dropout=0, activation="gelu", batch_first=True, norm_first=True)
        reference = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(32), enable_nested_tensor=False).eval()
        names = {
            "attention_norm": "norm1", "norm": "norm2", "expand": "linear1", "contract": "linear2",
            "attention_output": "self_attn.out_proj",
        }  # fmt: skip
        weights = {f"norm.{part}": value for part, value in network.norm.named_parameters()}
        for index, block in enumerate(network.blocks):
            for ours, theirs in names.items():
                weights |= {
                    f"layers.{index}.{theirs}.{part}": value for part, value in getattr(block, ours).named_parameters()
                }
            weights |= {
                f"layers.{index}.self_attn.in_proj_{part}": value
                for part, value in block.query_key_value.named_parameters()
            }
        reference.load_state_dict(weights)
        tokens = torch.randint(50, (3, 16), generator=torch.Generator().manual_seed(1))
        mask = nn.Transformer.generate_square_subsequent_mask(16)
        with torch.inference_mode():
            hidden = reference(network.tokens(tokens) + network.positions.weight, mask=mask, is_causal=True)
            torch.testing.assert_close(network(tokens), hidden @ network.tokens.weight.T, atol=1e-5, rtol=1e-4)


def test_every_token_is_learnt_from_once_in_an_epoch() -> None:
    tokens = torch.arange(8 * 10 + 1, dtype=torch.int32)
    feed = TextFeed({"tokens": tokens}, {"context": 8, "vocabulary": 100}, seed=3)
    inputs, following = feed.batch(torch.randperm(feed.count), slice(None), 2, 0)
    assert (feed.count, inputs.shape) == (10, (10, 8))
    assert sorted(inputs.flatten().tolist()) != [*range(80)]  # cut at another place than the first
    assert len({*inputs.flatten().tolist()}) == 80
    torch.testing.assert_close(following, (inputs + 1) % 81)


def test_it_predicts_better_than_pairs_of_tokens_do(trained: Path) -> None:
    evaluation = run_json(
        "evaluate", "--model", trained / "run/model", "--data", trained / "data", "--out", trained / "run"
    )
    data = prepared.load(trained / "data")
    size = data.facts["vocabulary"]
    pairs = np.full((size, size), 0.01)
    np.add.at(pairs, (data.train["tokens"][:-1], data.train["tokens"][1:]), 1)
    probabilities = pairs / pairs.sum(axis=1, keepdims=True)
    held_out = data.test["tokens"]
    bigram = np.exp(-np.log(probabilities[held_out[:-1], held_out[1:]]).mean())
    assert evaluation["perplexity"] < bigram
    assert evaluation["bits_per_byte"] == pytest.approx(
        np.log2(evaluation["perplexity"]) / data.facts["bytes_per_token"], rel=1e-3
    )


def test_people_and_programs_get_continuations(trained: Path) -> None:
    with serving(trained / "run/model") as served:
        answer = httpx.post(
            f"{served.rest}/predict", content="the red old", headers={"Content-Type": "text/plain"}
        ).json()
        words = {word for sentence in SENTENCES for word in sentence.split()}
        assert {*answer["text"].split()[:-1]} <= words  # the last one may be cut off
        body = {"prompt": "the red", "tokens": 5, "temperature": 0}
        first, second = (httpx.post(f"{served.rest}/predict", json=body).json() for _ in range(2))
        assert first["tokens"] == 5
        assert first["text"] == second["text"]
        tokens = {"name": "tokens", "datatype": "INT64", "shape": [1, 3], "data": [5, 6, 7]}
        outputs = httpx.post(f"{served.rest}/v2/models/digits/infer", json={"inputs": [tokens]}).json()["outputs"]
        assert outputs[0]["name"] == "logits"
        tokens["data"] = [5, 6, 70_000]
        refused = httpx.post(f"{served.rest}/v2/models/digits/infer", json={"inputs": [tokens]})
        assert refused.status_code == 400
        assert "'tokens' takes 0.." in refused.json()["error"]
        page = httpx.get(served.rest).text
        assert "<textarea" in page


def test_what_the_server_continues_is_what_the_model_says(trained: Path) -> None:
    model = model_format.load(trained / "run/model")
    tokenizer = Tokenizer.from_str(model.description.facts["tokenizer"])
    ids = tokenizer.encode("the blue old").ids
    with torch.inference_mode():
        for _ in range(4):
            ids.append(int(model(torch.tensor([ids]))[0].argmax()))
    (trained / "prompt.json").write_text(json.dumps({"prompt": "the blue old", "tokens": 4, "temperature": 0}))
    answer = run_json("predict", "--model", trained / "run/model", trained / "prompt.json")
    assert "the blue old" + answer["text"] == tokenizer.decode(ids)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "prompt: is empty"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b'{"tokens": 4}', "prompt: is missing"),
        (b'{"prompt": "a", "words": 4}', "words: is no field"),
        (b'{"prompt": "a", "tokens": 0}', "tokens: is 0; give 1 to 512"),
        (b'{"prompt": "a", "tokens": "4"}', "tokens: is '4'; give a number"),
        (b'{"prompt": "a", "temperature": -1}', "temperature: is -1"),
        (b'{"prompt": "a", "seed": -1}', "seed: is -1"),
    ],
)
def test_a_wrong_prompt_is_refused_by_name(content: bytes, reason: str) -> None:
    facts = {"tokenizer": texts._learn(["some words"]).to_str(), "vocabulary": 300, "context": 8}
    with pytest.raises(RequestError, match=reason):
        PromptForm(ModelDescription("text", "gpt", facts)).read(content)
