"""The search for settings: it finds better ones, shares trials between processes, and goes on where it was killed."""

from __future__ import annotations

import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from accelstack_workloads.datasets import prepared
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.folder_lock import alone
from accelstack_workloads.tuning import studies
from accelstack_workloads.tuning.range_test import smoothed, suggest
from accelstack_workloads.tuning.search import Search, search
from accelstack_workloads.tuning.space import space
from accelstack_workloads.tuning.worker import work
from accelstack_workloads.workloads import WORKLOADS
from kubernetes import client
from optuna.trial import TrialState

from tests.workloads.steps import END_SECONDS, Running, run, run_json

IMAGE = f"registry.example.com/accelstack@sha256:{'0' * 64}"
EPOCHS = 3


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a prepared table."""
    folder = tmp_path_factory.mktemp("table") / "data"
    run_json("prepare", "--workload", "tabular", "--out", folder)
    return folder


@pytest.fixture
def wanted(table: Path, tmp_path: Path) -> Search:
    return search(table, tmp_path, "", EPOCHS, 0, "")


def study_of(of: Search) -> optuna.Study:
    with studies.quiet():
        return studies.join(of, space(of, 100))


def numbers(of: optuna.Study, *states: TrialState) -> list[int]:
    return [trial.number for trial in of.get_trials(states=states)]


class TestSearch:
    def test_the_best_of_some_trials_trains_and_two_jobs_share_them(
        self, table: Path, wanted: Search, tmp_path: Path
    ) -> None:
        options = ("--data", table, "--out", tmp_path, "--epochs", EPOCHS)
        done = run("tune", *options, "--trials", 4, "--jobs", 2)
        assert done.returncode == 0, done.stderr
        ended = study_of(wanted).get_trials()
        assert [trial.number for trial in ended] == [0, 1, 2, 3]
        assert len({trial.user_attrs[studies.PROCESS][1] for trial in ended}) == 4  # a process each
        losses = [trial.value for trial in ended if trial.value is not None]
        best = json.loads((tmp_path / "best.json").read_text())
        assert best["loss"] == min(losses) < max(losses)
        assert best["trial"] == losses.index(min(losses))
        assert len({json.dumps(trial.params, sort_keys=True) for trial in ended}) == 4
        assert all(re.search(rf"^trial {number}: loss ", done.stdout, re.MULTILINE) for number in range(4))
        for name in ("history.png", "importances.png", "parallel.png"):
            assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")

        again = run("tune", *options, "--trials", 4)
        assert "4 of 4 trials have ended" in again.stdout
        assert len(study_of(wanted).get_trials()) == 4

        trained = run("train", "--data", table, "--out", tmp_path / "run", "--settings", tmp_path / "best.json")
        assert trained.returncode == 0, trained.stderr
        settings = json.loads((tmp_path / "run" / "training.json").read_text())["settings"]
        assert {name: settings[name] for name in best["settings"]} == best["settings"]

    def test_a_killed_search_keeps_what_has_ended_and_tries_the_rest_again(
        self, table: Path, wanted: Search, tmp_path: Path
    ) -> None:
        options = ("--data", table, "--out", tmp_path, "--epochs", EPOCHS, "--trials", 3)
        first = Running("tune", *options)
        first.wait_for("trial 0: ")
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.communicate(timeout=END_SECONDS)
        study = study_of(wanted)
        assert numbers(study, TrialState.COMPLETE) == [0]
        value = study.trials[0].value
        second = run("tune", *options)
        assert second.returncode == 0, second.stderr
        assert "study tabular-mlp-" in second.stdout
        assert not second.stdout.count("trial 0: ")
        ended = studies.spent(study_of(wanted))
        assert len(ended) == 3
        assert ended[0].value == value

    def test_asked_to_stop_it_ends_its_trials_and_exits_with_3(
        self, table: Path, wanted: Search, tmp_path: Path
    ) -> None:
        options = ("--data", table, "--out", tmp_path, "--epochs", EPOCHS, "--trials", 100)
        searching = Running("tune", *options)
        searching.wait_for("trial 0: ")
        processes = searching.processes()
        searching.process.terminate()
        status, _, errors = searching.end()
        assert (status, errors) == (3, "")
        assert not any(each.is_running() for each in processes)
        assert json.loads((tmp_path / "best.json").read_text())["trial"] == 0
        assert numbers(study_of(wanted), TrialState.RUNNING) == []
        assert not (tmp_path / "trials").exists()

    def test_held_out_samples_are_never_seen(self, table: Path, tmp_path: Path) -> None:
        data = prepared.load(table)
        empty = {name: np.zeros_like(array) for name, array in data.test.items()}
        prepared.save(replace(data, test=empty), tmp_path / "data")
        found = [
            work(search(folder, tmp_path, "", EPOCHS, 0, ""), tmp_path / "trials", 9).partition("  ")[0]
            for folder in (table, tmp_path / "data")
        ]
        assert found[0] == found[1]
        assert re.fullmatch(r"trial 0: loss \d\.\d+", found[0])
        assert not any((tmp_path / "trials").iterdir())  # nothing of the trainings is left


class TestStudy:
    def test_the_usual_settings_are_tried_first(self, wanted: Search, tmp_path: Path) -> None:
        work(wanted, tmp_path / "trials", 1)
        trial = study_of(wanted).trials[0]
        sizes = {"size_hidden1": 128, "size_hidden2": 128}
        assert trial.params == {"learning_rate": 0.005, "batch_size": 32, "schedule": "one-cycle", **sizes}
        assert work(wanted, tmp_path / "trials", 1) == "nothing to do: 1 trials have ended"

    def test_a_trial_whose_process_is_gone_is_tried_again_and_not_for_ever(self, wanted: Search) -> None:
        study = study_of(wanted)
        for retries in range(studies.MOST_RETRIES + 1):
            trial = study.ask()
            studies.sign(trial)
            assert studies.recover(study) == []  # this process lives
            host, pid, began = trial.user_attrs[studies.PROCESS]
            trial.set_user_attr(studies.PROCESS, [host, pid, began - 1])  # another one had its number before
            assert studies.recover(study) == [retries]
            assert len(studies.spent(study)) == (retries == studies.MOST_RETRIES)
        params = {json.dumps(trial.params, sort_keys=True) for trial in study.trials}
        assert len(study.trials) == studies.MOST_RETRIES + 1
        assert len(params) == 1

    def test_processes_elsewhere_share_it_by_a_database(self, table: Path, tmp_path: Path) -> None:
        shared = f"sqlite:///{tmp_path / 'study.db'}"
        options = ("--data", table, "--out", tmp_path / "pod", "--epochs", 1, "--trials", 2)
        worker = Running("tune", "worker", *options, ACCELSTACK_STUDY=shared)
        status, said, errors = worker.end()
        assert (status, errors) == (0, "")
        assert "trial 0: loss" in said
        found = run("tune", "--data", table, "--out", tmp_path, "--epochs", 1, "--trials", 2, "--study", shared)
        assert found.returncode == 0, found.stderr
        assert "1 of 2 trials have ended" in found.stdout
        assert json.loads((tmp_path / "best.json").read_text())["trials"] == {"complete": 2}

    def test_a_diverging_trial_is_no_failure_of_the_search(
        self, wanted: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise WorkloadError("training: the loss is no finite number any more")

        monkeypatch.setattr("accelstack_workloads.tuning.worker.Trainer.fit", refuse)
        said = work(wanted, tmp_path / "trials", 3)
        assert said.startswith("trial 0: not trained (training: the loss is no finite number any more)")
        assert numbers(study_of(wanted), TrialState.PRUNED) == [0]

    def test_processes_that_begin_at_once_make_one_study(self, wanted: Search, tmp_path: Path) -> None:
        of = replace(wanted, storage=f"sqlite:///{tmp_path / 'study.db'}")
        with ThreadPoolExecutor(8) as pool, studies.quiet():
            joined = [*pool.map(lambda number: studies.join(of, space(of, 100), first=number == 0), range(8))]
        assert {study.study_name for study in joined} == {of.name}
        assert numbers(joined[0], TrialState.WAITING) == [0]

    def test_a_bad_trial_ends_after_an_epoch(self, wanted: Search, tmp_path: Path) -> None:
        study = study_of(wanted)
        bounds = space(wanted, 100)
        first = study.ask()
        bounds.suggest(first, wanted)
        study.tell(first, 0.1)
        distributions = study.trials[0].distributions
        for rate in (0.001, 0.002, 0.003, 0.004, 0.005):
            params = {**bounds.usual, "learning_rate": rate}
            study.add_trial(
                optuna.create_trial(
                    params=params, distributions=distributions, value=0.01, intermediate_values={1: 0.02, 2: 0.01}
                )
            )
        study.enqueue_trial({**bounds.usual, "learning_rate": 0.0005})
        assert work(wanted, tmp_path / "trials", 9).startswith("trial 6: pruned after epoch 1  learning-rate 0.0005")

    def test_a_journal_that_is_none_is_refused(self, wanted: Search) -> None:
        Path(wanted.storage).write_text("no journal\n\n")
        with pytest.raises(WorkloadError, match=r"--study: .*study.journal' cannot be used"):
            study_of(wanted)

    def test_one_search_at_a_time_works_in_a_folder(self, table: Path, tmp_path: Path) -> None:
        with alone(tmp_path):
            done = run("tune", "--data", table, "--out", tmp_path)
        assert done.returncode == 2
        assert done.stderr == f"error: out: {tmp_path} is in use by another run; wait for it, or give another --out\n"

    def test_another_seed_or_number_of_epochs_is_another_study(self, table: Path, tmp_path: Path) -> None:
        names = {search(table, tmp_path, "", *of, "").name for of in ((3, 0), (3, 0), (4, 0), (3, 1))}
        assert len(names) == 3

    @pytest.mark.parametrize(
        ("workload", "sizes"),
        [
            ("vision", {"size_conv1": [16, 32, 64], "size_conv2": [32, 64, 128], "size_hidden": [32, 64, 128]}),
            ("tabular", {"size_hidden1": [64, 128, 256], "size_hidden2": [64, 128, 256]}),
            ("speech", {"size_width": [64, 128, 256], "size_depth": [1, 2, 4]}),
            ("text", {"size_width": [64, 128, 256], "size_depth": [2, 4, 8]}),
        ],
    )
    def test_widths_and_depth_are_tried_where_the_architecture_has_them(
        self, wanted: Search, workload: str, sizes: dict[str, list[int]]
    ) -> None:
        usual = WORKLOADS[workload]
        of = space(replace(wanted, usual=usual, architecture=usual.architectures[0]), {"a": 20, "b": 20})
        assert {name: values for name, values in of.choices.items() if name.startswith("size_")} == sizes
        assert max(of.choices["batch_size"]) <= 40
        assert of.settings(of.usual, wanted).sizes == {}
        name, values = next(iter(sizes.items()))
        assert of.settings({**of.usual, name: values[0]}, wanted).sizes == {name.removeprefix("size_"): values[0]}


class TestSettingsFile:
    def test_options_go_before_the_file_and_sizes_reach_the_model(self, table: Path, tmp_path: Path) -> None:
        path = tmp_path / "best.json"
        path.write_text(json.dumps({"settings": {"epochs": 9, "batch_size": 16, "sizes": {"hidden1": 24}}}))
        done = run("train", "--data", table, "--out", tmp_path / "run", "--settings", path, "--epochs", 1)
        assert done.returncode == 0, done.stderr
        settings = json.loads((tmp_path / "run" / "training.json").read_text())["settings"]
        assert (settings["epochs"], settings["batch_size"], settings["sizes"]) == (1, 16, {"hidden1": 24})
        model = json.loads((tmp_path / "run" / "model" / "model.json").read_text())
        assert model["sizes"] == {"hidden1": 24}
        evaluated = run("evaluate", "--model", tmp_path / "run" / "model", "--data", table, "--out", tmp_path)
        assert evaluated.returncode == 0, evaluated.stderr

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("{}", "has no settings ('settings'); give the best.json that `tune` wrote"),
            ('{"settings": {"colour": 1}}', "has 'colour', which is no option of train; remove it"),
            ('{"settings": {"sizes": {"colour": 8}}}', "sizes: 'colour' is none of mlp; use one of: hidden1, hidden2"),
            ('{"settings": {"sizes": {"hidden1": "wide"}}}', "--size: 'hidden1=wide' is not NAME=NUMBER"),
        ],
    )
    def test_a_file_that_is_none_is_refused(self, table: Path, tmp_path: Path, content: str, words: str) -> None:
        path = tmp_path / "best.json"
        path.write_text(content)
        done = run("train", "--data", table, "--out", tmp_path / "run", "--settings", path)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


class TestLearningRate:
    def test_the_steepest_descent_is_suggested(self) -> None:
        rates = np.geomspace(1e-6, 1, 100)
        falling = 2 - 1 / (1 + np.exp(-3 * (np.log10(rates) + 3)))  # steepest at 10^-3
        rising = np.where(rates > 0.1, (rates / 0.1) ** 2, 0)
        assert suggest(rates.tolist(), (falling + rising).tolist()) == pytest.approx(1e-3, rel=0.15)

    def test_smoothing_is_free_of_its_beginning(self) -> None:
        assert smoothed([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])
        assert smoothed([1.0, 0.0]) == pytest.approx([1.0, 0.09 / 0.19])

    def test_a_rate_is_found_for_a_table(self, table: Path, tmp_path: Path) -> None:
        report = run_json("tune", "learning-rate", "--data", table, "--out", tmp_path)
        assert report == json.loads((tmp_path / "learning-rate.json").read_text())
        assert 1e-4 < report["suggestion"] < 0.3
        assert len(report["rates"]) == len(report["losses"]) == len(report["smoothed"])
        assert report["rates"][0] == pytest.approx(1e-6)
        assert min(report["smoothed"]) < 0.7 * report["smoothed"][0]
        assert (tmp_path / "learning-rate.png").read_bytes().startswith(b"\x89PNG")


class TestManifest:
    OPTIONS = ("--workload", "vision", "--image", IMAGE, "--namespace", "team", "--queue", "fair", "--trials", 8)

    def test_it_is_an_indexed_job_that_kueue_admits_with_the_same_worker(self) -> None:
        done = run("tune", "manifest", *self.OPTIONS, "--parallelism", 2, "--study-secret", "db", "--epochs", 3)
        assert done.returncode == 0, done.stderr
        job: dict[str, Any] = yaml.safe_load(done.stdout)
        known = client.ApiClient()
        read = known.deserialize(json.dumps(job), "V1Job", "application/json")
        assert known.sanitize_for_serialization(read) == job  # Kubernetes knows every field
        assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "fair"
        spec, pod = job["spec"], job["spec"]["template"]["spec"]
        assert (spec["suspend"], spec["completionMode"], spec["completions"], spec["parallelism"]) == (
            True,
            "Indexed",
            8,
            2,
        )
        assert pod["restartPolicy"] == "Never"
        (prepare,), (trial,) = pod["initContainers"], pod["containers"]
        assert {prepare["image"], trial["image"]} == {IMAGE}
        assert prepare["command"][3:] == [
            "prepare",
            "--workload",
            "vision",
            "--dataset",
            "digits",
            "--out",
            "/scratch/data",
        ]
        assert trial["command"][3:9] == ["tune", "worker", "--data", "/scratch/data", "--out", "/scratch/trials"]
        assert trial["command"][-2:] == ["--trials", "8"]
        assert trial["resources"]["requests"] == {"cpu": "2", "memory": "4Gi"}
        study = next(each for each in trial["env"] if each["name"] == "ACCELSTACK_STUDY")
        assert study["valueFrom"] == {"secretKeyRef": {"name": "db", "key": "uri"}}

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("--image", "accelstack:latest", "--study-secret", "db"), "is not pinned"),
            ((), "--study: give one of it and --study-secret"),
            (("--study", "sqlite:////srv/study.db"), "is not shared by pods"),
            (("--study-secret", "db", "--queue", "Fair Share"), "--queue: 'Fair Share' is no Kubernetes name"),
            (("--study-secret", "db", "--parallelism", 0), "--parallelism: 0 is not above 0"),
        ],
    )
    def test_what_cannot_work_is_refused(self, options: tuple[object, ...], words: str) -> None:
        done = run("tune", "manifest", *self.OPTIONS, *options)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--trials", 0), "--trials: 0 is not above 0"),
        (("--jobs", 0), "--jobs: 0 is not above 0"),
        (("--timeout", 0), "--timeout: 0.0 is not above 0"),
        (("--epochs", 0), "--epochs: 0 is not above 0"),
        (("--study", "here"), "--study: 'here' is not a database URI"),
        (("--study", "nosuch://host/db"), "--study: 'nosuch://host/db' cannot be used"),
        (("--study", "sqlite:////no/such/folder/study.db"), "cannot be used"),
        (("--architecture", "palace"), "--architecture: 'palace' is none of workload tabular"),
    ],
)
def test_bad_input_is_refused_before_any_trial(
    table: Path, tmp_path: Path, options: tuple[object, ...], words: str
) -> None:
    done = run("tune", "--data", table, "--out", tmp_path / "out", *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out" / "best.json").exists()
