"""What the screening has found."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from florafauna.compare.paired import BETTER, SAME, UNDECIDED, ModelPair
from florafauna.scores.bootstrap import Interval, Truth
from florafauna.screen._heads import HEADS, SOLVED, Photos
from florafauna.screen._learning import Gains, LearningCurve
from florafauna.screen.settings import ScreenParams

SCORES = ("weighted_f1", "macro_f1")


@dataclass(frozen=True)
class Row:
    """One backbone under one head: its scores with intervals, and its difference to the best (None: it is the best)."""

    backbone: str
    head: str
    scores: dict[str, float]
    intervals: dict[str, Interval]
    pair: ModelPair | None
    about: dict[str, Any]  # about.json of the features
    pareto: bool  # no other row is as fast and scores as well

    @property
    def title(self) -> str:
        """The row in words."""
        return title(self.backbone, self.head)


@dataclass(frozen=True)
class Findings:
    """All that the report shows; rows are sorted, best first."""

    rows: list[Row]
    headline: str
    photos: Photos
    curve: LearningCurve
    gains: Gains
    params: ScreenParams
    confidence: float

    @property
    def best(self) -> str:
        """The backbone whose solved head scores highest."""
        return self.rows[0].backbone

    @property
    def truth(self) -> Truth:
        """What the rows are scored against."""
        return self.photos.truth


def title(backbone: str, head: str) -> str:
    """A backbone under a head in words; the solved head goes without saying."""
    return backbone if head == SOLVED else f"{backbone}, {head}"


def possible_pairs(backbones: int) -> int:
    """How many pairs there are of a solved head, any of which may turn out the best, and another row.

    >>> possible_pairs(2)
    5
    """
    return math.comb(backbones, 2) + (len(HEADS) - 1) * backbones**2


def scored(row: Row) -> dict[str, Any]:
    """A row's scores with their bounds, and its difference to the best: what is the same on every machine."""
    found: dict[str, Any] = {}
    for name in SCORES:
        interval = row.intervals[name]
        found |= {name: row.scores[name], f"{name}_low": interval.low, f"{name}_high": interval.high}
    if row.pair is not None:
        figures = asdict(row.pair)
        ahead = 1 if row.pair.first == row.title else -1  # than the best
        low, high = sorted(ahead * figures[name] for name in ("low", "high"))
        found |= {"difference": ahead * row.pair.difference, "difference_low": low, "difference_high": high}
        found |= {"p_holm": row.pair.p_holm, "finding": row.pair.finding}
    return found


def headline(best: str, pairs: list[ModelPair], photos: int, margin: float) -> str:
    """The best backbone and the others in words; it scores highest on the very photos that the pairs are about."""
    if not pairs:
        return f"{best} is the only backbone"
    named = {
        finding: ", ".join(pair.other(best) for pair in pairs if pair.finding == finding)
        for finding in (BETTER, SAME, UNDECIDED)
    }
    says = [f"better than {named[BETTER]}"] if named[BETTER] else []
    says += [f"practically the same as {named[SAME]} (within {100 * margin:g} points)"] if named[SAME] else []
    says += [f"not distinguishable from {named[UNDECIDED]}"] if named[UNDECIDED] else []
    return f"{best} scores highest of {len(pairs) + 1} backbones on {photos:,} photos: {'; '.join(says)}"
