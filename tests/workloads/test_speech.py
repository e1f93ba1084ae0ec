"""Workload `speech`: recordings are heard, whatever is around them, and what is said comes out."""

from __future__ import annotations

import io
import itertools
import math
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from accelstack_workloads import model_format
from accelstack_workloads.datasets import recordings
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.models import ctc
from accelstack_workloads.models.recordings import RecordingFeed, error_rates
from accelstack_workloads.models.recurrent import LogMel, Recurrent, mel_filters
from scipy.io import wavfile
from scipy.signal import resample_poly, spectrogram

from tests.workloads.serving import serving
from tests.workloads.steps import run, run_json

RATE = 8000
# Dual tones, as telephones dial (ITU-T Q.23).
TONES = {"1": (697, 1209), "2": (697, 1336), "5": (770, 1336), "D": (941, 1633)}


def tone(symbol: str, seed: int, rate: int = RATE, seconds: float = 0.2) -> np.ndarray:
    """int16 [samples]: a dialled symbol with some noise."""
    random = np.random.default_rng(seed)
    time = np.arange(int(rate * seconds * random.uniform(0.8, 1.2))) / rate
    sound = sum(np.sin(2 * np.pi * frequency * time) for frequency in TONES[symbol]) * random.uniform(0.1, 0.4)
    return ((sound + random.normal(0, 0.01, len(time))) * 32767).astype(np.int16)


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, samples)
    return path


def numbered(folder: Path, speakers: int = 3) -> Path:
    """Recordings named as those of the Free Spoken Digit Dataset."""
    for symbol, speaker, number in itertools.product(TONES, range(speakers), range(15)):
        write(folder / f"{symbol}_s{speaker}_{number}.wav", tone(symbol, seed=speaker * 100 + number))
    return folder


def refusal(uri: object) -> str:
    with pytest.raises(WorkloadError) as caught:
        recordings.read(str(uri))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` and a `run` that has learnt the tones."""
    folder = tmp_path_factory.mktemp("speech")
    run_json("prepare", "--workload", "speech", "--dataset", numbered(folder / "wav"), "--out", folder / "data")
    settings = ("--epochs", 60, "--batch-size", 8, "--learning-rate", 0.005)
    done = run("train", "--data", folder / "data", "--out", folder / "run", *settings)
    assert done.returncode == 0, done.stderr
    return folder


class TestData:
    def test_all_layouts_say_the_same(self, tmp_path: Path) -> None:
        fsdd = numbered(tmp_path / "fsdd")
        lines = ["file,transcript,split"]
        for path in sorted(fsdd.iterdir()):
            symbol, _, number = path.stem.split("_")
            split = "test" if int(number) < 5 else "train"
            write(tmp_path / "split" / split / symbol / path.name, wavfile.read(path)[1])
            write(tmp_path / "listed" / path.name, wavfile.read(path)[1])
            lines.append(f"{path.name},{symbol},{split}")
        (tmp_path / "listed" / "transcripts.csv").write_text("\n".join(lines))
        first, *others = (recordings.read(str(tmp_path / name)) for name in ("fsdd", "split", "listed"))
        assert first.counts == {"train": 120, "test": 60}
        assert first.facts["symbols"] == ["1", "2", "5", "D"]
        for other in others:
            assert (other.counts, other.facts) == (first.counts, first.facts)
            assert sorted(np.diff(other.test["audio_ends"])) == sorted(np.diff(first.test["audio_ends"]))

    def test_folders_of_transcripts_have_a_fifth_of_each_held_out(self, tmp_path: Path) -> None:
        for symbol, number in itertools.product(TONES, range(10)):
            write(tmp_path / "wav" / symbol / f"{number}.wav", tone(symbol, number))
        data = recordings.read(str(tmp_path / "wav"))
        assert data.counts == {"train": 32, "test": 8}
        assert sorted(data.test["text"].tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]

    def test_an_archive_is_read_as_the_usual_dataset_is(self, tmp_path: Path) -> None:
        folder = numbered(tmp_path / "wav", speakers=1)
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            for path in folder.iterdir():
                archive.write(path, f"set-1.0/recordings/{path.name}")
        packed = recordings.read(f"zip://set-1.0/recordings::file://{tmp_path / 'all.zip'}")
        plain = recordings.read(str(folder))
        np.testing.assert_array_equal(packed.train["audio"], plain.train["audio"])

    @pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32])
    def test_every_kind_of_sample_means_the_same(self, kind: type, tmp_path: Path) -> None:
        samples = np.array([-0.5, 0, 0.25], np.float64)
        scaled = {
            np.uint8: samples * 128 + 128, np.int16: samples * 2**15, np.int32: samples * 2**31, np.float32: samples,
        }  # fmt: skip
        path = write(tmp_path / "a.wav", scaled[kind].astype(kind))
        rate, read = recordings.decode(path.read_bytes())
        assert (rate, read.shape) == (RATE, (3, 1))
        np.testing.assert_allclose(read[:, 0] / 2**15, samples, atol=1e-4)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (tone("1", 1)[:, None].repeat(2, 1), "2 channels; make it mono"),
            (tone("1", 1)[:0], "empty"),
            (np.zeros(4000, np.int16), "silent"),
            (np.ones(31 * RATE, np.int16), "31.0 s long"),
            (np.array([np.nan, 0.1], np.float32), "NaN"),
        ],
    )
    def test_a_recording_that_cannot_be_used_is_named(self, content: np.ndarray, reason: str, tmp_path: Path) -> None:
        write(numbered(tmp_path / "wav") / "1_bad_7.wav", content)
        message = refusal(tmp_path / "wav")
        assert "1_bad_7.wav" in message
        assert reason in message

    def test_other_rates_and_damaged_files_are_named(self, tmp_path: Path) -> None:
        folder = numbered(tmp_path / "wav")
        write(folder / "D_fast_7.wav", tone("D", 1, rate=16000), rate=16000)
        whole = (folder / "1_s0_0.wav").read_bytes()
        (folder / "2_short_7.wav").write_bytes(whole[:-500])
        (folder / "2_text_7.wav").write_bytes(b"no sound")
        message = refusal(folder)
        assert "3 of the" in message
        assert "D_fast_7.wav (16000 samples a second, and" in message
        assert "2_short_7.wav (truncated)" in message
        assert "2_text_7.wav (no wav file" in message

    def test_what_does_not_say_what_is_spoken_is_named(self, tmp_path: Path) -> None:
        folder = numbered(tmp_path / "wav", speakers=1)
        write(folder / "noname.wav", tone("1", 1))
        assert "noname.wav does not say what is spoken" in refusal(folder)
        (tmp_path / "none").mkdir()
        assert "has no wav files" in refusal(tmp_path / "none")

    def test_transcripts_are_checked_line_by_line(self, tmp_path: Path) -> None:
        folder = numbered(tmp_path / "wav", speakers=1)
        table = folder / "transcripts.csv"
        table.write_text("file,transcript\n1_s0_0.wav,1\nnone.wav,2\n")
        assert "transcripts.csv line 3: file 'none.wav' is not there" in refusal(folder)
        table.write_text("file,transcript\n1_s0_0.wav,\n")
        assert "line 2: transcript is missing" in refusal(folder)
        table.write_text("file,transcript\n1_s0_0.wav,1\n1_s0_0.wav,1\n")
        assert "listed twice" in refusal(folder)
        table.write_text("file,transcript,split\n1_s0_0.wav,1,train\n2_s0_0.wav,2,test\n")
        assert "'2' is in no training transcript" in refusal(folder)
        table.write_text("file,transcript,split\n1_s0_0.wav,111111,train\n2_s0_0.wav,1,test\n")
        assert "too short to say '111111'" in refusal(folder)


class TestFeatures:
    def test_the_spectrum_is_that_of_scipy(self) -> None:
        features = LogMel(RATE)
        sound = tone("5", 3).astype(np.float32) / 32768
        ours = 10 ** (2 * (features(torch.from_numpy(sound)[None])[0].numpy() - 1)) - 1e-5
        _, _, power = spectrogram(
            sound, RATE, window=np.hanning(features.window + 1)[:-1], nperseg=features.window, nfft=256,
            noverlap=features.window - features.hop, detrend=False, mode="magnitude", scaling="spectrum",
        )  # fmt: skip
        power = (power * np.hanning(features.window + 1)[:-1].sum()) ** 2
        theirs = power.T @ mel_filters(RATE, 256, 40).numpy()
        np.testing.assert_allclose(ours[: len(theirs)], theirs, rtol=1e-2, atol=1e-4)

    def test_filters_are_triangles_that_share_every_frequency_between_two(self) -> None:
        filters = mel_filters(16000, 512, 40).double()
        frequencies = torch.linspace(0, 8000, 257)
        peaks = frequencies[filters.argmax(0)]
        assert (peaks.diff() > 0).all()
        mels = 2595 * (1 + peaks / 700).log10()
        assert float(mels.diff()[8:].std() / mels.diff().mean()) < 0.15  # even for the ear, as far as bins allow
        inner = filters[(frequencies > 100) & (frequencies < 7500)]
        torch.testing.assert_close(inner.sum(1), torch.ones(len(inner), dtype=torch.float64), atol=1e-5, rtol=0)


def all_paths(log_probabilities: np.ndarray, blank: int) -> dict[tuple[int, ...], float]:
    """The probability of each text, over all paths one by one."""
    texts: dict[tuple[int, ...], float] = {}
    steps, symbols = log_probabilities.shape
    for path in itertools.product(range(symbols), repeat=steps):
        text = tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != blank)
        texts[text] = texts.get(text, 0) + math.exp(sum(log_probabilities[range(steps), path]))
    return texts


class TestDecoding:
    @pytest.mark.parametrize("seed", range(8))
    def test_beam_search_finds_what_all_paths_together_say(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        answers = np.log(random.dirichlet(np.full(3, 0.7), size=6))
        texts = all_paths(answers, blank=2)
        text, logarithm = ctc.beam(answers, blank=2, width=500)
        assert tuple(text) == max(texts, key=texts.__getitem__)
        assert math.exp(logarithm) == pytest.approx(max(texts.values()))

    def test_paths_together_may_say_something_else_than_the_likeliest_path(self) -> None:
        answers = np.log(np.array([[0.4, 0.6], [0.4, 0.6]]))  # one symbol and the blank
        assert ctc.greedy(answers.argmax(1).tolist(), blank=1) == []
        assert ctc.beam(answers, blank=1)[0] == [0]

    def test_greedy_keeps_a_symbol_that_is_said_twice(self) -> None:
        assert ctc.greedy([0, 0, 2, 0, 1, 1, 2], blank=2) == [0, 0, 1]

    def test_error_rates_count_edits(self) -> None:
        rates = error_rates(["a b", "cd"], ["a c", "cd"])
        assert rates == {"accuracy": 0.5, "character_error_rate": 0.2, "word_error_rate": 0.333333, "samples": 2}


class TestNetwork:
    def network(self) -> Recurrent:
        torch.manual_seed(0)
        return Recurrent({"rate": RATE, "symbols": ["a", "b"]}, width=8, depth=2).eval()

    def test_padding_changes_nothing(self) -> None:
        network = self.network()
        sound = torch.randn(1, 3000, generator=torch.Generator().manual_seed(0)) * 0.1
        longer = torch.cat([sound, torch.zeros(1, 2000)], 1)
        lengths = torch.tensor([3000])
        (alone, steps), (padded, same) = network(sound, lengths), network(longer, lengths)
        assert steps == same
        torch.testing.assert_close(alone[:, :steps], padded[:, :steps], atol=1e-5, rtol=1e-4)

    def test_the_layer_is_torchs_own_bidirectional_one(self) -> None:
        layer = self.network().layers[0]
        reference = torch.nn.LSTM(8, 8, batch_first=True, bidirectional=True)
        weights = dict(layer.forwards.state_dict()) | {
            f"{name}_reverse": value for name, value in layer.backwards.state_dict().items()
        }
        reference.load_state_dict(weights)
        x = torch.randn(3, 9, 8, generator=torch.Generator().manual_seed(1))
        lengths = torch.tensor([9, 4, 1])
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        theirs, _ = torch.nn.utils.rnn.pad_packed_sequence(reference(packed)[0], batch_first=True)
        ours = layer(x, lengths)
        for row, length in enumerate(lengths.tolist()):
            torch.testing.assert_close(ours[row, :length], theirs[row, :length])

    def test_the_loss_has_the_gradient_that_differences_show(self) -> None:
        answers = torch.randn(5, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

        def loss(scores: torch.Tensor) -> torch.Tensor:
            text, spoken = torch.tensor([0, 1, 1]), torch.tensor([2, 1])
            return torch.nn.functional.ctc_loss(scores.log_softmax(-1), text, torch.tensor([5, 4]), spoken, blank=2)

        assert torch.autograd.gradcheck(loss, answers.requires_grad_())


def test_samples_depend_on_seed_and_position_alone(tmp_path: Path) -> None:
    data = recordings.read(str(numbered(tmp_path / "wav", speakers=1)))
    samples = {name: torch.from_numpy(array) for name, array in data.train.items()}
    feed = RecordingFeed(samples, data.facts, seed=1)
    indices = torch.arange(8)
    whole, half = feed.batch(indices, slice(None), 3, 0), feed.batch(indices, slice(1, None, 2), 3, 0)
    for row in range(4):
        length = int(half[1][row])
        assert length == int(whole[1][2 * row + 1])
        torch.testing.assert_close(half[0][row, :length], whole[0][2 * row + 1, :length])
    assert (whole[3] > 1).any(), "no strings"
    assert not torch.equal(feed.batch(indices, slice(None), 4, 0)[1], whole[1])


def test_tones_are_heard_alone_and_in_strings(trained: Path) -> None:
    evaluation = run_json(
        "evaluate", "--model", trained / "run/model", "--data", trained / "data", "--out", trained / "run"
    )
    assert evaluation["accuracy"] > 0.9
    assert evaluation["samples"] == 60
    assert evaluation["strings"]["character_error_rate"] < 0.1


def test_a_wav_file_of_any_rate_is_answered(trained: Path) -> None:
    sound = np.concatenate([tone("D", 71), np.zeros(800, np.int16), tone("1", 72)])
    stereo = resample_poly(sound[:, None].repeat(2, 1) / 1.0, 2, 1).astype(np.int16)
    content = io.BytesIO()
    wavfile.write(content, 2 * RATE, stereo)
    with serving(trained / "run/model") as served:
        heads = {"Content-Type": "audio/wav"}
        answer = httpx.post(f"{served.rest}/predict", content=content.getvalue(), headers=heads).json()
        assert answer["text"] == "D1"
        assert 0.2 < answer["confidence"] <= 1
        cut = httpx.post(f"{served.rest}/predict", content=content.getvalue()[:-100], headers=heads)
        assert cut.status_code == 400
        assert "truncated" in cut.json()["error"]
        wrong = httpx.post(f"{served.rest}/predict", content=b"x", headers={"Content-Type": "image/png"})
        assert wrong.status_code == 415
        assert "is not a recording; send audio/wav" in wrong.json()["error"]
        assert 'id="player"' in httpx.get(served.rest).text


def test_programs_get_the_same_answer_in_a_batch_of_other_lengths(trained: Path) -> None:
    sounds = [tone("1", 81).astype(np.float32) / 32768, tone("5", 82, seconds=0.3).astype(np.float32) / 32768]
    model = model_format.load(trained / "run/model")
    size = max(map(len, sounds))
    audio = np.stack([np.pad(sound, (0, size - len(sound))) for sound in sounds])
    with serving(trained / "run/model") as served:
        inputs = [
            {"name": "audio", "datatype": "FP32", "shape": [2, size], "data": audio.ravel().tolist()},
            {"name": "length", "datatype": "INT64", "shape": [2, 1], "data": [len(sound) for sound in sounds]},
        ]
        outputs = httpx.post(f"{served.rest}/v2/models/digits/infer", json={"inputs": inputs}).json()["outputs"]
        inputs[1]["shape"] = [1, 1]
        refused = httpx.post(f"{served.rest}/v2/models/digits/infer", json={"inputs": inputs}).json()["error"]
        assert "give every input the same batch" in refused
    answers = np.array(outputs[0]["data"], np.float32).reshape(outputs[0]["shape"])
    said = [model.decode(row, steps)[0] for row, steps in zip(answers, outputs[1]["data"], strict=True)]
    assert said == ["1", "5"]
