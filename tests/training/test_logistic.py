"""The convex problem of a linear head: its optimum is that of others, and the memory it takes changes nothing."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import cross_entropy

from florafauna.base.errors import UserError
from florafauna.base.metrics import weighted_f1
from florafauna.training._loss import Loss
from florafauna.training.frozen import logistic
from florafauna.training.frozen.logistic import Samples, solve

CPU = torch.device("cpu")
CLASSES, WIDTH = 3, 8


def samples(seed: int, photos: int, views: int = 1, noise: float = 1.5) -> Samples:
    """Overlapping clouds, off the origin and of unequal size, as a backbone's features are."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(CLASSES, size=photos)
    centres = np.random.default_rng(0).normal(size=(CLASSES, WIDTH))
    drawn = [centres[targets] + noise * rng.normal(size=(photos, WIDTH)) for _ in range(views)]
    return Samples([torch.tensor(7 + 3 * x, dtype=torch.float32) for x in drawn], targets, CPU)


def flat(given: Samples) -> tuple[np.ndarray, np.ndarray]:
    """All views one below the other."""
    return torch.cat(list(given.views)).numpy(), np.tile(given.targets, len(given.views))


@pytest.mark.parametrize("views", [1, 2])
def test_the_optimum_is_that_of_scikit_learn(views: int) -> None:
    train, val = samples(1, 60, views), samples(2, 40)
    optimum = solve(train, val, CLASSES, l2s=[0.01])
    x, y = flat(train)
    deviation = np.sqrt(((x - x.mean(0)) ** 2).mean())
    scaled = (x - x.mean(0)) / deviation
    peer = LogisticRegression(C=1 / (0.01 * len(x)), tol=1e-8, max_iter=5000).fit(scaled.astype(np.float64), y)
    expected = torch.tensor(peer.predict_log_proba(scaled))
    assert optimum.converged
    assert optimum.loss == pytest.approx(float(cross_entropy(expected, torch.tensor(y))), abs=2e-4)
    assert optimum.bias is not None
    found = torch.tensor(x) @ optimum.weight.T + optimum.bias
    assert (found.softmax(1) - expected.exp()).abs().max() < 5e-3
    predictions = (val.views[0] @ optimum.weight.T + optimum.bias).argmax(1)
    assert optimum.weighted_f1 == weighted_f1(val.targets, predictions.numpy())


def test_the_l2_with_the_best_validation_score_is_chosen() -> None:
    train, val = samples(1, 30, noise=2.5), samples(2, 60, noise=2.5)
    optimum = solve(train, val, CLASSES)
    alone = {l2: solve(train, val, CLASSES, l2s=[l2]).weighted_f1 for l2 in logistic.L2}
    assert len(set(alone.values())) > 1, "else nothing is chosen"
    tried = logistic.L2[: logistic.L2.index(optimum.l2) + 1 + logistic.PATIENCE]
    assert optimum.weighted_f1 >= max(alone[l2] for l2 in tried) - 1 / 60, "a warm start ends near the same point"


def test_a_rare_class_is_looked_for_at_weaker_l2_until_it_is_named() -> None:
    """What tells it apart varies little, so that the first optima give all photos the frequent class."""
    rng = np.random.default_rng(0)
    targets = (np.arange(400) % 25 == 0).astype(np.int64)
    x = torch.tensor(np.c_[0.02 * rng.normal(size=400) + 0.1 * targets, rng.normal(size=(400, 7))], dtype=torch.float32)
    given = Samples([x], targets, CPU)
    strong = solve(given, given, 2, l2s=logistic.L2[: 1 + logistic.PATIENCE])
    assert not logistic.predict(given, strong.weight, strong.bias).any(), "else nothing is looked for"
    assert solve(given, given, 2).weighted_f1 > 0.99


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"label_smoothing": 0.2},
        {"class_weights": torch.tensor([1.0, 5.0, 1.0])},
        {"log_prior": torch.tensor([0.8, 0.15, 0.05]).log()},
    ],
)
def test_no_step_from_the_optimum_lowers_the_trainings_own_loss(values: dict[str, Any]) -> None:
    train = samples(1, 60, views=2)
    optimum = solve(train, samples(2, 40), CLASSES, loss=Loss(**values), l2s=[1e-3])
    x, y = (torch.tensor(each) for each in flat(train))
    mean, deviation = x.mean(0), (x - x.mean(0)).square().mean().sqrt()
    options = dict(values)
    if "class_weights" in options:
        options["weight"] = options.pop("class_weights").double()
    prior = options.pop("log_prior", torch.zeros(CLASSES)).double()
    weight = (optimum.weight * deviation).double().requires_grad_()
    assert optimum.bias is not None
    bias = (optimum.bias + optimum.weight @ mean).double().requires_grad_()
    loss = cross_entropy(((x - mean) / deviation).double() @ weight.T + bias + prior, y, **options)
    assert optimum.loss == pytest.approx(float(loss.detach()), abs=1e-5)
    (loss + 5e-4 * weight.square().sum()).backward()
    assert weight.grad is not None
    assert bias.grad is not None
    assert max(weight.grad.abs().max(), bias.grad.abs().max()) < 2e-3


def test_an_adjusted_head_is_the_plain_one_less_the_prior() -> None:
    """The bias is not penalised, so that it takes up the prior exactly (Menon et al. 2021, post hoc)."""
    train, val = samples(1, 60), samples(2, 40)
    prior = torch.tensor([0.8, 0.15, 0.05]).log()
    plain, adjusted = (solve(train, val, CLASSES, loss=loss, l2s=[0.01]) for loss in (Loss(), Loss(log_prior=prior)))
    assert plain.bias is not None
    assert adjusted.bias is not None
    torch.testing.assert_close(adjusted.weight, plain.weight, rtol=0.02, atol=2e-3)
    x, _ = flat(val)
    logits = [torch.tensor(x) @ each.weight.T + each.bias for each in (plain, adjusted)]
    torch.testing.assert_close(logits[1].log_softmax(1), (logits[0] - prior).log_softmax(1), rtol=0.02, atol=0.02)


def test_without_a_bias_features_are_not_shifted() -> None:
    train, val = samples(1, 60), samples(2, 40)
    optimum = solve(train, val, CLASSES, has_bias=False, l2s=[0.01])
    assert optimum.bias is None
    x, y = flat(train)
    deviation = np.sqrt((x**2).mean())
    peer = LogisticRegression(C=1 / (0.01 * len(x)), fit_intercept=False, tol=1e-8, max_iter=5000).fit(x / deviation, y)
    expected = torch.tensor(peer.predict_proba(x / deviation))
    assert ((torch.tensor(x) @ optimum.weight.T).softmax(1) - expected).abs().max() < 5e-3


def test_features_that_do_not_fit_into_memory_are_converted_again_in_every_step() -> None:
    train, val = (
        Samples([view.bfloat16() for view in given.views], given.targets, CPU)  # float32 is used where it lies
        for given in (samples(1, 60, views=2), samples(2, 40))
    )
    kept = solve(train, val, CLASSES)
    read = solve(train, val, CLASSES, kept_bytes=0)
    assert isinstance(train.kept(1 << 20), list)
    assert train.kept(0) is train
    assert torch.equal(read.weight, kept.weight)
    assert read.steps == kept.steps


def test_chunks_of_any_size_give_the_same_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    train, val = samples(1, 60, views=2), samples(2, 40)
    whole = solve(train, val, CLASSES, l2s=[0.01])
    monkeypatch.setattr(logistic, "CHUNK", 7)
    assert [len(x) for x, _ in val] == [7, 7, 7, 7, 7, 5]
    torch.testing.assert_close(solve(train, val, CLASSES, l2s=[0.01]).weight, whole.weight, rtol=1e-2, atol=1e-3)


def test_features_that_are_nan_are_refused() -> None:
    train = samples(1, 20)
    train.views[0][3, 2] = float("nan")
    with pytest.raises(UserError, match="features are NaN or infinite; use precision: fp32"):
        solve(train, samples(2, 20), CLASSES)
