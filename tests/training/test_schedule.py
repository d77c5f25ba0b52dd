"""The learning rate and when to stop, as functions of the step and of the scores so far."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from helpers.tiny import params
from hypothesis import given
from hypothesis import strategies as st

from florafauna.training._schedule import plateaus, rate_at, should_stop

scores = st.lists(st.floats(0, 1), max_size=30)


def rates(steps_per_epoch: int, **values: Any) -> list[float]:
    model = params(**values)
    return [rate_at(step, steps_per_epoch, [], model) for step in range(model.epochs * steps_per_epoch)]


@pytest.mark.parametrize("schedule", ["cosine", "constant", "plateau"])
def test_warm_up_rises_linearly_to_the_rate(schedule: str) -> None:
    found = rates(10, rate=0.5, warmup_epochs=2.0, epochs=6, schedule=schedule)
    assert found[:20] == pytest.approx([0.5 * (step + 1) / 20 for step in range(20)])
    assert found[20] == pytest.approx(0.5)


def test_half_an_epoch_of_warm_up_is_possible() -> None:
    assert rates(10, rate=1.0, warmup_epochs=0.5)[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


@pytest.mark.parametrize("final_rate", [0.0, 0.1])
def test_cosine_ends_at_the_final_rate_and_is_half_way_in_the_middle(final_rate: float) -> None:
    found = rates(11, rate=0.2, epochs=6, warmup_epochs=1, final_rate=final_rate, patience=6)
    assert found[-1] == pytest.approx(0.2 * final_rate)
    assert found[11 + 27] == pytest.approx(0.2 * (1 + final_rate) / 2)


@given(
    st.integers(1, 40),
    st.integers(2, 12),
    st.floats(0, 1.9),
    st.floats(0, 1),
    st.floats(1e-6, 10),
    st.sampled_from(["cosine", "plateau", "constant"]),
    scores,
)
def test_the_rate_never_exceeds_the_rate_and_never_rises_after_the_warm_up(
    steps: int, epochs: int, warmup: float, final: float, rate: float, schedule: str, so_far: Sequence[float]
) -> None:
    model = params(epochs=epochs, warmup_epochs=warmup, final_rate=final, rate=rate, schedule=schedule, patience=12)
    found = [rate_at(step, steps, so_far, model) for step in range(epochs * steps)]
    warm = round(warmup * steps)
    assert all(0 <= value <= rate * (1 + 1e-12) for value in found)
    assert all(b >= a for a, b in pairwise(found[:warm]))
    assert all(b <= a * (1 + 1e-12) for a, b in pairwise(found[warm:]))
    if schedule == "cosine":
        assert min(found[warm:], default=rate) >= rate * final * (1 - 1e-12)


def test_plateau_falls_when_the_score_has_not_risen() -> None:
    model = params(schedule="plateau", plateau_patience=2, plateau_factor=0.1, patience=9, rate=1.0, warmup_epochs=0)
    history = [0.5, 0.6, 0.6, 0.55, 0.6, 0.7, 0.1]
    found = [rate_at(0, 1, history[:epochs], model) for epochs in range(len(history) + 1)]
    assert found == pytest.approx([1, 1, 1, 1, 1, 0.1, 0.1, 0.1])


@given(scores, st.integers(0, 5))
def test_plateaus_are_torchs(history: list[float], patience: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    torchs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.5, patience=patience, threshold=0.0, eps=0.0
    )
    for score in history:
        torchs.step(score)
    assert 0.5 ** plateaus(history, patience) == optimizer.param_groups[0]["lr"]


def test_stopping_waits_for_patience_epochs_without_a_better_score() -> None:
    history = [0.3, 0.5, 0.4, 0.5, 0.2]
    assert [should_stop(history[:epochs], 3) for epochs in range(6)] == [False] * 5 + [True]
    assert should_stop([0.5, 0.5], 1), "an equal score is no better one"
    assert not should_stop([0.5, 0.5, 0.6], 1)


@given(scores, st.integers(1, 10), st.floats(0, 1))
def test_a_better_score_always_keeps_a_training_going(history: list[float], patience: int, more: float) -> None:
    best = max(history, default=0.0)
    assert not should_stop([*history, best + more + 0.01], patience)
    assert not should_stop(history[:patience], patience)
