"""A training that was killed at any moment ends with the bytes it would have ended with."""

import multiprocessing
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.machines import needs_posix, needs_proc
from helpers.tiny import Place, params, train_until_killed
from safetensors import safe_open
from torch import nn

from florafauna.bundle.bundle import load_trained
from florafauna.model.settings import ModelParams
from florafauna.training import loop
from florafauna.training._averaging import moving_tensors
from florafauna.training._feeds import PixelFeed
from florafauna.training._parts import Parts
from florafauna.training._resume import STATE, State, load_state, save_state
from florafauna.training.job import TrainingJob
from florafauna.training.trainable import parameter_groups

pytestmark = needs_posix

NEVER = 1e9  # seconds between saves within an epoch

CASES: dict[str, tuple[dict[str, Any], float]] = {
    "between epochs": ({"trainable": "all", "ema": 0.5, "accumulate": 2, "epochs": 3, "wise": "auto"}, NEVER),
    "within epochs": ({"trainable": "all", "ema": 0.5, "accumulate": 2, "augment": {"mixup": 0.2}}, 0.0),
    "behind a prefix": (
        {"architecture": "test_vit", "trainable": ("blocks.5", "norm", "head"), "optimizer": "sgd", "views": 2}
        | {"schedule": "plateau", "plateau_patience": 1, "drop_path": 0.2},
        0.0,
    ),
}


def run(job: TrainingJob, saves: int | None, between_saves: float) -> int | None:
    """Train in a process of its own, into an empty folder as DVC leaves it; returns the exit code."""
    shutil.rmtree(job.out, ignore_errors=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["florafauna.training.loop"])
    process = context.Process(target=train_until_killed, args=(job, saves, between_saves, log(job)))
    process.start()
    process.join()
    return process.exitcode


def log(job: TrainingJob) -> Path:
    return job.timing.with_name("log.txt")


def files(job: TrainingJob) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(job.out.iterdir())}


@pytest.mark.parametrize("case", CASES)
def test_killed_again_and_again_it_ends_with_the_same_bytes(place: Place, tmp_path: Path, case: str) -> None:
    values, between_saves = CASES[case]
    model: ModelParams = params(**values)
    unkilled, killed = place.job(tmp_path / "a", model), place.job(tmp_path / "b", model)
    assert run(unkilled, None, between_saves) == 0
    assert "resuming after step" not in log(unkilled).read_text()
    kills = 0
    while (code := run(killed, kills + 1, between_saves)) != 0:  # each lives for one more save than the one before
        assert code == -signal.SIGKILL
        if (killed.out / "training.json").exists():
            load_trained(killed.out)
        for saved in killed.scratch.glob("training/*/[!.]*.safetensors"):
            with safe_open(saved, framework="pt") as whole:  # written whole or not at all
                assert list(whole.keys())
        kills += 1
    assert kills >= 3
    assert log(killed).read_text().count("resuming after step") >= 2
    assert files(killed) == files(unkilled)
    assert not list((killed.scratch / "training").iterdir()), "what was kept for resuming is gone"


def test_a_changed_rate_does_not_go_on_from_the_state_of_another_run(place: Place, tmp_path: Path) -> None:
    first, second = (place.job(tmp_path / "a", params(rate=rate)) for rate in (1e-3, 2e-3))
    fresh = place.job(tmp_path / "b", params(rate=2e-3))
    assert run(first, 3, NEVER) == -signal.SIGKILL
    assert list(first.scratch.glob("training/*/state.safetensors"))
    assert run(second, None, NEVER) == 0
    assert run(fresh, None, NEVER) == 0
    assert "resuming after step" not in log(second).read_text()
    assert files(second) == files(fresh)


def test_the_rate_of_an_epoch_is_known_where_only_its_validation_was_left(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No step of it is run again, which would tell the optimizer."""
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_SAVES", -1.0)
    model_params = params("test_vit", epochs=1, warmup_epochs=0, batch_size=15)
    histories = []
    for folder, killed in ((tmp_path / "unkilled", False), (tmp_path / "killed", True)):
        if killed:
            loop.train_epoch(fresh(place, folder, model_params), State())
        histories.append(loop.fit(fresh(place, folder, model_params)).history)
    assert histories[0] == histories[1]


def fresh(place: Place, folder: Path, model_params: ModelParams) -> Parts:
    """A run that has just been started."""
    model, _ = place.built(model_params)
    return place.parts(folder, model, model_params, PixelFeed(place.photos(model, model_params), model, model))


def flip(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    "damage", ["a tensor of the state", "the epoch in its header", "the best checkpoint", "the start", "cut"]
)
def test_a_damaged_state_is_said_once_and_the_training_starts_anew(place: Place, tmp_path: Path, damage: str) -> None:
    model = params(head_init="probe", epochs=3, wise="auto")
    unkilled, killed = place.job(tmp_path / "a", model), place.job(tmp_path / "b", model)
    assert run(unkilled, None, NEVER) == 0
    assert run(killed, 9, NEVER) == -signal.SIGKILL  # after the features, the start, a best checkpoint and a state
    (state,) = killed.scratch.glob("training/*/state.safetensors")
    best = sorted(killed.scratch.glob("training/*/best-*.safetensors"))[0]
    (start,) = killed.scratch.glob("training/*/start.safetensors")
    kept = {"the best checkpoint": best, "the start": start}
    if damage in kept:
        flip(kept[damage], -9)
    elif damage == "cut":
        state.write_bytes(state.read_bytes()[:-9])
    else:
        epoch = state.read_bytes().index(b'epoch\\": ') + len(b'epoch\\": ')
        flip(state, -9 if damage == "a tensor of the state" else epoch)
    assert run(killed, None, NEVER) == 0
    (said,) = [line for line in log(killed).read_text().splitlines() if "damaged" in line]
    assert str(kept.get(damage, state)) in said
    assert "resumes after step" not in log(killed).read_text()
    assert files(killed) == files(unkilled)


def test_a_fused_step_after_the_resumption_is_that_of_an_unkilled_training(place: Place, tmp_path: Path) -> None:
    """As GPUs take it. Moments in another memory format than the weights are refused there, and mixed up on a CPU."""
    model_params = params("test_efficientnet")
    scaler, file = torch.amp.GradScaler("cpu", enabled=False), tmp_path / "state"
    models = []
    for resumed in (False, True):
        model, _ = place.built(model_params)
        optimizer = torch.optim.AdamW(parameter_groups(model, model_params), fused=True)
        if resumed:
            load_state(file, model, {}, optimizer, scaler)
            assert all(values["exp_avg"].stride() == each.stride() for each, values in optimizer.state.items())
        else:
            step(model, optimizer, seed=0)
            save_state(file, State(), moving_tensors(model), {}, optimizer, scaler)
        step(model, optimizer, seed=1)
        models.append(model)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one, other)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=generator))
    optimizer.step()


@needs_proc
def test_a_resumed_training_does_not_keep_the_file_of_its_state(place: Place, tmp_path: Path) -> None:
    """Windows would not let it be replaced."""
    model_params = params(optimizer="adamw")
    model, _ = place.built(model_params)
    optimizer = torch.optim.AdamW(parameter_groups(model, model_params))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    scaler, file = torch.amp.GradScaler("cpu", enabled=False), tmp_path / STATE
    before = {number: entry["exp_avg"].clone() for number, entry in optimizer.state_dict()["state"].items()}
    save_state(tmp_path, State(), moving_tensors(model), {}, optimizer, scaler)
    load_state(tmp_path, model, {}, optimizer, scaler)
    assert str(file) not in Path("/proc/self/maps").read_text(encoding="utf-8")
    after = optimizer.state_dict()["state"]
    assert all(torch.equal(after[number]["exp_avg"], value) for number, value in before.items())
