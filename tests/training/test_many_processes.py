"""Several processes train as one would: the same batches, the same weights, the same scores."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.forks import quick
from helpers.machines import needs_posix
from helpers.project import REPOSITORY
from helpers.ranks import train_by
from helpers.tiny import Place, params
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from florafauna.base.errors import UserError
from florafauna.model.launch import on_all_gpus
from florafauna.model.ranks import mirrored_part
from florafauna.training.loop import train

pytestmark = needs_posix

SGD: dict[str, Any] = {"optimizer": "sgd", "rate": 0.02, "epochs": 2}
CASES: dict[str, dict[str, Any]] = {
    "batch norms, mixup, two batches a step, average": SGD
    | {"architecture": "test_efficientnet", "accumulate": 2, "ema": 0.5, "batch_size": 10}
    | {"augment": {"mixup": 0.2, "random_erasing": 0.5}, "clip_gradient": 1.0},
    "layer norms, weighted classes": SGD
    | {"architecture": "test_convnext", "class_weighting": "balanced", "label_smoothing": 0.1},
    "vit": SGD | {"architecture": "test_vit", "batch_size": 7, "wise": "auto"},
    # not Adam, which makes steps of the rounding errors that are the gradient of a key's bias
    "behind a prefix": SGD | {"architecture": "test_vit", "trainable": ("blocks.5", "norm", "head"), "views": 2},
    "head": SGD | {"architecture": "test_efficientnet", "trainable": "head", "views": 2},
    "solved head": {"architecture": "test_efficientnet", "trainable": "head", "views": 2, "optimizer": "lbfgs"},
}


@pytest.fixture(scope="module")
def alone(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of each case."""
    root = tmp_path_factory.mktemp("alone")
    for name, values in CASES.items():
        place.bundle(root / name, params(**values))
    return root


def same_weights(one: Path, other: Path, what: str) -> None:
    found = load_file(other / "model.safetensors")
    for key, tensor in load_file(one / "model.safetensors").items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-5, atol=1e-5, msg=f"{what}: {key}")


@pytest.mark.parametrize("count", [2, 3])
def test_weights_and_scores_are_those_of_one_process(place: Place, tmp_path: Path, alone: Path, count: int) -> None:
    jobs = [place.job(tmp_path / name, params(**values)) for name, values in CASES.items()]
    assert train_by(count, jobs, tmp_path / "logs") == [0] * count, (tmp_path / "logs/0.txt").read_text()
    both = (alone, tmp_path)
    for name in CASES:
        same_weights(alone / name / "model", tmp_path / name / "model", name)
        history = [pd.read_csv(root / name / "model/history.csv") for root in both]
        np.testing.assert_allclose(history[1], history[0], rtol=1e-4, err_msg=name)
        logits = [np.stack(pd.read_parquet(root / name / "predictions/logits.parquet")["logits"]) for root in both]
        np.testing.assert_allclose(logits[1], logits[0], rtol=1e-4, atol=1e-5, err_msg=name)
    assert not (tmp_path / "logs/1.txt").read_text()


def launched(
    place: Place, folder: Path, values: dict[str, Any], dies: str = "", before: tuple[str, ...] = (), **variables: str
) -> Any:
    """A stage in processes of its own; process `dies` is killed when a state was saved. `before` is what starts it."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("FLORAFAUNA", "RANK"))}
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
    python = sys.executable if before else quick()
    command = [*before, python, "-m", "helpers.ranks", str(place.root), str(folder), json.dumps(values), dies]
    environment = mine | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | variables
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)


def test_a_killed_process_ends_all_with_one_sentence_and_one_alone_resumes(place: Place, tmp_path: Path) -> None:
    # batch norm over six photos would make large differences of rounding errors in ten epochs
    values = SGD | {"architecture": "test_convnext", "epochs": 10, "patience": 10}
    (tmp_path / "killed").mkdir()
    done = launched(place, tmp_path / "killed", values, dies="1", FLORAFAUNA_GPUS="2")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "florafauna: process 1 of 2 was ended by signal 9, so all were; run the same command again: what was finished "
        "of a training is resumed."
    ]
    job = place.job(tmp_path / "killed", params(**values))
    assert not job.out.exists()
    train(job)
    unkilled = place.job(tmp_path / "unkilled", params(**values))
    train(unkilled)
    assert pd.read_csv(job.out / "history.csv")["epoch"].tolist() == list(range(1, 11))
    same_weights(unkilled.out, job.out, "resumed")


# What srun does with a command on a job of two nodes, both of them this machine, on which torchrun finds no GPU.
SRUN = r"""#!/usr/bin/env bash
[ "$1" = --kill-on-bad-exit=1 ] && shift
for node in 1 2; do "${@/--nproc-per-node=auto/--nproc-per-node=1}" & nodes+=($!); done
for node in "${nodes[@]}"; do wait "$node" || exit; done
"""


def test_the_script_for_several_nodes_trains_as_one_process(place: Place, tmp_path: Path, alone: Path) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", "#!/bin/sh\necho localhost; echo elsewhere\n")):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    paths = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])
    job = {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_CPUS_PER_TASK": "1"}
    job |= {"SLURM_JOB_ID": str(os.getpid()), "PATH": paths}
    script = ("bash", str(REPOSITORY / "docs/nodes.sbatch"))
    done = launched(place, tmp_path, CASES["head"], before=script, **job)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best epoch") == 1
    same_weights(alone / "head/model", tmp_path / "model", "head")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("FLORAFAUNA_LAUNCH", "no-such-launcher", "FLORAFAUNA_LAUNCH: 'no-such-launcher' cannot be started"),
        ("FLORAFAUNA_LAUNCH", "false", "'false .*' ended with code 1; what was finished of a training is resumed"),
        ("FLORAFAUNA_GPUS", "many", "FLORAFAUNA_GPUS must be a number of GPUs, not 'many'"),
    ],
)
def test_a_bad_variable_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=sentence):
        on_all_gpus(lambda: None)


def test_a_mistake_is_told_once(place: Place, tmp_path: Path) -> None:
    values = CASES["vit"] | {"batch_size": 3}
    done = launched(place, tmp_path, values, FLORAFAUNA_GPUS="2")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "batch_size (3) is shared by 2 processes" in done.stderr


@given(size=st.integers(4, 200), ranks=st.integers(1, 8))
def test_a_batch_is_shared_out_with_the_counterparts_that_mixup_needs(size: int, ranks: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        parts = []
        for rank in range(ranks):
            patch.setattr("florafauna.model.ranks.ranks", lambda: ranks)
            patch.setattr("florafauna.model.ranks.rank", lambda rank=rank: rank)
            parts.append(mirrored_part(size))
    assert sorted(np.concatenate(parts)) == list(range(size))
    for places in parts:
        assert list(size - 1 - places[::-1]) == list(places)
