"""Whether accepted photos keep the promised precision, what that costs in coverage, and what photos added do to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression

from benchmarks.results import Section
from benchmarks.shared import CONFIG, PHOTOS, TENSORFLOW, require_shared, weights
from florafauna.scores.abstention import Realised, choose_thresholds, realised
from florafauna.scores.calibration import fit_temperature, softmax

PRECISION, CLASSES = 0.95, 10
RUNS, TRUTH = 400, 200_000
SKILLS = {"0.83": 2.59, "0.89": 2.88, "0.94": 3.30}  # distance of a class's mean from 0 that gives this accuracy
ALIKE = 0.9  # share of a photo's variance that a burst has in common
MISTAKEN = 0.03  # of all photos: of one class, and taken for another with confidence
REAL_TRAIN, REAL_DRAWS = 300, 20
ABOUT = """A precision of 95 % is promised with 95 % confidence on validation photos, and what the thresholds that
`predict` goes by then truly give is known. Made up: {classes} classes, photos normal around the mean of their class,
confidences exact; a burst of 1 to 20 photos shares 90 % of its variance; {runs} draws a row, so that 5 % broken may
read as up to 7 %. "Found": draws in which there is a threshold. "Broken": draws in which the true precision is below
95 %. "Best possible" is the coverage of the true threshold. "Groups ignored" takes every photo for independent, as if
none had a group. With one class taken for another, 3 % of all photos are mistakes with the confidence of right answers.
Real photos: MobileNetV2's (0.35) features of the shared set, a logistic regression on {train} photos, the rest test,
{draws} draws; broken counts draws in which less than 95 % of the accepted test photos are right."""
COLUMNS = ("photos", "n", "found", "coverage", "best possible", "broken", "groups ignored: coverage", "broken")


@dataclass(frozen=True)
class World:
    """Where photos are drawn from; `skill` decides the accuracy, `bursts` the largest number of photos in a group."""

    skill: float
    bursts: int = 1
    mistaken: float = 0.0

    def draw(self, rng: np.random.Generator, photos: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probabilities (photos, classes), targets and groups (photos,)."""
        sizes = rng.integers(1, self.bursts + 1, photos)
        groups = np.repeat(np.arange(photos), sizes)[:photos]
        units, share = groups[-1] + 1, ALIKE if self.bursts > 1 else 0.0
        targets = rng.integers(0, CLASSES, units)[groups]
        noise = np.sqrt(share) * rng.normal(size=(units, CLASSES))[groups]
        seen = noise + np.sqrt(1 - share) * rng.normal(size=(photos, CLASSES)) + self.skill * np.eye(CLASSES)[targets]
        if self.mistaken:
            targets = np.where((targets == 0) & (rng.random(units) < CLASSES * self.mistaken)[groups], 1, targets)
        return softmax(self.skill * seen), targets, groups


class Truth:
    """Precision and coverage that the thresholds of classes truly have."""

    def __init__(self, world: World) -> None:
        probabilities, targets, _ = World(world.skill, 1, world.mistaken).draw(np.random.default_rng(0), TRUTH)
        predicted, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
        self.classes = []
        for target in range(CLASSES):
            rows = np.flatnonzero(predicted == target)
            rows = rows[np.argsort(confidences[rows])]
            right = np.concatenate([np.cumsum((targets == predicted)[rows][::-1])[::-1], [0]])
            self.classes.append((confidences[rows], right))
        steps = np.linspace(0.1, 1, 500, endpoint=False)
        self.best = max(coverage for coverage, precision in map(self, steps) if precision >= PRECISION)

    def __call__(self, least: float | list[float]) -> tuple[float, float]:
        """Coverage and precision."""
        accepted, right = 0, 0
        given = least if isinstance(least, list) else [least] * CLASSES
        for (confidences, correct), each in zip(self.classes, given, strict=True):
            at = np.searchsorted(confidences, each)
            accepted, right = accepted + len(confidences) - int(at), right + int(correct[at])
        return accepted / TRUTH, right / accepted if accepted else 1.0


def run() -> Section:
    """Made-up worlds, then the shared photos."""
    require_shared()
    rows = []
    for accuracy in ("0.83", "0.94"):
        for bursts in (1, 20):
            kind = f"accuracy {accuracy}, " + ("bursts of 1 to 20" if bursts > 1 else "independent")
            rows += [_row(kind, World(SKILLS[accuracy], bursts), photos) for photos in (100, 500, 2000)]
    rows += [_row("accuracy 0.94, independent", World(SKILLS["0.94"]), n) for n in (60, 80, 92, 93, 150, 210, 230)]
    rows += [_row("accuracy 0.89, independent", World(SKILLS["0.89"]), n) for n in (400, 700, 1200, 3000)]
    rows += [_row("one class taken for another", World(SKILLS["0.94"], 1, MISTAKEN), n) for n in (500, 2000)]
    rows += _real()
    about = ABOUT.format(classes=CLASSES, runs=RUNS, train=REAL_TRAIN, draws=REAL_DRAWS)
    return Section("Promised precision", about, COLUMNS, rows)


def _row(kind: str, world: World, photos: int) -> tuple[str, ...]:
    truth, rng = Truth(world), np.random.default_rng(photos)
    found, ignored = [], []
    for _ in range(RUNS):
        probabilities, targets, groups = world.draw(rng, photos)
        found.append(truth(_least(probabilities, targets, groups)))
        ignored.append(truth(_least(probabilities, targets, None)) if world.bursts > 1 else found[-1])
    coverage, precision = np.array(found).T
    coverage_ignored, precision_ignored = np.array(ignored).T
    return (
        kind,
        str(photos),
        f"{(coverage > 0).mean():.2f}",
        f"{coverage.mean():.2f}",
        f"{truth.best:.2f}",
        f"**{(precision < PRECISION).mean():.1%}**",
        f"{coverage_ignored.mean():.2f}" if world.bursts > 1 else "",
        f"{(precision_ignored < PRECISION).mean():.1%}" if world.bursts > 1 else "",
    )


def _least(probabilities: np.ndarray, targets: np.ndarray, groups: np.ndarray | None) -> list[float]:
    """The confidence that each class needs."""
    _, each = choose_thresholds(probabilities, targets, groups, PRECISION)
    return [np.inf if own.threshold is None else own.threshold for own in each]


def _real() -> list[tuple[str, ...]]:
    features, targets = features_of("mobilenetv2_035")
    rows: list[tuple[str, ...]] = []
    for photos in (75, 400, 800, 1200):
        given = [_real_draw(features, targets, photos, seed) for seed in range(REAL_DRAWS)]
        coverage = np.array([each.coverage for each in given])
        broken = np.mean([each.precision is not None and each.precision < PRECISION for each in given])
        rows.append(
            (
                "real, 15 classes",
                str(photos),
                f"{(coverage > 0).mean():.2f}",
                f"{coverage.mean():.2f} ({coverage.min():.2f} to {coverage.max():.2f})",
                "",
                f"**{broken:.0%}**",
                "",
                "",
            )
        )
    return rows


def _real_draw(features: np.ndarray, targets: np.ndarray, photos: int, seed: int) -> Realised:
    order = np.random.default_rng(seed).permutation(len(targets))
    train, val, test = np.split(order, [REAL_TRAIN, REAL_TRAIN + photos])
    model = LogisticRegression(C=0.01, max_iter=500).fit(features[train], targets[train])
    logits = model.decision_function(features)
    temperature = fit_temperature(logits[val], targets[val])
    probabilities = softmax(logits, temperature)
    _, each = choose_thresholds(probabilities[val], targets[val], None, PRECISION)
    return realised(probabilities[test], targets[test], None, each)


def features_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features of the shared photos (photos, features), standardised, and their classes (photos,)."""
    given: dict[str, Any] = TENSORFLOW | {"pretrained_cfg_overlay": {"file": str(weights(name)), "num_classes": 0}}
    model = timm.create_model(name, pretrained=True, num_classes=0, **given).eval()
    config: dict[str, Any] = CONFIG
    see: Callable[[Image.Image], torch.Tensor] = timm.data.create_transform((3, 224, 224), **config)
    found, targets = [], []
    with torch.inference_mode():
        for target, folder in enumerate(sorted(path for path in PHOTOS.iterdir() if path.is_dir())):
            files = sorted(folder.iterdir())
            for start in range(0, len(files), 32):
                batch = [see(Image.open(file).convert("RGB")) for file in files[start : start + 32]]
                found.append(model(torch.stack(batch)).numpy())
                targets += [target] * len(batch)
    features = np.concatenate(found)
    return (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6), np.array(targets)
