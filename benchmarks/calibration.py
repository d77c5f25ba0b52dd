"""What the prior on the temperature does, and how often the interval of the calibration error holds it."""

from unittest.mock import patch

import numpy as np

from benchmarks.promises import CLASSES, World
from benchmarks.results import Section
from florafauna.scores import calibration
from florafauna.scores.calibration import ece, ece_range, fit_temperature, nll, softmax

SKILLS = {"0.83": 2.59, "0.94": 3.3, "0.99": 4.4, "0.998": 5.2}
SCALES = (0.5, 1.0, 2.0)  # of the logits, and so the temperature that is true
TEST, RUNS, ERROR_RUNS = 10_000, 20, 200
SURE = 0.99
ABOUT = """Made up, {classes} classes: photos normal around the mean of their class, and photos of unknown species
half as far from 0 as those of a class. Temperature: logits times 0.5, 1 and 2, {runs} validation sets
each; the negative log-likelihood of {test:,} new photos, less that at the temperature that is true,
mean (worst), and the share of photos of unknown species shown at a confidence of 0.99 or more, as they
would be at the true temperature / without / with the prior (log temperature normal around 0, with a
deviation of 0.5). Error: accuracy 0.83, {errors} test sets; what a calibrated model shows, the range
stated for it, how often that range holds the error, and how often the interval holds the true error of
a model three times too sure. 100 photos in bursts are about ten groups."""
COLUMNS = ("what", "n", "without the prior", "with the prior", "unknown species sure", "holds")


def run() -> Section:
    """Temperatures first, then errors."""
    rows = [_temperatures(accuracy, n) for accuracy in SKILLS for n in (75, 300, 1500)]
    rows += [_errors(n, bursts) for bursts in (1, 20) for n in (100, 500, 2000)]
    about = ABOUT.format(classes=CLASSES, runs=RUNS, test=TEST, errors=ERROR_RUNS)
    return Section("Calibration", about, COLUMNS, rows)


def _logits(
    rng: np.random.Generator, skill: float, photos: int, distance: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    targets = rng.integers(0, CLASSES, photos)
    return skill * (rng.normal(size=(photos, CLASSES)) + distance * skill * np.eye(CLASSES)[targets]), targets


def _temperatures(accuracy: str, photos: int) -> tuple[str, ...]:
    rng, skill = np.random.default_rng(photos), SKILLS[accuracy]
    test, targets = _logits(rng, skill, TEST)
    unknown, _ = _logits(rng, skill, TEST, 0.5)
    best = nll(test, targets)
    worse: dict[str, list[float]] = {"without": [], "with": []}
    sure: dict[str, list[float]] = {"without": [], "with": []}
    for scale in SCALES:
        for _ in range(RUNS):
            given, of = _logits(rng, skill, photos)
            for how, spread in (("without", np.inf), ("with", calibration.SPREAD)):
                with patch.object(calibration, "SPREAD", spread):
                    temperature = fit_temperature(scale * given, of) / scale
                worse[how].append(nll(test, targets, temperature) - best)
                sure[how].append(_sure(unknown, temperature))
    without, prior = (f"{np.mean(worse[how]):+.3f} ({max(worse[how]):+.3f})" for how in worse)
    shares = f"{_sure(unknown, 1.0):.2f} / {np.mean(sure['without']):.2f} / **{np.mean(sure['with']):.2f}**"
    return f"temperature, accuracy {accuracy}", str(photos), without, f"**{prior}**", shares, ""


def _sure(logits: np.ndarray, temperature: float) -> float:
    return float((softmax(logits, temperature).max(axis=1) >= SURE).mean())


def _errors(photos: int, bursts: int) -> tuple[str, ...]:
    rng, world = np.random.default_rng(photos), World(SKILLS["0.83"], bursts)
    probabilities, targets, _ = World(SKILLS["0.83"]).draw(rng, 200_000)
    truth = ece(_sharper(probabilities), targets)
    found, ranges, off = [], [], []
    for _ in range(ERROR_RUNS):
        probabilities, targets, groups = world.draw(rng, photos)
        found.append(ece(probabilities, targets))
        ranges.append(ece_range(probabilities, targets, groups))
        interval = ece_range(_sharper(probabilities), targets, groups)
        off.append(interval.low <= truth <= interval.high)
    low, high = np.mean([[each.calibrated_low, each.calibrated_high] for each in ranges], axis=0)
    inside = np.mean([a.calibrated_low <= b <= a.calibrated_high for a, b in zip(ranges, found, strict=True)])
    kind = "error, " + ("bursts of 1 to 20" if bursts > 1 else "independent")
    return (
        kind,
        str(photos),
        f"{np.mean(found):.3f}",
        f"{low:.3f} to {high:.3f}",
        "",
        f"{inside:.0%}, {np.mean(off):.0%}",
    )


def _sharper(probabilities: np.ndarray) -> np.ndarray:
    return softmax(np.log(probabilities + 1e-300), 1 / 3)
