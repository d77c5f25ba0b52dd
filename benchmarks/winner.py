"""The comparison of models, tried on worlds whose truth is known; and its time beside that of an earlier version."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from benchmarks.results import Section
from benchmarks.timing import Pairs, median_seconds
from florafauna.compare._power import POWER, Collection
from florafauna.compare._verdict import BETTER, SAME, ModelPair
from florafauna.compare.paired import Candidate, Question, compare_all
from florafauna.scores.bootstrap import Resampling, Truth, counted_classes, score_intervals

RUNS, RESAMPLES, CLASSES = 1000, 200, 4
BEFORE = "bdc1782a1bfc38e2d9684d93a0e55c62df5cc005"  # the commit whose time is compared
MANY = 2000  # resamples where the noise of fewer would be seen
TIMED = 7  # pairs of runs
ABOUT = f"""Photos, labels and predictions are drawn from worlds whose scores are known: {RUNS:,} draws a figure,
{RESAMPLES} resamples each ({MANY:,} for the photos to collect), 95 % intervals, a margin of 1
point. In bursts, the photos of a group share most of their luck. Where a row has several settings, the worst is given,
or the range; a–b are the 10 % and the 90 % quantile. The error of a share of 5 % is 1.4 points (95 %)."""
Ints = npt.NDArray[np.int64]
HOW = Resampling(RESAMPLES)
ASKED = Question(0.01, HOW)


def run() -> Section:
    """All rows."""
    rows = [*of_the_best(), *of_equivalence(), *of_power(), *of_means(), *of_seeds(), of_time()]
    return Section("The winner", ABOUT, ("what", "wanted", "otherwise", "florafauna"), rows)


def of_the_best() -> Iterator[tuple[str, ...]]:
    """Equally good models, one of which is chosen: how far its score is from the truth."""
    for models in (3, 10):
        for bursts in (1, 10):
            rng, gains, held = np.random.default_rng(1), {"test": 0.0, "val": 0.0}, {"test": 0, "val": 0}
            for _ in range(RUNS):
                groups, targets = photos_of(rng, 300, bursts)
                on_test = answers(rng, groups, targets, np.full(models, 0.85))
                on_val = answers(rng, *photos_of(rng, 200, bursts), np.full(models, 0.85), right=True)
                right = on_test == targets
                for way, chosen in (("test", right.mean(axis=1).argmax()), ("val", on_val.mean(axis=1).argmax())):
                    truth = Truth(targets, CLASSES, groups)
                    found = score_intervals(truth, on_test[chosen], HOW)["accuracy"]
                    gains[way] += right[chosen].mean() - 0.85
                    held[way] += found.low <= 0.85 <= found.high
            what = f"the best of {models} equal models, {named(bursts)}: optimism of its test accuracy, coverage"
            figures = [f"{100 * gains[way] / RUNS:+.2f} points, {percent(held[way], RUNS)}" for way in gains]
            yield what, "0, 95 %", f"{figures[0]} (chosen on test)", f"{figures[1]} (on validation)"


def of_equivalence() -> Iterator[tuple[str, ...]]:
    """Models as far apart as the margin, and equal ones."""
    settings = [(300, 0.012, 1), (500, 0.02, 1), (2000, 0.03, 1), (3000, 0.05, 1), (2000, 0.02, 20), (4000, 0.02, 20)]
    false = [share_of(SAME, number, 0.01, apart, bursts) for number, apart, bursts in settings]
    yield "'practically the same' though 1 point apart, worst of six settings", "≤ 5 %", "", worst(false)
    winner = [share_of(BETTER, number, 0.0, apart, bursts) for number, apart, bursts in settings]
    yield "'better' though equal, worst of the same settings", "≤ 5 %", "", worst(winner)
    found = [share_of(SAME, number, 0.0, apart, 1) for number, apart in ((2000, 0.02), (5000, 0.05))]
    what = "'practically the same' where equal: 2,000 test photos, 2 % apart; 5,000, 5 %"
    yield what, "", "", ", ".join(percent(each, 1) for each in found)


def of_power() -> Iterator[tuple[str, ...]]:
    """The smallest difference, and the photos to collect."""
    shown, rng = [], np.random.default_rng(3)
    for number, apart in ((117, 0.2), (400, 0.05), (800, 0.2), (2000, 0.1)):
        least = np.median([pair_of(rng, number, 0.0, apart, 1).smallest_difference for _ in range(20)])
        shown.append(share_of(BETTER, number, least, max(apart, least), 1))
    power = f"{percent(min(shown), 1)} to {percent(max(shown), 1)}"
    yield "a difference as small as the smallest that could be shown is shown, four settings", "80 %", "", power
    number, first, second = 400, 0.85, 0.80
    wanted, share = norm.isf(0.025) + norm.ppf(POWER), first * (1 - second) + second * (1 - first)
    true = 5 * (share * (wanted / (first - second)) ** 2 - number)
    question = Question(first - second, Resampling(MANY), Collection(5 * number, number))
    for difference in (0.05, 0.0):
        held, low, high, by_lead = 0, list[int](), list[int](), list[float]()
        for _ in range(RUNS):
            pair = pair_of(rng, number, difference, share, 1, question)
            assert pair.more_photos is not None
            low, high = [*low, pair.more_photos[0]], [*high, pair.more_photos[1]]
            held += low[-1] <= true <= high[-1]
            by_lead.append(5 * (share * (wanted / max(pair.difference, 1e-9)) ** 2 - number))
        what = f"photos to collect, one in five for the test, to show 5 points; models {difference:g} apart"
        otherwise = f"{quantiles(by_lead)} (from the lead that is seen)"
        yield what, f"{true:,.0f}", otherwise, f"{quantiles(low)} to {quantiles(high)}, held in {percent(held, RUNS)}"


def of_means() -> Iterator[tuple[str, ...]]:
    """Macro F1 and balanced accuracy where classes follow Zipf's law."""
    names = ("macro_f1", "balanced_accuracy")
    covered: dict[str, list[float]] = {name: [] for name in names}
    for number, classes, recalls, bursts in (
        (100, 20, (0.95, 0.6), 1),
        (250, 20, (0.95, 0.6), 1),
        (500, 50, (0.95, 0.6), 1),
        (300, 30, (0.97, 0.9), 1),
        (500, 50, (0.9, 0.3), 1),
        (500, 20, (0.95, 0.6), 8),
    ):
        rng, share, recall = np.random.default_rng(4), 1 / np.arange(1, classes + 1), np.linspace(*recalls, classes)
        share /= share.sum()
        confusion = np.where(np.eye(classes, dtype=bool), recall[:, None], (1 - recall[:, None]) / (classes - 1))
        f1 = 2 * share * recall / (share + share @ confusion)
        held = np.zeros(2)
        for _ in range(RUNS):
            groups, targets = photos_of(rng, number, bursts, share)
            luck = norm.cdf(latent(rng, groups, 1)[0])
            predicted = (luck[:, None] > confusion.cumsum(axis=1)[targets]).sum(axis=1).clip(0, classes - 1)
            counted = counted_classes(np.bincount(targets, minlength=classes))
            found = score_intervals(Truth(targets, classes, groups), predicted, HOW)
            for at, truth in enumerate((f1, recall)):
                held[at] += found[names[at]].low <= truth[counted].mean() <= found[names[at]].high
        for name, count in zip(names, held, strict=True):
            covered[name].append(count / RUNS)
    for name, shares in covered.items():
        what = f"coverage of {name.replace('_', ' ')} over classes with five photos, of 100 to 500, six settings"
        yield what, "≥ 92 %", "", f"{percent(min(shares), 1)} to {percent(max(shares), 1)}"


def of_seeds() -> Iterator[tuple[str, ...]]:
    """Equal recipes whose outcomes vary by 1 point from seed to seed, 2,000 photos."""
    called, held = {1: 0, 3: 0, 5: 0}, {1: 0, 3: 0, 5: 0}
    for seeds in called:
        rng = np.random.default_rng(5)
        for _ in range(RUNS):
            groups, targets = photos_of(rng, 2000, 1)
            models = {}
            for name in ("a", "b"):
                runs = answers(rng, groups, targets, rng.normal(0.85, 0.01, seeds))
                spread = (runs == targets).mean(axis=1).var(ddof=1) if seeds > 1 else 0.0
                models[name] = Candidate(runs[0], (), seeds, spread)
            pair = compare_all(models, Truth(targets, CLASSES), ASKED).pairs[0]
            called[seeds] += pair.finding == BETTER
            found = score_intervals(Truth(targets, CLASSES), runs[0], HOW, list(runs[1:]))["accuracy"]
            held[seeds] += found.low <= 0.85 <= found.high
    once = f"{percent(called[1], RUNS)} (1 seed: it is about the checkpoints)"
    several = ", ".join(f"{percent(called[seeds], RUNS)} ({seeds} seeds)" for seeds in (3, 5))
    yield "'better' though the recipes are equal, with 1 point between seeds", "≤ 5 %", once, several
    several = ", ".join(f"{percent(held[seeds], RUNS)} ({seeds} seeds)" for seeds in (3, 5))
    yield "the interval of a score holds what the recipe gives on average", "95 %", percent(held[1], RUNS), several


def of_time() -> tuple[str, ...]:
    """Seconds of a processor for a comparison and its models' intervals, in turn with an earlier version's."""
    repository = Path(__file__).resolve().parent.parent
    with TemporaryDirectory() as folder:
        packed = subprocess.run(
            ["git", "archive", BEFORE, "florafauna"], cwd=repository, check=True, capture_output=True
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        before, now = "compare_all(models, truth)", "compare_all(named, truth, Question(0.01))"
        ways = (
            (Path(folder), "_paired import compare_all", before),
            (repository, "paired import Candidate, Question, compare_all", now),
        )
        seconds: tuple[list[float], list[float]] = ([], [])
        for _ in range(TIMED):
            for (root, imported, call), taken in zip(ways, seconds, strict=True):
                script = SCRIPT.format(imported=imported, call=call)
                done = subprocess.run(
                    [sys.executable, "-c", script], cwd=root, check=True, capture_output=True, text=True
                )
                taken.append(float(done.stdout))
    timed = Pairs(*seconds)
    what = "10,000 resamples × 2,000 photos × 3 models, one core"
    return (
        what,
        "not longer",
        f"{median_seconds(timed.theirs)} (before)",
        f"{median_seconds(timed.ours)}: {timed.ratio}",
    )


SCRIPT = """
import time
import numpy as np
from florafauna.compare.{imported}
from florafauna.scores.bootstrap import Truth, score_intervals
rng = np.random.default_rng(0)
targets = rng.integers(0, 20, 2000)
models = {{n: np.where(rng.random(2000) < a, targets, rng.integers(0, 20, 2000)) for n, a in zip("abc", (.9, .88, .8))}}
truth, start = Truth(targets, 20), time.process_time()
for _ in range(2):
    named = {{name: Candidate(each) for name, each in models.items()}} if "Candidate" in globals() else models
    {call}
    for each in models.values():
        score_intervals(truth, each)
print((time.process_time() - start) / 2)
"""


def photos_of(
    rng: np.random.Generator, number: int, bursts: int, share: npt.NDArray[np.float64] | None = None
) -> tuple[Ints, Ints]:
    """Groups of 1 to `bursts` photos, about `number` in all, and the class of each photo, that of its group."""
    sizes = rng.integers(1, bursts + 1, max(2, round(2 * number / (bursts + 1))))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    of_group = rng.choice(CLASSES if share is None else len(share), len(sizes), p=share)
    return groups, of_group[groups]


def latent(rng: np.random.Generator, groups: Ints, models: int) -> npt.NDArray[np.float64]:
    """Standard normal (models, photos), alike within a group."""
    of_group = rng.normal(size=(models, groups[-1] + 1))[:, groups]
    if groups[-1] + 1 == len(groups):
        return of_group
    return np.asarray(0.7**0.5 * of_group + 0.3**0.5 * rng.normal(size=of_group.shape))


def answers(
    rng: np.random.Generator, groups: Ints, targets: Ints, accuracy: npt.NDArray[np.float64], right: bool = False
) -> npt.NDArray[np.int64]:
    """What models predict, (models, photos), half of their luck in common; or only whether that is `right`."""
    luck = 0.5**0.5 * (latent(rng, groups, 1) + latent(rng, groups, len(accuracy)))
    correct = luck < norm.ppf(accuracy)[:, None]
    return correct.astype(np.int64) if right else wrong_where(rng, targets, correct)


def wrong_where(rng: np.random.Generator, targets: Ints, correct: npt.NDArray[np.bool_]) -> Ints:
    """The targets, but another class where not correct."""
    return np.where(correct, targets, (targets + rng.integers(1, CLASSES, correct.shape)) % CLASSES)


def pair_of(
    rng: np.random.Generator, number: int, difference: float, apart: float, bursts: int, question: Question = ASKED
) -> ModelPair:
    """Two models, `difference` apart, of which one alone is right on a share `apart` of the photos."""
    groups, targets = photos_of(rng, number, bursts)
    luck = norm.cdf(latent(rng, groups, 1)[0])
    lost = 0.7  # both are right below
    first, both = luck < lost + (difference + apart) / 2, luck < lost
    second = both | ((luck >= lost + (difference + apart) / 2) & (luck < lost + apart))
    models = {name: Candidate(wrong_where(rng, targets, correct)) for name, correct in (("a", first), ("b", second))}
    return compare_all(models, Truth(targets, CLASSES, groups), question).pairs[0]


def share_of(finding: str, number: int, difference: float, apart: float, bursts: int) -> float:
    """How often that is found."""
    rng = np.random.default_rng(2)
    return sum(pair_of(rng, number, difference, apart, bursts).finding == finding for _ in range(RUNS)) / RUNS


def named(bursts: int) -> str:
    return "single photos" if bursts == 1 else f"bursts of 1 to {bursts}"


def worst(shares: list[float]) -> str:
    return f"{percent(max(shares), 1)} ({', '.join(percent(each, 1) for each in shares)})"


def percent(count: float, of: float) -> str:
    return f"{100 * count / of:.1f} %"


def quantiles(numbers: Sequence[float]) -> str:
    """From the 10 % to the 90 % quantile."""
    low, high = np.quantile(numbers, [0.1, 0.9])
    return f"{low:,.0f}–{high:,.0f}"
